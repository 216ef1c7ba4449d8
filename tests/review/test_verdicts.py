"""What a person may write as a verdict, and how reviewed places are kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.datasets.reviewed import Reviewed, read_reviewed, write_reviewed
from microcalc.domain import PLACE_KINDS, Kind
from microcalc.errors import TableError
from microcalc.review.verdicts import LETTERS, merge, parse_verdict

SHA = "0123456789abcdef" * 4
REVIEWED = st.builds(
    Reviewed,
    file=st.just("a.png"),
    sha256=st.sampled_from([SHA, SHA[::-1]]),
    row=st.integers(0, 3).map(float),
    column=st.integers(0, 3).map(float),
    verdict=st.sampled_from(PLACE_KINDS),
    judge=st.sampled_from(["one", "two"]),
)


def test_no_kind_has_two_letters() -> None:
    assert len(set(LETTERS.values())) == len(LETTERS)
    assert set(LETTERS.values()) <= set(PLACE_KINDS)


@pytest.mark.parametrize("kind", PLACE_KINDS)
def test_words_and_letters_mean_the_same(kind: Kind) -> None:
    letters = [text for k, v in LETTERS.items() if v == kind for text in (k, k.upper())]
    for text in (kind, kind.upper(), kind.replace("_", " "), f" {kind.replace('_', '-')} ", *letters):
        assert parse_verdict(text) == kind


@pytest.mark.parametrize("text", ["x", "calcium", "rim or", "micro calcification", "calcification_region"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_verdict(text)


@given(st.lists(REVIEWED, max_size=12), st.lists(REVIEWED, max_size=12))
def test_merging_keeps_one_verdict_per_place_and_the_later_one(first: list[Reviewed], second: list[Reviewed]) -> None:
    merged = merge(merge((), first), second)
    latest = {(r.sha256, r.row, r.column): r.verdict for r in [*first, *second]}
    assert {(r.sha256, r.row, r.column): r.verdict for r in merged} == latest
    assert len(merged) == len(latest)


def test_reviewed_places_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = (
        Reviewed("a.png", SHA, 1.125, 2.0, "vascular", "by eye, not a radiologist", 2, "unsure by A; coarse by B"),
        Reviewed("b.png", SHA, 3.0, 4.5, "no_calcium", "B"),
    )
    write_reviewed(tmp_path / "reviewed.csv", rows)
    assert read_reviewed(tmp_path / "reviewed.csv") == rows


def test_a_table_without_rounds_is_read_as_round_zero(tmp_path: Path) -> None:
    file = tmp_path / "reviewed.csv"
    file.write_text(f"file,sha256,row,column,verdict,judge\na.png,{SHA},1,2,coarse,me\n")
    assert read_reviewed(file) == (Reviewed("a.png", SHA, 1.0, 2.0, "coarse", "me"),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"a.png,{SHA},1,2,cyst,me", "line 2: verdict is 'cyst', expected one of"),
        (f"a.png,{SHA},1,two,coarse,me", "line 2: column is 'two', expected a number"),
        (f"a.png,{SHA},1,2,coarse,", "line 2: judge is empty"),
        ("a.png,,1,2,coarse,me", "line 2: sha256 is empty"),
    ],
)
def test_a_broken_line_is_refused_by_its_number(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "reviewed.csv"
    file.write_text(f"file,sha256,row,column,verdict,judge\n{line}\n")
    with pytest.raises(TableError, match=message):
        read_reviewed(file)
