"""The overlay shows what a result lists, and numbers the findings before the single calcifications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from microcalc.detection.entries import CandidateEntry, ClusterEntry, ImageEntry
from microcalc.detection.result import SCHEMA, Result
from microcalc.display.overlay import HEADER_PX, draw_overlay
from microcalc.display.places import (
    FILLED,
    FINDING,
    MOST,
    MOST_SINGLES,
    OTHER,
    SET_APART,
    SINGLE,
    Place,
    places_to_show,
)
from microcalc.display.show import show
from microcalc.domain import Mammogram, NormalisedMammogram

SPACING_MM = (0.1, 0.1)
SHAPE = (400, 300)


def _candidate(row: float, column: float, likelihood: float, *, outlined: bool = True) -> CandidateEntry:
    if not outlined:
        return CandidateEntry(row=row, column=column, likelihood=likelihood, outline=())
    corners = ((-2.0, -2.0), (-2.0, 2.0), (2.0, 2.0), (2.0, -2.0), (-2.0, -2.0))
    return CandidateEntry(
        row=row,
        column=column,
        likelihood=likelihood,
        outline=tuple((row + y, column + x) for y, x in corners),
        diameter_mm=0.45,
        area_mm2=0.16,
        elongation=1.0,
        contrast_to_noise=9.0,
    )


def _result(
    candidates: Sequence[CandidateEntry], clusters: Sequence[tuple[float, bool, tuple[int, ...]]] = (), **entries: Any
) -> Result:
    return Result(
        schema=SCHEMA,
        image=ImageEntry(file="image.dcm", rows=SHAPE[0], columns=SHAPE[1], pixel_spacing_mm=SPACING_MM),
        candidates=tuple(candidates),
        clusters=tuple(
            ClusterEntry(likelihood=likelihood, finding=finding, members=members, distribution="linear")
            for likelihood, finding, members in clusters
        ),
        **entries,
    )


def _places(result: Result) -> list[Place]:
    return places_to_show(result, SPACING_MM)


def _mammogram() -> Mammogram:
    return Mammogram(np.full(SHAPE, 100.0, dtype=np.float32), SPACING_MM, "processed", "1.2.3")


def _drawn(result: Result) -> NDArray[np.uint8]:
    normalised = NormalisedMammogram(np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.bool_), 0.1, (0.0, 0.0), "1.2.3")
    return np.asarray(draw_overlay(_mammogram(), normalised, result))


@given(findings=st.integers(0, 20), singles=st.integers(0, 9), below=st.integers(0, 9))
def test_findings_come_before_singles_and_the_rest_fills_the_first_column(
    findings: int, singles: int, below: int
) -> None:
    count = findings + below
    candidates = [_candidate(10 * i, 50, 0.9) for i in range(count)]
    candidates += [_candidate(50 * i, 250, 0.8) for i in range(singles)]
    clusters = [(1 - 0.01 * i, i < findings, (i,)) for i in range(count)]
    places = _places(_result(candidates, clusters, single_calcifications=tuple(range(count, count + singles))))
    shown_findings = min(findings, MOST)
    shown_singles = min(singles, MOST_SINGLES, MOST - shown_findings)
    shown_rest = min(below, max(0, FILLED - shown_findings - shown_singles))
    expected = [FINDING] * shown_findings + [SINGLE] * shown_singles + [OTHER] * shown_rest
    assert [place.colour for place in places] == expected


def test_a_mark_that_is_in_no_cluster_is_shown_before_less_likely_clusters() -> None:
    candidates = [_candidate(50, 50, 0.996), _candidate(90, 50, 0.7), _candidate(95, 50, 0.7), _candidate(99, 50, 0.7)]
    first, second = _places(_result(candidates, [(0.7, False, (1, 2, 3))]))
    assert first.title.startswith("candidate outside clusters, likelihood 0.996")
    assert second.title.startswith("cluster below the threshold, likelihood 0.700")


def test_single_calcifications_beside_each_other_share_a_panel() -> None:
    candidates = [_candidate(50, 50, 0.99), _candidate(60, 60, 0.98), _candidate(200, 60, 0.97)]
    places = _places(_result(candidates, single_calcifications=(0, 1, 2)))
    assert [float(place.marks[0].place[0]) for place in places if place.colour == SINGLE] == [50, 200]


def test_captions_state_number_extent_distribution_and_largest_diameter() -> None:
    candidates = [_candidate(50, 50, 0.9), _candidate(60, 90, 0.9), _candidate(70, 70, 0.9, outlined=False)]
    (place,) = _places(_result(candidates, [(0.95, True, (0, 1, 2))]))
    assert place.title == "FINDING, likelihood 0.950, row 60, column 70"
    assert place.detail == "3 calcifications in 4.0 x 2.0 mm, linear, largest 0.45 mm"


def test_the_overlay_draws_outlines_at_the_calcifications_and_every_single_one_in_the_whole_view() -> None:
    singles = [_candidate(40 + 60 * i, 200, 0.9) for i in range(6)]
    result = _result(
        [_candidate(200, 60, 0.9), *singles], [(0.9, True, (0,))], single_calcifications=tuple(range(1, 7))
    )
    page = _drawn(result)
    whole = page[HEADER_PX : HEADER_PX + SHAPE[0], 10 : 10 + SHAPE[1]]
    green = np.all(whole == SINGLE, axis=2)
    for single in singles:
        row, column = int(single.row), int(single.column)
        assert green[row - 25 : row + 26, column - 25 : column + 26].sum() > 50
        assert not green[row - 10 : row + 11, column - 10 : column + 11].any()  # the ring leaves it visible
    panels = page[:, 10 + SHAPE[1] + 10 :]
    assert np.all(panels == FINDING, axis=2).any()
    assert np.all(panels == SINGLE, axis=2).any()


def test_more_findings_than_are_numbered_are_all_outlined_in_the_whole_view() -> None:
    outlines = [np.array([[r, c], [r, c + 9], [r + 9, c + 9], [r, c]]) for r in range(10, 390, 40) for c in (50, 150)]
    candidates = [_candidate(row, column, 0.9) for row, column in (outline.mean(axis=0) for outline in outlines)]
    result = _result(candidates, [(1 - 0.01 * n, True, (n,)) for n in range(len(outlines))])
    clusters = [
        cluster.model_copy(update={"outline": tuple(map(tuple, outline.tolist())), "apart": n == len(outlines) - 1})
        for n, (cluster, outline) in enumerate(zip(result.clusters, outlines, strict=True))
    ]
    page = _drawn(result.model_copy(update={"clusters": tuple(clusters)}))
    whole = page[HEADER_PX : HEADER_PX + SHAPE[0], 10 : 10 + SHAPE[1]]
    colours = [FINDING] * (len(outlines) - 1) + [SET_APART]
    assert len(outlines) > MOST
    for outline, colour in zip(outlines, colours, strict=True):
        top, left = outline.min(axis=0)
        assert np.all(whole[top - 2 : top + 3, left + 2 : left + 7] == colour, axis=2).any()


def test_the_caption_of_a_single_calcification_says_what_it_likely_is() -> None:
    coarse = _candidate(50, 50, 0.99).model_copy(update={"kind": "coarse"})
    (place,) = _places(_result([coarse], single_calcifications=(0,)))
    assert place.detail == "0.45 mm, likely coarse"


def test_show_draws_the_outline_of_each_calcification() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    candidates = [_candidate(50, 50, 0.9), _candidate(60, 90, 0.9, outlined=False), _candidate(200, 90, 0.9)]
    axes = show(_mammogram(), _result(candidates, [(0.95, True, (0, 1))], single_calcifications=(2,)))
    drawn = [np.asarray(line.get_xydata()) for line in axes.get_lines()]
    assert [len(line) for line in drawn] == [5, 1, 5]
    np.testing.assert_allclose(drawn[2][:, ::-1], np.array(candidates[2].outline))
    assert axes.get_lines()[0].get_color() != axes.get_lines()[2].get_color()


def test_a_finding_set_apart_has_its_own_colour_and_says_what_it_likely_is() -> None:
    result = _result([_candidate(50, 50, 0.9), _candidate(60, 90, 0.9)], [(0.95, True, (0, 1))])
    cluster = result.clusters[0].model_copy(update={"kind": "rod_like", "apart": True})
    (place, *_) = _places(result.model_copy(update={"clusters": (cluster,)}))
    assert place.colour == SET_APART
    assert "likely rod-like" in place.detail
