"""What is written to disc, and how: whole files, marks of ownership, keys of content, and a store of results.

``write``
    One way to write a file: whole or not at all.
``ownership``
    Folders bear the mark of the command that made them; nothing else is ever written to.
``index``
    Which images a command tried in a folder, and what became of each.
``key``
    Keys that change with the bytes, the settings and the code that a result was made from.
``store``
    Results under such keys.
``lock``
    Of several processes that want the same folder, one works and the others wait.
"""
