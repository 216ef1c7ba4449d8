"""Where work runs, and how it says how far it is.

``executor``
    One interface for running a function on many items: in this process, or in several.
``cluster``, ``connection``, ``task``
    The same on a Dask cluster: its items, the connection to its scheduler, and what is done on a worker.
``shard``
    A part of a work that is divided among processes which know nothing of each other.
``child``
    A child process for work in which a library may crash or hang.
``cores``
    How many cores this process may use.
``progress``
    How far a long work is, and how long it will still take, as log records.
"""
