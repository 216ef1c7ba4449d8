"""Whose detections are whose: images are joined by what they are, and nothing is left out without a word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evaluation.reporting.test_report import CLUSTER, detected, perfect, table

from microcalc.datasets.table import Table
from microcalc.errors import InputError
from microcalc.evaluation.detections import read_marks
from microcalc.evaluation.frame import frame_warnings
from microcalc.evaluation.names import detector_names
from microcalc.evaluation.reporting.report import evaluate_detections
from microcalc.storage.index import IndexEntry, update_index
from microcalc.storage.ownership import open_output_folder


def _document(folder: Path, name: str, **image: object) -> Path:
    path = detected(folder, "1-1.dcm", [(*CLUSTER[0], 0.9)]).rename(folder / name)
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"image": {"file": "1-1.dcm"} | image}))
    return path


def _same_names(n: int = 3) -> Table:
    """Images of one file name, as in TCIA's layout."""
    images = tuple(
        replace(i, file=Path(f"/data/P{n}/1-1.dcm"), sop_instance_uid=f"1.2.{n}", rows=800, columns=1000)
        for n, i in enumerate(table(n).images)
    )
    return Table(images, table(n).annotations)


def test_images_of_one_file_name_are_told_by_their_uid(tmp_path: Path) -> None:
    for n in (2, 0, 1):
        _document(tmp_path / "d", f"1-1-{n}.json", sop_instance_uid=f"1.2.{n}")
    found = read_marks([tmp_path / "d"], _same_names())
    assert (set(found.marks), found.images_without_detections) == ({"im0", "im1", "im2"}, ())


def test_images_of_one_file_name_are_told_by_their_content(tmp_path: Path) -> None:
    images = tuple(replace(i, sop_instance_uid="", sha256=f"{n:064x}") for n, i in enumerate(_same_names().images))
    _document(tmp_path / "d", "a.json", sha256=f"{1:064x}")
    assert set(read_marks([tmp_path / "d"], Table(images)).marks) == {"im1"}


def test_another_image_of_the_same_name_is_not_taken_for_it(tmp_path: Path) -> None:
    _document(tmp_path / "d", "a.json", sop_instance_uid="1.2.0")
    _document(tmp_path / "d", "b.json", sop_instance_uid="1.2.77")
    found = read_marks([tmp_path / "d"], _same_names(1))
    assert (set(found.marks), found.images_not_in_table) == (
        {"im0"},
        ("1-1.dcm (another image of that name, by SOP Instance UID or content)",),
    )


def test_a_resized_copy_of_the_same_name_is_told_by_its_content_and_size(tmp_path: Path) -> None:
    images = tuple(replace(i, sop_instance_uid="", sha256=f"{n:064x}") for n, i in enumerate(_same_names(1).images))
    _document(tmp_path / "d", "a.json", sha256=f"{7:064x}", rows=400, columns=500)
    with pytest.raises(InputError, match=r"another image of that name: 400 x 500 pixels, the table's 800 x 1000"):
        read_marks([tmp_path / "d"], Table(images))


def test_two_documents_of_one_uid_are_refused_whatever_their_names(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        _document(tmp_path / "d", name, sop_instance_uid="1.2.0")
    with pytest.raises(InputError, match=r"^b\.json: image 'im0' has detections already"):
        read_marks([tmp_path / "d"], _same_names())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            {"rows": 400, "columns": 500},
            "a.json: detections on an image of 400 x 500 pixels, but image 'im0' has 8",
        ),
        ({"rows": 1000, "columns": 800}, "a.json: detections on an image of 1000 x 800 pixels"),
        ({"pixel_spacing_mm": [0.2, 0.2]}, "a.json: detections on pixels of 0.2 x 0.2 mm"),
        ({"pixel_spacing_mm": [0.1, 0.05]}, "a.json: detections on pixels of 0.1 x 0.05 mm"),
    ],
)
def test_detections_on_a_copy_of_another_size_are_refused(
    tmp_path: Path, image: dict[str, object], message: str
) -> None:
    _document(tmp_path / "d", "a.json", **image)
    with pytest.raises(InputError) as caught:
        read_marks([tmp_path / "d"], _same_names(1))
    assert str(caught.value).startswith(message)


