"""``microcalc show-report``."""

from __future__ import annotations

from pathlib import Path

from microcalc.cli.output import say, say_error
from microcalc.errors import MicrocalcError


def show_report(files: list[Path], /) -> int:
    """Say in words what DICOM reports say: CAD and other structured reports, presentation states, segmentations.

    Positions are rows and columns, 0 the centre of the first pixel. Patient and study are not shown. Of several
    files, each is named, and one that is no report does not stop the others.

    Parameters
    ----------
    files
        Of any maker.
    """
    from microcalc.reports.in_words import show_report as lines_of

    bad = 0
    for file in files:
        try:
            lines = lines_of(file)
        except MicrocalcError as error:
            bad += 1
            say_error(str(error))
            continue
        if len(files) > 1:
            say(f"{file.name}:")
        for line in lines:
            say(line)
    if bad and len(files) > 1:
        return say_error(f"{bad} of {len(files)} files could not be shown", code=1)
    return 2 if bad else 0
