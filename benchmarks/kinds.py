"""Compare the kinds that ``microcalc detect`` states with those that a table gives to the same places.

``python -m benchmarks.kinds TABLE RESULTS``: RESULTS is a folder that detection wrote. A candidate is of the nearest
annotated place whose edge is no farther than 0.5 mm; several candidates on one place all count. Candidates without a
place near them and places judged unsure are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, get_args

import numpy as np

from benchmarks import run
from microcalc.datasets.open import identified_table, open_table
from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.detection.result import Result, read_result
from microcalc.domain import CalcificationKind, Kind
from microcalc.errors import InputError
from microcalc.evaluation.images import TableImages
from microcalc.evaluation.reporting.tables import TextTable, markdown_table
from microcalc.storage.index import counted

_HIT_MM: Final = 0.5
_STATED: Final = (*get_args(CalcificationKind), "no outline")
_SPLITS: Final = ("train", "validation", "test")


def main(arguments: Sequence[str]) -> int:
    """Print the number of candidates of each annotated kind (rows) by their stated kind (columns)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="table whose places have kinds, such as that of reviewed places")
    parser.add_argument("results", type=Path, help="folder that microcalc detect wrote")
    parser.add_argument("--split", choices=_SPLITS, help="use the images of this split only")
    asked = parser.parse_args(arguments)
    table = identified_table(open_table(asked.table))
    images, results = TableImages(table), counted(asked.results)
    if results is None:
        raise InputError(f"{asked.results.name}: no results, expected a folder that microcalc detect wrote")
    counts: Counter[tuple[str, str]] = Counter()
    for file in results:
        result = read_result(file)
        image = images.find(result.image, file.name)
        if image is not None and asked.split in (None, image.split):
            counts.update(pairs(result, image, table.rows_of(image)))
    kinds = [kind for kind in get_args(Kind) if any(counts[kind, stated] for stated in _STATED)]
    rows = [(kind, *(str(counts[kind, stated]) for stated in _STATED)) for kind in kinds]
    print("\n".join(markdown_table(TextTable(("annotated", *_STATED), rows))))
    return 0


def pairs(result: Result, image: ImageRow, places: Sequence[AnnotationRow]) -> Iterator[tuple[str, str]]:
    """Yield annotated kind and stated kind of each candidate of an image that has a place near it."""
    if not places:
        return
    of_image = image.grid.to_mm(np.array([(place.row, place.column) for place in places]))
    radius_mm = np.array([place.diameter_mm / 2 for place in places])
    for candidate, centre in zip(result.candidates, image.grid.to_mm(result.places), strict=True):
        distance_mm = np.hypot(*(of_image - centre).T) - radius_mm
        nearest = int(distance_mm.argmin())
        searched_for_outline = candidate.outline is not None
        if searched_for_outline and distance_mm[nearest] <= _HIT_MM and places[nearest].kind != "unsure":
            yield places[nearest].kind, candidate.kind or "no outline"


if __name__ == "__main__":
    sys.exit(run(main))
