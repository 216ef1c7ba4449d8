from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microcalc.evaluation.ratings import gather
from microcalc.evaluation.reporting.figures import band, draw_froc


def test_a_froc_band_stops_where_the_curve_ends() -> None:
    ratings = gather([0.9, 0.3], [0, 1], [0.5, 0.2, 0.1], [0, 1, 2], [1, 1, 1])
    drawn = band(ratings, resamples=50, rng=np.random.default_rng(0))
    assert drawn.x[-1] == 1
    assert (np.diff(drawn.x) > 0).all()
    assert (drawn.value[0], drawn.value[-1]) == (0.5, 1)
    assert ((drawn.low <= drawn.value) & (drawn.value <= drawn.high)).all()


def test_a_curve_without_false_marks_has_a_band_too() -> None:
    drawn = band(gather([0.9, 0.3], [0, 1], [], [], [1, 1]), resamples=20, rng=np.random.default_rng(0))
    assert (drawn.x.tolist(), drawn.value.tolist()) == ([0.01], [1])


@pytest.mark.parametrize(("name", "start"), [("curve.svg", b"<?xml"), ("curve.png", b"\x89PNG")])
def test_curves_are_drawn_as_svg_and_png(tmp_path: Path, name: str, start: bytes) -> None:
    rng = np.random.default_rng(0)
    owner = np.arange(40) % 8
    froc = gather(rng.normal(1, 1, 40), owner, rng.normal(0, 1, 40), owner, np.ones(8))
    draw_froc(tmp_path / name, {"marks": {"a": band(froc, resamples=20, rng=rng)}}, {"marks": "false marks per image"})
    assert (tmp_path / name).read_bytes().startswith(start)
