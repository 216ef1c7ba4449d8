"""Compare the kinds that ``microcalc detect`` states with those that a table gives to the same places.

``python -m benchmarks.kinds TABLE RESULTS``: RESULTS is a folder that detection wrote. A candidate is of the nearest
annotated place whose edge is no farther than 0.5 mm; several candidates on one place all count. Candidates without a
place near them and places judged unsure are left out.

Three tables: candidates with an outline, by annotated kind and stated kind; findings, by the kind that most of their
annotated members are of; and the length of vascular calcium in each image that has some or is said to have some. The
annotated length is that of the chains of vascular places, by the rule of the stated one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
import shapely

from benchmarks import Parser, run
from microcalc.datasets.open import identified_table, open_table
from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.detection.kinds import chain_length_mm
from microcalc.detection.result import Result, read_result
from microcalc.domain import CalcificationKind, Kind, Shape
from microcalc.errors import InputError
from microcalc.evaluation.images import TableImages
from microcalc.evaluation.reporting.tables import TextTable, markdown_table
from microcalc.geometry import Points
from microcalc.storage.index import counted

_HIT_MM: Final = 0.5
_NOTHING: Final = "nothing annotated"
_STATED: Final = (*get_args(CalcificationKind), "no outline")
_SPLITS: Final = ("train", "validation", "test")

Pairs = Counter[tuple[str, str]]
"""Annotated kind and stated kind."""


@dataclass(frozen=True, slots=True)
class _Places:
    """The annotated places of an image."""

    rows: Sequence[AnnotationRow]
    image: ImageRow

    @property
    def centres(self) -> Points:
        """Return their (n, 2) positions in mm."""
        return self.image.grid.to_mm(np.array([(row.row, row.column) for row in self.rows]).reshape(-1, 2))

    def kinds_at(self, places_px: Points) -> list[str | None]:
        """Return the annotated kind at each place (n, 2) in pixels; None where nothing is annotated, or unsure."""
        if not self.rows:
            return [None] * len(places_px)
        centres, radius_mm = self.centres, np.array([row.diameter_mm / 2 for row in self.rows])
        kinds: list[str | None] = []
        for place in self.image.grid.to_mm(places_px):
            distance_mm = np.hypot(*(centres - place).T) - radius_mm
            nearest = int(distance_mm.argmin())
            kind = self.rows[nearest].kind
            kinds.append(kind if distance_mm[nearest] <= _HIT_MM and kind != "unsure" else None)
        return kinds


def main(arguments: Sequence[str]) -> int:
    """Print the tables."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="table whose places have kinds, such as that of reviewed places")
    parser.add_argument("results", type=Path, help="folder that microcalc detect wrote")
    parser.add_argument("--split", choices=_SPLITS, help="use the images of this split only")
    asked = parser.parse_args(arguments)
    table = identified_table(open_table(asked.table))
    images, results = TableImages(table), counted(asked.results)
    if results is None:
        raise InputError(f"{asked.results.name}: no results, expected a folder that microcalc detect wrote")
    candidates, findings, lengths = Pairs(), Pairs(), list[tuple[str, float, float]]()
    for file in results:
        result = read_result(file)
        image = images.find(result.image, file.name)
        if image is None or asked.split not in (None, image.split):
            continue
        places = _Places(table.rows_of(image), image)
        annotated = places.kinds_at(result.places)
        candidates.update(of_candidates(result, annotated))
        findings.update(of_findings(result, annotated))
        stated_mm = 0.0 if result.vascular_calcium is None else result.vascular_calcium.length_mm
        lengths.append((image.image, vascular_length_mm(places), stated_mm))
    print(_matrix("candidate", candidates), _matrix("finding", findings), _lengths(lengths), sep="\n\n")
    return 0


def of_candidates(result: Result, annotated: Sequence[str | None]) -> Iterator[tuple[str, str]]:
    """Yield annotated kind and stated kind of each candidate that was measured and has a place near it."""
    for candidate, kind in zip(result.candidates, annotated, strict=True):
        if candidate.outline is not None and kind is not None:
            yield kind, candidate.kind or "no outline"


def of_findings(result: Result, annotated: Sequence[str | None]) -> Iterator[tuple[str, str]]:
    """Yield the annotated kind of most members and the stated kind of each finding."""
    for cluster in result.clusters:
        if cluster.finding:
            kinds = Counter(kind for member in cluster.members if (kind := annotated[member]) is not None)
            yield kinds.most_common(1)[0][0] if kinds else _NOTHING, cluster.kind or "no outline"


def vascular_length_mm(places: _Places) -> float:
    """Return the length of the chains of vascular places."""
    discs = [
        shapely.Point(centre).buffer(row.diameter_mm / 2 or 0.1)
        for row, centre in zip(places.rows, places.centres, strict=True)
        if row.kind == "vascular"
    ]
    return chain_length_mm([Shape(np.asarray(d.exterior.coords), d.area, 1.0, 0.0) for d in discs])


def _matrix(what: str, counts: Pairs) -> str:
    kinds = [kind for kind in (*get_args(Kind), _NOTHING) if any(counts[kind, stated] for stated in _STATED)]
    rows = [(kind, *(str(counts[kind, stated]) for stated in _STATED)) for kind in kinds]
    return "\n".join(markdown_table(TextTable((f"{what}: annotated", *_STATED), rows)))


def _lengths(lengths: Sequence[tuple[str, float, float]]) -> str:
    rows = [(name, f"{true:.0f}", f"{stated:.0f}") for name, true, stated in lengths if true or stated]
    total = ("all", f"{sum(true for _, true, _ in lengths):.0f}", f"{sum(stated for *_, stated in lengths):.0f}")
    return "\n".join(markdown_table(TextTable(("vascular calcium in mm", "annotated", "stated"), [*rows, total])))


if __name__ == "__main__":
    sys.exit(run(main))
