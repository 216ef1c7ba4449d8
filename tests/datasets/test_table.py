from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table, read_table, write_table
from microcalc.errors import TableError

_WORD = st.text(string.ascii_letters + string.digits + ",;'\"-_.äß", min_size=1, max_size=8)
_PIXEL = st.integers(0, 4_000_000).map(lambda n: n / 1000)
_OUTLINE_PIXEL = st.integers(0, 400_000).map(lambda n: n / 100)
_SPACING = st.integers(20, 200).map(lambda n: n / 1000)
_SPLITS: st.SearchStrategy[Split] = st.sampled_from(("train", "tune", "test", ""))
_KINDS = st.sampled_from(("microcalcification", "coarse", "vascular", "no_calcium", "unsure"))


@st.composite
def _tables(draw: st.DrawFn) -> Table:
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
                sha256=draw(st.sampled_from(("", "0" * 64))),
                tags=draw(st.one_of(st.just(""), _WORD)),
            )
        )
    return Table(tuple(images), tuple(draw(st.lists(_annotations(names), max_size=5))))


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
    )


@given(_tables())
@settings(max_examples=40, deadline=None)
def test_a_written_table_is_read_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, table: Table) -> None:
    folder = tmp_path_factory.mktemp("table")
    placed = Table(
        tuple(_at(image, folder) for image in table.images),
        table.annotations,
    )
    write_table(placed, folder)
    assert read_table(folder) == placed
    assert read_table(folder / "images.csv") == placed


def _at(image: ImageRow, folder: Path) -> ImageRow:
    return replace(image, file=folder / image.file)


def test_annotations_are_given_in_millimetres() -> None:
    image = ImageRow("a", Path("a.dcm"), "raw", (0.1, 0.05))
    table = Table((image,), (AnnotationRow("a", 10.0, 20.5, 0.3, cluster="1"), AnnotationRow("b", 1.0, 1.0)))
    annotations = table.annotations_of(image)
    np.testing.assert_allclose(annotations.centres, [[1.0, 1.025]])
    assert annotations.diameter_mm.tolist() == [0.3]
    assert annotations.kind.tolist() == ["microcalcification"]
    assert annotations.cluster.tolist() == ["1"]


def test_an_image_without_annotations_has_none_of_any_kind() -> None:
    image = ImageRow("a", Path("a.dcm"), "raw", (0.1, 0.1))
    assert Table((image,)).annotations_of(image).centres.shape == (0, 2)


def test_a_split_takes_its_annotations_along() -> None:
    images = (
        ImageRow("a", Path("a.dcm"), "raw", (0.1, 0.1), split="train"),
        ImageRow("b", Path("b.dcm"), "raw", (0.1, 0.1), split="test"),
    )
    table = Table(images, (AnnotationRow("a", 1, 1), AnnotationRow("b", 2, 2)))
    assert table.of_split("test") == Table(images[1:], table.annotations[1:])


def test_files_elsewhere_are_found_again_from_the_table(tmp_path: Path) -> None:
    elsewhere = tmp_path / "images" / "a.dcm"
    write_table(Table((ImageRow("a", elsewhere, "raw", (0.1, 0.1)),)), tmp_path / "table")
    assert "../images/a.dcm" in (tmp_path / "table" / "images.csv").read_text()
    assert read_table(tmp_path / "table").images[0].file == elsewhere


_IMAGES = "image,file,patient,intent,row_spacing_mm,column_spacing_mm,split,laterality\n"
_ANNOTATIONS = "image,row,column,kind,outline,diameter_mm,d_prime\n"
_GOOD = _IMAGES + "a,a.dcm,P1,raw,0.1,0.1,train,L\n"


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        (None, None, "no images.csv"),
        ("image,file\n", None, "images.csv: column 'intent' is missing"),
        (_IMAGES + "a,a.dcm,,raw,x,0.1,,\n", None, "line 2: row_spacing_mm is 'x', expected a number"),
        (_IMAGES + "a,a.dcm,,raw,nan,0.1,,\n", None, "line 2: row_spacing_mm is 'nan'"),
        (_IMAGES + "a,a.dcm,,raw,0.1,1.0,,\n", None, "line 2: spacing 0.1 x 1.0 mm, expected 0.02 to 0.2"),
        (_IMAGES + ",a.dcm,,raw,0.1,0.1,,\n", None, "line 2: image or file is empty"),
        (_IMAGES + "a,a.dcm,,log,0.1,0.1,,\n", None, "line 2: intent is 'log', expected one of 'raw', 'processed'"),
        (_IMAGES + "a,a.dcm,,raw,0.1,0.1,dev,\n", None, "line 2: split is 'dev'"),
        (_IMAGES + "a,a.dcm,,raw,0.1,0.1,,left\n", None, "line 2: laterality is 'left'"),
        (_GOOD + "a,b.dcm,P1,raw,0.1,0.1,train,L\n", None, "image 'a' is listed 2 times"),
        (_GOOD + "b,b.dcm,P1,raw,0.1,0.1,test,R\n", None, "expected one split per patient"),
        (_GOOD, "image,row,column\n", "annotations.csv: column 'kind' is missing"),
        (_GOOD, _ANNOTATIONS + "b,1,1,coarse,,,\n", "annotations.csv: image 'b' is not in images.csv"),
        (_GOOD, _ANNOTATIONS + "a,1,,coarse,,,\n", "line 2: column is '', expected a number"),
        (_GOOD, _ANNOTATIONS + "a,1,1,crumb,,,\n", "line 2: kind is 'crumb'"),
        (_GOOD, _ANNOTATIONS + "a,1,1,coarse,1 2; 3,,\n", "line 2: outline is '1 2; 3'"),
        (_GOOD, _ANNOTATIONS + "a,1,1,coarse,,wide,\n", "line 2: diameter_mm is 'wide'"),
        (_GOOD, _ANNOTATIONS + "a,1,1,coarse,,,inf\n", "line 2: d_prime is 'inf'"),
    ],
)
def test_a_broken_table_is_refused_by_what_is_wrong_and_where(
    tmp_path: Path, images: str | None, annotations: str | None, message: str
) -> None:
    if images is not None:
        (tmp_path / "images.csv").write_text(images, encoding="utf-8")
    if annotations is not None:
        (tmp_path / "annotations.csv").write_text(annotations, encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read_table(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_bytes(b"\xff\xfe\x00\x00binary")
    with pytest.raises(TableError, match="no CSV in UTF-8"):
        read_table(tmp_path)


def test_images_without_a_patient_are_patients_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text(_IMAGES + "a,a.dcm,,raw,0.1,0.1,train,\nb,b.dcm,,raw,0.1,0.1,test,\n")
    assert len({i.patient_or_image for i in read_table(tmp_path).images}) == 2
