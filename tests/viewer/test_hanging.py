"""However a picture is stored, it hangs in one way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.datasets.table import ImageRow
from microcalc.domain import Mammogram, Orientation
from microcalc.images.dicom.shown import ExamFacts
from microcalc.viewer.catalogue import ViewedImage
from microcalc.viewer.hanging import Hanging, hanging_of

_OPPOSITE = {"A": "P", "P": "A", "L": "R", "R": "L", "H": "F", "F": "H"}
_HANGS = np.arange(6, dtype=np.float32).reshape(2, 3)
_ROW = ImageRow("a", Path("a.dcm"), "processed", (0.1, 0.1))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("mirror_rows", [False, True])
@pytest.mark.parametrize("mirror_columns", [False, True])
@pytest.mark.parametrize(
    ("side", "right", "bottom"), [("L", "A", "F"), ("R", "P", "F"), ("L", "A", "R"), ("R", "P", "L"), ("L", "A", "FR")]
)
def test_a_stored_picture_is_turned_back_by_its_orientation(
    transposed: bool, mirror_rows: bool, mirror_columns: bool, side: Literal["L", "R"], right: str, bottom: str
) -> None:
    """The directions are those of the hung picture, anterior side outside and head or lateral side up, turned."""
    stored = _HANGS[:: -1 if mirror_rows else 1, :: -1 if mirror_columns else 1]
    directions = [
        "".join(_OPPOSITE[letter] for letter in right) if mirror_columns else right,
        "".join(_OPPOSITE[letter] for letter in bottom) if mirror_rows else bottom,
    ]
    if transposed:
        stored, directions = stored.T, directions[::-1]
    orientation = Orientation(*directions)
    facts = ExamFacts(laterality=side, chest_wall=orientation.chest_wall, upper=orientation.upper(side))
    hanging = hanging_of(Mammogram(stored, (0.1, 0.1), "processed", "1.2"), ViewedImage("i0", _ROW, facts, "e0", "a"))
    np.testing.assert_array_equal(hanging.hang(stored), _HANGS)


@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("bright", ["left", "right"])
def test_without_an_orientation_the_chest_wall_is_where_more_tissue_is(side: Literal["L", "R"], bright: str) -> None:
    stored = np.zeros((20, 400), np.float32)
    stored[:, :100] = 1
    stored = stored if bright == "left" else stored[:, ::-1]
    image = ViewedImage("i0", replace(_ROW, laterality=side), ExamFacts(), "e0", "a")
    hung = hanging_of(Mammogram(stored, (0.1, 0.1), "processed", "1.2"), image).hang(stored)
    assert hung[0, 0 if side == "L" else -1] == 1


@given(st.builds(Hanging, st.booleans(), st.booleans(), st.booleans()), st.data())
def test_the_box_of_a_part_is_where_that_part_hangs(hanging: Hanging, data: st.DataObject) -> None:
    stored = np.arange(35, dtype=np.float32).reshape(5, 7)
    top, left = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 6))
    bottom, right = data.draw(st.integers(top + 1, 5)), data.draw(st.integers(left + 1, 7))
    x, y, width, height = hanging.box((top, left), (bottom, right), (5, 7))
    hung = hanging.hang(stored)[int(y) : int(y + height), int(x) : int(x + width)]
    np.testing.assert_array_equal(hung, hanging.hang(stored[top:bottom, left:right]))
