"""The node: takes mammograms from a PACS, detects in them, and sends the reports back.

``service`` on one page; ``settings`` is ``node.toml``; ``server`` and ``receive`` take files in,
``jobs`` is the durable queue, ``analyse`` and ``worker`` detect and report, ``send`` delivers,
``health`` tells.
"""
