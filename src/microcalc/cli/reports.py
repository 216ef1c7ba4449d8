"""``microcalc show-report``."""

from __future__ import annotations

from pathlib import Path

from microcalc.cli.output import say


def show_report(files: list[Path], /) -> None:
    """Say in words what DICOM reports say: CAD and other structured reports, presentation states, segmentations.

    Positions are rows and columns, 0 the centre of the first pixel. Patient and study are not shown.

    Parameters
    ----------
    files
        Of any maker.
    """
    from microcalc.dicom.show_report import show_report as lines_of

    for file in files:
        for line in lines_of(file):
            say(line)
