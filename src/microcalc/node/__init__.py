"""The node: it receives mammograms from a PACS, runs the detection, and sends the reports back.

``service``
    The whole node on one page: what is started, in which order, and how it ends.
``settings``
    ``node.toml``.
``server``, ``receive``
    The DICOM server, and what becomes of the files that it receives.
``jobs``, ``states``, ``schema``
    The durable queue, the states of images and reports, and the tables of the database.
``analyse``, ``worker``
    The detection and the reports, in worker processes.
``send``
    Delivery of the reports to their destination.
``files``, ``settle``
    The node's folder, and how it is reconciled with the queue after a start.
``health``, ``watch``
    Health and metrics over HTTP.
"""
