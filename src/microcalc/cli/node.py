"""``microcalc node``."""

from __future__ import annotations

from pathlib import Path


def node(*, config: Path) -> None:
    """Take mammograms from a PACS, detect, and send the reports back, until stopped. Needs microcalc[node].

    Parameters
    ----------
    config
        The settings, in TOML; see docs/how-to/pacs.md.
    """
    from microcalc.node.settings import load_settings

    settings = load_settings(config)
    from microcalc.node.service import run_node  # after the settings: what is wrong in them is said at once

    run_node(settings)
