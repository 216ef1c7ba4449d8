"""``microcalc show-report``."""

from __future__ import annotations

from pathlib import Path

from microcalc.cli.options import Json
from microcalc.cli.output import PRINTING, print_error, print_json, print_result
from microcalc.errors import MicrocalcError


def show_report(files: list[Path], /, *, json: Json = False) -> int:
    """Describe DICOM reports in words: CAD and other structured reports, presentation states, segmentations.

    Positions are rows and columns; 0 is the centre of the first pixel. Patient and study are not shown. If one of
    several files is not a report, it is named and the others are shown.

    Parameters
    ----------
    files
        Reports of any maker.
    json
        Print one JSON object per file: {"file": ..., "lines": [...]}, or "error" in place of "lines".
    """
    from microcalc.reports.in_words import show_report as lines_of

    PRINTING.json, failed = json, 0
    for file in files:
        try:
            lines = lines_of(file)
        except MicrocalcError as error:
            failed += 1
            print_error(str(error))
            if json:
                print_json({"file": file.name, "error": str(error)})
            continue
        if json:
            print_json({"file": file.name, "lines": list(lines)})
            continue
        if len(files) > 1:
            print_result(f"{file.name}:")
        for line in lines:
            print_result(line)
    if failed and len(files) > 1:
        return print_error(f"{failed} of {len(files)} files could not be shown", code=1)
    return 2 if failed else 0
