"""Files on disk: atomic writes, marks of ownership, content keys, and a store of results.

``write``
    The only way to write a file: completely or not at all.
``ownership``
    Marks of the command that made a folder; no other folder is ever written to.
``index``
    The images that a command processed in a folder, with the outcome for each.
``key``
    Keys that change with the data, the settings and the code from which a result was made.
``store``
    Results under these keys.
``lock``
    Locks, so that only one of several processes works on a file or folder.
"""
