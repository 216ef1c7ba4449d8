"""``microcalc node``."""

from __future__ import annotations

from pathlib import Path


def node(*, config: Path) -> None:
    """Receive mammograms from a PACS, detect, and send reports back, until stopped. Needs microcalc[node].

    Parameters
    ----------
    config
        Settings in TOML; docs/how-to/pacs.md describes them.
    """
    from microcalc.node.settings import load_settings

    settings = load_settings(config)
    from microcalc.node.service import run_node  # after the settings, whose errors are reported at once

    run_node(settings)
