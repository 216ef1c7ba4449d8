from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from microcalc.domain import FloatImage
from microcalc.sample.hardest import BINS, Hardest, bins_of, count_logits
from microcalc.sample.store import Samples

Part = tuple[Samples, FloatImage]

_LOGITS = st.one_of(
    st.sampled_from([-40.0, -0.0, 0.0, 0.5, 2.0, 2.001, 40.0, float("inf"), float("-inf")]),
    st.floats(-50, 50, width=32),
)


@st.composite
def _images(draw: st.DrawFn) -> list[Part]:
    """Negatives of up to five images, each at pixels of its own, with logits that are often equal."""
    parts = []
    for image in range(draw(st.integers(1, 5))):
        pixels = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), unique=True, max_size=16))
        logits = draw(st.lists(_LOGITS, min_size=len(pixels), max_size=len(pixels)))
        samples = np.array([(image, *pixel) for pixel in pixels], dtype=np.int32).reshape(-1, 3)
        parts.append((samples, np.array(logits, dtype=np.float32)))
    return parts


def _hardest(parts: Sequence[Part], counts: NDArray[np.int64], n: int) -> Samples:
    hardest = Hardest(n, counts)
    for samples, logits in parts:
        hardest.add(samples, logits)
    return hardest.samples()


def _counts(parts: Sequence[Part]) -> NDArray[np.int64]:
    counts = np.zeros(BINS, dtype=np.int64)
    for _, logits in parts:
        counts += count_logits(logits)
    return counts


def _by_sorting_everything(parts: Sequence[Part], n: int) -> Samples:
    rows = [(-logit, *place) for samples, logits in parts for place, logit in zip(samples, logits, strict=True)]
    chosen = sorted(rows)[:n]
    by_image = sorted((image, logit, row, column) for logit, image, row, column in chosen)
    return np.array([(image, row, column) for image, _, row, column in by_image], dtype=np.int32).reshape(-1, 3)


@settings(deadline=None, max_examples=60)
@given(_images(), st.integers(1, 40), st.data())
def test_the_hardest_are_those_of_a_sort_of_everything_in_any_order_of_images(
    parts: list[Part], n: int, data: st.DataObject
) -> None:
    expected = _by_sorting_everything(parts, n)
    assert np.array_equal(_hardest(parts, _counts(parts), n), expected)
    shuffled = data.draw(st.permutations(parts))
    assert np.array_equal(_hardest(shuffled, _counts(shuffled), n), expected)


@given(st.lists(_LOGITS, min_size=2, max_size=30))
def test_a_higher_logit_is_never_in_a_lower_bin(logits: list[float]) -> None:
    bins = bins_of(np.sort(np.array(logits, dtype=np.float32)))
    assert (np.diff(bins) >= 0).all()
    assert 0 <= bins.min() <= bins.max() < BINS


def test_what_is_not_a_number_is_taken_last() -> None:
    samples = np.array([(0, 0, column) for column in range(4)], dtype=np.int32)
    part = samples, np.array([np.nan, -np.inf, 1.0, np.nan], dtype=np.float32)
    assert _hardest([part], _counts([part]), 2).tolist() == [[0, 0, 2], [0, 0, 1]]


def test_no_more_than_twice_the_wanted_are_held_though_all_logits_are_equal() -> None:
    parts = [
        (np.array([(image, 0, column) for column in range(1000)], dtype=np.int32), np.zeros(1000, dtype=np.float32))
        for image in range(9, -1, -1)
    ]
    hardest = Hardest(30, _counts(parts))
    for samples, logits in parts:
        hardest.add(samples, logits)
        assert len(hardest._samples) <= 60
    assert hardest.samples().tolist() == [[0, 0, column] for column in range(30)]


def test_nothing_gives_nothing_and_what_was_not_counted_is_refused() -> None:
    none = np.zeros((0, 3), dtype=np.int32), np.zeros(0, dtype=np.float32)
    assert _hardest([none], _counts([none]), 5).shape == (0, 3)
    hardest = Hardest(5, _counts([none]))
    with pytest.raises(ValueError, match="more negatives than were counted"):
        hardest.add(np.zeros((1, 3), dtype=np.int32), np.zeros(1, dtype=np.float32))
