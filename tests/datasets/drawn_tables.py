"""Tables drawn at random, whose values are written without a loss."""

from __future__ import annotations

import string
from pathlib import Path

from hypothesis import strategies as st

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table

_WORD = st.text(string.ascii_letters + string.digits + ",;'\"-_.äß", min_size=1, max_size=8).filter(
    lambda word: word.lower() not in ("na", "nan", "null", "none")
)
_PIXEL = st.integers(0, 4_000_000).map(lambda n: n / 1000)
_OUTLINE_PIXEL = st.integers(0, 400_000).map(lambda n: n / 100)
_SPACING = st.integers(20, 200).map(lambda n: n / 1000)
_SPLITS: st.SearchStrategy[Split] = st.sampled_from(("train", "validation", "test", ""))
_KINDS = st.sampled_from(("microcalcification", "coarse", "vascular", "no_calcium", "unsure"))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    names = draw(st.lists(_WORD, min_size=1, max_size=4, unique=True))
    split_of = {patient: draw(_SPLITS) for patient in ("P1", "P2")}
    images = []
    for n, name in enumerate(names):
        patient = draw(st.sampled_from(("", "P1", "P2")))
        images.append(
            ImageRow(
                image=name,
                file=Path(f"image{n}.dcm"),
                intent=draw(st.sampled_from(("raw", "processed"))),
                spacing_mm=(draw(_SPACING), draw(_SPACING)),
                patient=patient,
                system=draw(st.one_of(st.just(""), _WORD)),
                view=draw(st.sampled_from(("", "CC", "MLO"))),
                laterality=draw(st.sampled_from(("", "L", "R"))),
                split=split_of[patient] if patient else draw(_SPLITS),
                sha256=draw(st.sampled_from(("", f"{n:064x}"))),
                tags=draw(st.one_of(st.just(""), _WORD)),
                sop_instance_uid=draw(st.sampled_from(("", f"1.2.{n}"))),
                rows=draw(st.one_of(st.none(), st.integers(4001, 5000))),
                columns=draw(st.one_of(st.none(), st.integers(4001, 5000))),
                source=draw(st.one_of(st.just(""), _WORD)),
                licence=draw(st.one_of(st.just(""), _WORD)),
            )
        )
    rows = st.lists(
        _annotations(names),
        max_size=5,
        unique_by=(lambda a: (a.image, a.row, a.column, a.judge), lambda a: a.id or object()),
    )
    return Table(tuple(images), tuple(draw(rows)))


def _annotations(names: list[str]) -> st.SearchStrategy[AnnotationRow]:
    return st.builds(
        AnnotationRow,
        image=st.sampled_from(names),
        row=_PIXEL,
        column=_PIXEL,
        diameter_mm=st.integers(0, 3000).map(lambda n: n / 1000),
        kind=_KINDS,
        cluster=st.one_of(st.just(""), _WORD),
        outline=st.lists(st.tuples(_OUTLINE_PIXEL, _OUTLINE_PIXEL), max_size=4).map(tuple),
        d_prime=st.one_of(st.none(), st.integers(0, 900).map(lambda n: n / 10)),
        judge=st.one_of(st.just(""), _WORD),
        morphology=st.one_of(st.just(""), _WORD),
        id=st.one_of(st.just(""), _WORD),
        when=st.sampled_from(("", "2026-11-28T12:00:00Z")),
    )
