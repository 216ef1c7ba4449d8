"""Annotations come back from measurement reports, and those of other programs are read."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from tests.dicom.fixtures import Write
from tests.reports.exams import MADE

from microcalc import cli
from microcalc.datasets.open import identified_table
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.dicom.header import AcquisitionHeader
from microcalc.dicom.write import write_data_set
from microcalc.errors import InputError, TableError
from microcalc.reports import concepts as c
from microcalc.reports.annotation_reader import read_annotation_reports
from microcalc.reports.annotation_report import annotation_reports
from microcalc.reports.content_items import add, code, container, image, region, text

_RING = ((10.0, 12.0), (10.0, 50.25), (60.0, 50.0), (60.0, 12.0))
_UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@pytest.fixture
def images(write: Write, raw_header: AcquisitionHeader) -> Table:
    files = [
        write(dataclasses.replace(raw_header, laterality=side), name=f"{side}.dcm")  # two views of one exam
        for side in ("L", "R")
    ]
    rows = [ImageRow(f.stem, f, "raw", (0.085, 0.085)) for f in files]
    return identified_table(Table(tuple(rows)))


@pytest.fixture
def annotated(images: Table) -> Table:
    """Every kind of column, two readers, places at the very edges of the image of 80 x 96 pixels."""
    rows = (
        AnnotationRow("L", 20.125, 30.5, 0.25, cluster="c 1", outline=_RING, judge="A. Reader", id=_UUID,
                      morphology="round", when="2026-01-02T03:04:05Z"),
        AnnotationRow("L", 21, 33, cluster="c 1", judge="A. Reader", id="second"),
        AnnotationRow("L", -0.9, 95.9, kind="no_calcium", judge="A. Reader", id="edge"),
        AnnotationRow("L", 40, 40, 1.5, "vascular", judge="B", id="of-b"),
        AnnotationRow("R", 5, 6, kind="rim_or_skin", outline=_RING, judge="A. Reader", id="right"),
        AnnotationRow("R", 7, 8, kind="unsure", id="nobody"),
        AnnotationRow("R", 30, 31, kind="calcification_region", outline=_RING, judge="A. Reader", id="lesion"),
    )  # fmt: skip
    return Table(images.images, rows)


def _written(table: Table, folder: Path) -> list[Path]:
    paths = []
    for n, report in enumerate(annotation_reports(table, made=MADE)):
        paths.append(folder / f"{n}.dcm")
        write_data_set(report.dataset, paths[-1])
    return paths


def test_what_is_written_is_read_back_to_half_a_pixel(annotated: Table, tmp_path: Path) -> None:
    paths = _written(annotated, tmp_path)
    assert len(paths) == 3  # of A. Reader, of B and of nobody
    read = {row.id: row for row in read_annotation_reports(paths, annotated).table.annotations}
    assert set(read) == {row.id for row in annotated.annotations}
    for row in annotated.annotations:
        back = read[row.id]
        assert np.abs(np.subtract((back.row, back.column), (row.row, row.column))).max() <= 0.5
        assert np.allclose(back.outline, row.outline, atol=0.01)
        assert dataclasses.replace(back, row=row.row, column=row.column, outline=row.outline) == row


def test_a_point_lies_at_its_pixel_centre_half_a_pixel_from_the_corner(annotated: Table, tmp_path: Path) -> None:
    import highdicom

    root = pydicom.dcmread(_written(annotated, tmp_path)[1])  # of A. Reader
    content = cast(
        Any, highdicom.sr.ComprehensiveSR.from_dataset(root).content
    )  # of a template, which the stubs do not say
    groups = content.get_planar_roi_measurement_groups()
    first = next(group for group in groups if group.tracking_identifier == _UUID)
    assert first.roi.graphic_type.value == "POINT"
    assert np.allclose(first.roi.value, [[31.0, 20.625]])
    outline = next(group for group in groups if group.tracking_identifier == f"{_UUID} outline")
    assert outline.roi.graphic_type.value == "POLYLINE"
    assert outline.finding_type.value == c.CLUSTER.value
    assert np.allclose(outline.roi.value[0], outline.roi.value[-1])


def test_dciodvfy_finds_no_fault(annotated: Table, judge: Callable[[str], str], tmp_path: Path) -> None:
    for path in _written(annotated, tmp_path):
        done = subprocess.run([judge("dciodvfy"), path], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert "ComprehensiveSR" in said
        assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_the_same_annotations_are_the_same_report_and_changed_ones_another(annotated: Table) -> None:
    moved = dataclasses.replace(annotated.annotations[0], row=3.0)
    uids = [
        [report.dataset.SOPInstanceUID for report in annotation_reports(table, made=MADE)]
        for table in (annotated, annotated, Table(annotated.images, (moved, *annotated.annotations[1:])))
    ]
    assert uids[0] == uids[1]
    assert sum(a != b for a, b in zip(uids[0], uids[2], strict=True)) == 1


def test_a_picture_has_no_report(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((80, 96), np.uint8)).save(tmp_path / "p.png")
    table = Table((ImageRow("p", tmp_path / "p.png", "raw", (0.1, 0.1)),), (AnnotationRow("p", 1, 2),))
    with pytest.raises(InputError, match=r"^p.png: a picture without a patient and study, expected a DICOM image"):
        list(annotation_reports(table, made=MADE))


def _foreign(images: Table, graphics: list[tuple[str, list[tuple[float, float]], c.Concept | None]]) -> Dataset:
    """What another program might write: no tracking, one group per region, its own name for the region."""
    (report, *_) = annotation_reports(Table(images.images, (AnnotationRow("L", 1, 1, judge="Other^Ann"),)), made=MADE)
    root = report.dataset
    groups = container(c.Concept("126010", "DCM", "Imaging Measurements"))
    for graphic, places, finding in graphics:
        group = container(c.MEASUREMENT_GROUP)
        if finding is not None:
            add(group, "CONTAINS", code(c.FINDING, finding))
        place = region(c.Concept("1", "99OTHER", "Mark"), graphic, places)
        add(place, "SELECTED FROM", image("1.2.840.10008.5.1.4.1.1.1.2.1", images.images[0].sop_instance_uid))
        add(group, "CONTAINS", text(c.COMMENT, "by hand"), place)
        add(groups, "CONTAINS", group)
    root.ContentSequence = [*[i for i in root.ContentSequence if i.ValueType != "CONTAINER"], groups]
    return root


def test_points_circles_ellipses_and_polylines_of_others_are_read(images: Table, tmp_path: Path) -> None:
    root = _foreign(
        images,
        [
            ("POINT", [(20.5, 30.5)], None),
            ("CIRCLE", [(40.5, 50.5), (44.5, 50.5)], c.MICROCALCIFICATIONS),
            ("ELLIPSE", [(60.5, 70.5), (70.5, 70.5), (65.5, 69.5), (65.5, 71.5)], c.INDIVIDUAL),
            ("POLYLINE", [(10, 10), (30, 10), (30, 40), (10, 40), (10, 10)], c.CLUSTER),
            ("POINT", [(1, 1)], c.Concept("4147007", "SCT", "Mass")),
        ],
    )
    write_data_set(root, tmp_path / "other.dcm")
    read = read_annotation_reports([tmp_path / "other.dcm"], images)
    point, circle, ellipse = read.table.annotations
    assert read.passed_over == 1
    assert (point.row, point.column, point.cluster, len(point.outline)) == (30.0, 20.0, "cluster 1", 4)
    assert (circle.row, circle.column) == (50.0, 40.0)
    assert circle.diameter_mm == pytest.approx(8 * 0.085)
    assert (ellipse.row, ellipse.column) == (70.0, 65.0)
    assert ellipse.diameter_mm == pytest.approx(6 * 0.085)
    assert point.judge == "Other Ann"


def test_what_another_program_draws_around_a_cluster_is_no_calcification(images: Table, tmp_path: Path) -> None:
    root = _foreign(
        images,
        [
            ("CIRCLE", [(40.5, 40.5), (44.5, 40.5)], c.CLUSTER),
            ("ELLIPSE", [(60.5, 70.5), (70.5, 70.5), (65.5, 68.5), (65.5, 72.5)], c.CLUSTER),
            ("POINT", [(20.5, 30.5)], c.CLUSTER),
        ],
    )
    write_data_set(root, tmp_path / "other.dcm")
    point, circle, ellipse = read_annotation_reports([tmp_path / "other.dcm"], images).table.annotations
    assert (point.kind, point.diameter_mm) == ("unsure", 0.0)
    for row, centre, half in ((circle, (40, 40), (4, 4)), (ellipse, (70, 65), (2, 5))):
        assert (row.kind, row.diameter_mm) == ("calcification_region", 0.0)
        assert np.allclose((row.row, row.column), centre)
        assert np.allclose(np.max(row.outline, axis=0), np.add(centre, half))


@pytest.mark.parametrize(
    ("graphic", "places", "message"),
    [
        ("POINT", [(1, 1), (2, 2)], "other.dcm group 1: POINT of 4 numbers, expected pairs of column and row"),
        ("CURVE", [(1, 1)], "other.dcm group 1: SCOORD CURVE, expected SCOORD of POINT"),
        ("POINT", [(500, 1)], "other.dcm group 1: row 0.5, column 499.5 lies outside image 'L'"),
    ],
)
def test_what_is_no_place_is_refused_with_its_group(
    graphic: str, places: list[tuple[float, float]], message: str, images: Table, tmp_path: Path
) -> None:
    write_data_set(_foreign(images, [(graphic, places, None)]), tmp_path / "other.dcm")
    with pytest.raises(InputError) as caught:
        read_annotation_reports([tmp_path / "other.dcm"], images)
    assert message in str(caught.value)


def test_other_files_and_other_images_are_refused(annotated: Table, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^L.dcm: no structured report"):
        read_annotation_reports([annotated.images[0].file], annotated)
    paths = _written(annotated, tmp_path)
    with pytest.raises(TableError, match=r"group 1: the id 'nobody' a second time"):
        read_annotation_reports([paths[0], paths[0]], annotated)
    with pytest.raises(TableError, match=r"refers to an image that is not given, expected one of the images"):
        read_annotation_reports(paths, annotated.of_images(annotated.images[1:]))


@pytest.mark.parametrize("form", ["coco", "sr"])
def test_the_commands_export_a_table_and_read_it_back(
    form: str, annotated: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(annotated, tmp_path / "table")
    table, exported, back = (str(tmp_path / name) for name in ("table", "exported", "back"))
    assert cli.run(["table", "export", table, "--to", form, "--out", exported]) == 0
    files = [str(p) for p in sorted(Path(exported).iterdir()) if not p.name.startswith(".")]
    assert cli.run(["table", form, *files, "--images", table, "--out", back]) == 0
    assert "SECRET" not in capsys.readouterr().out
    given, read = read_table(tmp_path / "table"), read_table(tmp_path / "back")
    assert given.images == read.images
    place_of = {row.id: (row.row, row.column) for row in read.annotations}
    for row in given.annotations:
        assert np.abs(np.subtract(place_of[row.id], (row.row, row.column))).max() <= 0.5
