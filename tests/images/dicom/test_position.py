"""The side, the view and the orientation of a picture, however its machine spells them."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from microcalc import domain
from microcalc.dicom.codes import VIEWS
from microcalc.domain import Edge, Orientation
from microcalc.images.dicom import position
from microcalc.images.dicom.position import laterality_of, orientation_of, view_named, view_of


def _header(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("MLO", "MLO"),
        ("mlo ", "MLO"),
        ("LMLO", "MLO"),
        ("R-MLO", "MLO"),
        ("RCC", "CC"),
        ("Left CC", "CC"),
        ("LM", "LM"),
        ("LMO", "LMO"),
        ("LLM", "LM"),
        ("RLMO", "LMO"),
        ("LML", "ML"),
        ("MEDIO-LATERAL OBLIQUE", "MLO"),
        ("MEDIOLATERAL OBLIQUE", "MLO"),
        ("Cranio-Caudal", "CC"),
        ("CRANIOCAUDAL", "CC"),
        ("medio-lateral", "ML"),
        ("LATEROMEDIAL OBLIQUE", "LMO"),
        ("RXCCL", "XCCL"),
        ("", None),
        ("OBLIQUE", None),
    ],
)
def test_a_view_is_known_however_it_is_spelt(text: str, view: str | None) -> None:
    assert view_named(text) == view


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("side", ["", "L", "R", "LEFT ", "right-"])
def test_a_side_before_a_view_is_never_part_of_it(view: str, side: str) -> None:
    if side + view not in VIEWS:  # LMLO is a left MLO, but LMO is a view of its own
        assert view_named(side + view) == view


@pytest.mark.parametrize("scheme", ["SCT", "SRT", "SNM3", "99SDM"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_known_by_its_code_in_any_scheme(view: str, scheme: str) -> None:
    item = Dataset()
    item.CodeValue = VIEWS[view].sct if scheme == "SCT" else VIEWS[view].srt
    item.CodingSchemeDesignator = scheme
    assert view_of(_header(ViewCodeSequence=Sequence([item]))) == view


def test_a_view_position_with_a_side_names_the_side_where_the_header_names_none() -> None:
    assert laterality_of(_header(ViewPosition="LMLO")) == "L"
    assert laterality_of(_header(ViewPosition="LMLO", ImageLaterality="R")) == "R"
    assert laterality_of(_header(ViewPosition="LMO")) is None
    assert laterality_of(_header(ViewPosition="LMLO", ImageLaterality="B")) is None


@pytest.mark.parametrize(
    ("found", "chest_wall", "cranial"),
    [
        (["A", "FR"], "left", "top"),  # a left MLO as machines store it
        (["P", "FL"], "right", "top"),
        (["P", "HL"], "right", "bottom"),  # turned by 180 degrees
        (["A", "HL"], "left", "bottom"),  # flipped
        (["FR", "P"], "bottom", "left"),  # turned by 90 degrees
        (["P", "L"], "right", None),  # CC
        (["FP", "LF"], "right", "left"),
    ],
)
def test_patient_orientation_says_where_chest_wall_and_head_are(
    found: list[str], chest_wall: Edge | None, cranial: Edge | None
) -> None:
    orientation = orientation_of(_header(PatientOrientation=found))
    assert orientation is not None
    assert (orientation.chest_wall, orientation.cranial) == (chest_wall, cranial)


@pytest.mark.parametrize(
    "found", ["", "A", ["A", ""], ["A", "P"], ["A", "A"], ["AP", "F"], ["X", "F"], ["A", "F", "R"]]
)
def test_an_orientation_that_no_picture_has_is_none(found: str | list[str]) -> None:
    assert orientation_of(_header(PatientOrientation=found)) is None


@given(st.sampled_from("APLRHF"), st.sampled_from("APLRHF"))
def test_opposite_directions_lie_at_opposite_edges(right: str, bottom: str) -> None:
    orientation = orientation_of(_header(PatientOrientation=[right, bottom]))
    if orientation is None:
        return
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    for one, other in (("A", "P"), ("L", "R"), ("H", "F")):
        edge = orientation.edge_of(one)  # type: ignore[arg-type]
        assert orientation.edge_of(other) == (None if edge is None else opposite[edge])  # type: ignore[arg-type]


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(position).failed == 0
    assert doctest.testmod(domain).failed == 0
    assert Orientation("A", "FR").edge_of("L") == "top"
