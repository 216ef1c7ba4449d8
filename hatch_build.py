"""Put the software bill of materials into the wheel, where ``make dist`` has made one.

The wheel holds it in ``microcalc-*.dist-info/sboms``, where installers keep it.

References
----------
PEP 770, Improving measurability of Python packages with Software Bill-of-Materials (2025).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SBOM = "build/microcalc.cdx.json"


class SbomHook(BuildHookInterface[Any]):
    """Add the bill of materials to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the bill of materials to the builder; leave it out of an editable installation."""
        if version == "standard" and (Path(self.root) / SBOM).is_file():
            build_data["sbom_files"].append(SBOM)
