import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.domain import FloatImage
from microcalc.simulate.conspicuous import conspicuous_tissue


def _tissue(pitch_mm: float, spots: list[tuple[float, float, float]]) -> FloatImage:
    """A square of 60 mm, with blobs of 0.6 mm: row, column, and how much of the beam each removes."""
    at = np.arange(round(60.0 / pitch_mm)) * pitch_mm
    primary = np.full((len(at), len(at)), 100.0)
    for row, column, contrast in spots:
        near = np.exp(-0.5 * (((at - row) / 0.22)[:, None] ** 2 + ((at - column) / 0.22)[None, :] ** 2))
        primary *= 1.0 - contrast * near
    return primary.astype(np.float32)


@pytest.mark.parametrize("pitch_mm", [0.07, 0.085, 0.0940909, 0.1])
def test_the_strongest_blobs_are_named_where_they_lie_strongest_first(pitch_mm: float) -> None:
    spots = [(10.0, 12.0, 0.05), (30.03, 41.0, 0.15), (48.0, 20.05, 0.1)]
    primary = _tissue(pitch_mm, spots)
    found = conspicuous_tissue(primary, np.ones(primary.shape, dtype=np.bool_), pitch_mm, n=2)
    assert found == pytest.approx(np.array([spots[1][:2], spots[2][:2]]), abs=0.11)


def test_nothing_is_named_outside_of_where_to_look() -> None:
    primary = _tissue(0.1, [(10.0, 12.0, 0.1), (40.0, 41.0, 0.1)])
    inside = np.zeros(primary.shape, dtype=np.bool_)
    inside[:250] = True
    assert conspicuous_tissue(primary, inside, 0.1) == pytest.approx(np.array([[10.0, 12.0]]), abs=0.06)


@given(st.floats(0.01, 1e4), st.integers(0, 2**32 - 1))
def test_exposure_does_not_matter(exposure: float, seed: int) -> None:
    primary = np.random.default_rng(seed).uniform(0.5, 1.0, (80, 90)).astype(np.float32)
    inside = np.ones(primary.shape, dtype=np.bool_)
    one = conspicuous_tissue(primary, inside, 0.1, n=5)
    other = conspicuous_tissue(primary * np.float32(2.0 ** np.round(np.log2(exposure))), inside, 0.1, n=5)
    assert len(one) == 5
    assert one == pytest.approx(other)
