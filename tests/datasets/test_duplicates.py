"""The same pixels are in a table once, and whoever shares an image shares a split."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.dicom.fixtures import Write

from microcalc.datasets.duplicates import without_duplicates
from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table, refuse_split_patients
from microcalc.dicom.header import AcquisitionHeader
from microcalc.errors import UnreadableImageError
from microcalc.images.content import pixels_sha256

_SPLITS: tuple[Split, ...] = ("train", "validation", "test", "")


def _row(name: str, patient: str, content: str, split: Split = "", tags: str = "") -> ImageRow:
    return ImageRow(name, Path(content), "processed", (0.1, 0.1), patient=patient, split=split, tags=tags)


def _unique(*images: ImageRow, rows: tuple[AnnotationRow, ...] = ()) -> tuple[Table, tuple[str, ...]]:
    return without_duplicates(Table(images, rows), content_of=str)


def test_a_copy_under_another_patient_is_left_out_and_the_two_are_one_patient() -> None:
    table, notes = _unique(
        _row("a", "P1", "x", "train", "benign"), _row("b", "P2", "x", "test", "malignant"),
        _row("c", "P2", "y", "test"), _row("d", "P3", "z", "train"),
        rows=(AnnotationRow("a", 1, 1), AnnotationRow("b", 1, 1), AnnotationRow("b", 2, 2)),
    )  # fmt: skip
    assert [(i.image, i.patient, i.split) for i in table.images] == [
        ("a", "P1", "test"), ("c", "P1", "test"), ("d", "P3", "train"),
    ]  # fmt: skip
    assert table.images[0].tags == "benign malignant"
    assert [(a.image, a.row) for a in table.annotations] == [("a", 1), ("a", 2)]
    assert notes == (
        "1 image left out as copies: b (of a)",
        "1 patient joined with another who has the same image",
    )


def test_a_patient_in_two_parts_of_a_set_is_in_one_split() -> None:
    table, notes = _unique(_row("a", "P1", "x", "train"), _row("b", "P1", "y", "test"), _row("c", "P2", "z", "train"))
    assert [i.split for i in table.images] == ["test", "test", "train"]
    assert notes == ("1 image moved to the split of another image of the patient",)


@given(
    st.lists(
        st.tuples(st.sampled_from(["", *"ABCDE"]), st.sampled_from("uvwxyz"), st.sampled_from(_SPLITS)),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_whoever_shares_an_image_directly_or_not_shares_a_split(drawn: list[tuple[str, str, Split]]) -> None:
    given_ = tuple(_row(f"i{n}", patient, content, split) for n, (patient, content, split) in enumerate(drawn))
    table, _ = _unique(*given_)
    assert sorted(str(i.file) for i in table.images) == sorted({content for _, content, _ in drawn})
    refuse_split_patients(table.images, "here")
    split_of = {str(i.file): i.split for i in table.images}
    for one in given_:
        for other in given_:
            if one.patient and one.patient == other.patient:
                assert split_of[str(one.file)] == split_of[str(other.file)]


def test_pixels_are_compared_and_not_headers_or_names(
    write: Write, raw_header: AcquisitionHeader, tmp_path: Path
) -> None:
    one = write(raw_header, name="one.dcm")
    other = write(dataclasses.replace(raw_header, patient_id="OTHER", laterality="L"), name="other.dcm")
    assert one.read_bytes() != other.read_bytes()
    assert pixels_sha256(one) == pixels_sha256(other)
    values = np.arange(100 * 90, dtype=np.uint16).reshape(100, 90)
    for name, picture in (("a.png", values), ("b.tif", values), ("c.png", values.reshape(90, 100))):
        Image.fromarray(picture).save(tmp_path / name)
    a, b, c = (pixels_sha256(tmp_path / name) for name in ("a.png", "b.tif", "c.png"))
    assert a == b != c


def test_a_file_that_is_no_image_is_nobodys_copy(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(UnreadableImageError):
        pixels_sha256(tmp_path / "a")
    images = tuple(_row(name, "", str(tmp_path / name)) for name in ("a", "b"))
    assert without_duplicates(Table(images)) == (Table(images), ())