def test_places_of_the_table_are_held_against_the_size_that_detections_say(tmp_path: Path) -> None:
    data = table(1)
    _document(tmp_path / "d", "a.json", file="image0.dcm", rows=350, columns=350)
    with pytest.raises(InputError, match="row 400, column 400 lies outside image 'im0' of 350 x 350 pixels"):
        read_marks([tmp_path / "d"], data)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("im0,5000,3000,0.5", "m.csv line 3: a mark at row 5000, column 3000 lies outside image 'im0' of 800 x 1000"),
        ("im0,-20,10,0.5", "m.csv line 3: a mark at row -20, column 10 lies outside"),
        ("im0,800,10,0.5", "m.csv line 3: a mark at row 800, column 10 lies outside"),
        ("im0,1.0,2.00,0.5", "m.csv line 3: repeats the mark of line 2"),
        (",1,2,0.5", "m.csv line 3: the column image is empty"),
    ],
)
def test_marks_of_other_detectors_are_checked_line_by_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(f"image,row,column,likelihood\nim0,1,2,0.5\n{line}\n")
    with pytest.raises(InputError) as caught:
        read_marks([tmp_path / "m.csv"], _same_names())
    assert str(caught.value).startswith(message)


def test_marks_of_other_detectors_name_images_by_uid_too(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,row,column,likelihood\n1.2.1,1,2,0.5\n")
    assert read_marks([tmp_path / "m.csv"], _same_names()).marks["im1"].likelihood.tolist() == [0.5]


def test_images_without_a_line_count_as_without_marks_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,row,column,likelihood\nim0,1,2,0.5\n")
    found = read_marks([tmp_path / "m.csv"], table(3))
    assert (set(found.marks), found.images_without_lines) == ({"im0", "im1", "im2"}, ("im1", "im2"))
    assert found.remarks() == ("2 images of the table without a line, evaluated as having no mark: im1, im2",)


def test_where_a_line_says_that_there_is_no_mark_an_image_without_a_line_was_not_searched(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,row,column,likelihood\nim0,1,2,0.5\nim1,,,\n")
    found = read_marks([tmp_path / "m.csv"], table(3))
    assert (set(found.marks), found.images_without_detections, found.images_without_lines) == (
        {"im0", "im1"},
        ("im2",),
        (),
    )


def test_what_the_latest_run_of_detect_did_not_make_is_not_judged(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    open_output_folder(folder, "detect")
    for n in range(3):
        _document(folder, f"{n}.json", sop_instance_uid=f"1.2.{n}")
    update_index(folder, {}, [IndexEntry("0", "0.dcm"), IndexEntry("1", "1.dcm", failed="no breast")])
    found = read_marks([folder], _same_names())
    assert (set(found.marks), found.images_without_detections, found.stale_files) == (
        {"im0"},
        ("im1", "im2"),
        ("1.json", "2.json"),
    )


def test_a_damaged_document_in_a_folder_is_named(tmp_path: Path) -> None:
    found = perfect(tmp_path / "d")
    whole = (found / "image2.json").read_bytes()
    (found / "image2.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"^image2\.json: damaged"):
        evaluate_detections([found], table(), out=tmp_path / "out", resamples=9)
    assert not (tmp_path / "out").exists()


def test_detectors_are_named_by_whole_folder_names_and_as_far_up_as_it_takes() -> None:
    def names(*paths: str) -> list[str]:
        return detector_names([Path(p) for p in paths])

    assert names("model.v1", "model.v2/") == ["model.v1", "model.v2"]
    assert names("/x/a/results", "/x/b/results") == ["a-results", "b-results"]
    assert names("/x/a/r", "/y/a/r", "/z/q") == ["x-a-r", "y-a-r", "q"]
    assert names("marks.v2.csv", "/x/marks.v1.csv") == ["marks.v2", "marks.v1"]
    assert names(".") == [Path.cwd().name]
    with pytest.raises(InputError, match="a: given 2 times"):
        names("a", "./a/")


def test_exchanged_axes_are_suspected_where_they_hit_what_straight_ones_miss(tmp_path: Path) -> None:
    data = table(4)
    truth = tuple(replace(a, row=a.row + 50) for a in data.annotations)
    swapped = tuple(replace(a, row=a.column, column=a.row) for a in truth)
    marks = [(r + 50, c, 0.9) for r, c in CLUSTER]
    for n in range(4):
        detected(tmp_path / "d", f"image{n}.dcm", marks)
    found = read_marks([tmp_path / "d"], data)
    assert frame_warnings(found.marks, Table(data.images, truth), hit_mm=0.5) == ()
    (remark,) = frame_warnings(found.marks, Table(data.images, swapped), hit_mm=0.5)
    assert "0 of 12 annotated microcalcifications have a mark, 12 with row and column exchanged" in remark


def test_a_name_that_differs_in_case_alone_is_said_beside_the_one_of_the_table(tmp_path: Path) -> None:
    marks = tmp_path / "marks.csv"
    marks.write_text("image,row,column,likelihood\nIM0,1,1,0.5\n")
    with pytest.raises(InputError, match=r"IM0 \(the table has im0, which differs in upper and lower case\)"):
        read_marks([marks], table(1))
