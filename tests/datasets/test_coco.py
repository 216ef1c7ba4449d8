"""Annotations come back from COCO, and other programs' COCO files are read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.datasets.coco import read_coco, write_coco
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.errors import InputError, TableError

_IMAGES = (
    ImageRow("a", Path("a.dcm"), "raw", (0.07, 0.08), rows=200, columns=100),
    ImageRow("b", Path("b.png"), "processed", (0.1, 0.1), rows=200, columns=100),
)
_RING = ((10.0, 10.0), (10.0, 50.0), (60.0, 50.0), (60.0, 10.0))
_place = st.tuples(st.floats(-0.9, 199.9).map(lambda v: round(v, 3)), st.floats(-0.9, 99.9).map(lambda v: round(v, 3)))


@given(
    places=st.lists(_place, min_size=1, max_size=5, unique=True),
    outline=st.lists(_place, min_size=3, max_size=6).map(tuple),
    cluster=st.sampled_from(["", "c 1"]),
    diameter_mm=st.sampled_from([0.0, 0.3]),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    places: list[tuple[float, float]],
    outline: tuple[tuple[float, float], ...],
    cluster: str,
    diameter_mm: float,
) -> None:
    rows = [
        AnnotationRow(
            "ab"[n % 2], *place, diameter_mm, "microcalcification" if n else "vascular", cluster,
            outline if n == len(places) - 1 else (), 3.5 if n else None, "A. Reader", "round", f"id-{n}",
            "2026-01-02T03:04:05Z",
        )
        for n, place in enumerate(places)
    ]  # fmt: skip
    file = tmp_path_factory.mktemp("coco") / "annotations.json"
    write_coco(Table(_IMAGES, tuple(rows)), file)
    read = {row.id: row for row in read_coco(file, Table(_IMAGES)).annotations}
    assert set(read) == {row.id for row in rows}
    for row in rows:
        back = read[row.id]
        assert np.allclose((back.row, back.column), (row.row, row.column), atol=1e-3)
        assert np.allclose(back.outline, row.outline, atol=1e-3)
        assert dataclasses.replace(back, row=row.row, column=row.column, outline=row.outline) == row


def _document(**annotation: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 5, "file_name": "images/a.dcm", "width": 100, "height": 200}],
        "categories": [{"id": 3, "name": "Microcalcification"}, {"id": 4, "name": "cluster"}, {"id": 9, "name": "dog"}],
        "annotations": [{"id": 77, "image_id": 5, "category_id": 3, **annotation}],
    }


def _read(tmp_path: Path, document: object) -> tuple[AnnotationRow, ...]:
    file = tmp_path / "c.json"
    file.write_text(json.dumps(document))
    return tuple(read_coco(file, Table(_IMAGES)).annotations)


def test_a_box_around_the_first_pixel_is_an_annotation_at_its_centre(tmp_path: Path) -> None:
    (row,) = _read(tmp_path, _document(bbox=[0, 0, 1, 1]))
    assert (row.image, row.row, row.column, row.id) == ("a", 0.0, 0.0, "77")
    assert row.diameter_mm == pytest.approx(0.075)


def test_a_keypoint_counts_pixels_from_the_centre_of_the_first(tmp_path: Path) -> None:
    (row,) = _read(tmp_path, _document(keypoints=[7, 9, 2]))
    assert (row.row, row.column, row.diameter_mm) == (9.0, 7.0, 0.0)


def test_an_attribute_that_is_null_is_empty(tmp_path: Path) -> None:
    (row,) = _read(tmp_path, _document(bbox=[0, 0, 1, 1], attributes={"cluster": None, "id": None, "judge": 7}))
    assert (row.cluster, row.id, row.judge) == ("", "77", "7")


def test_the_outline_of_a_cluster_goes_to_the_points_inside(tmp_path: Path) -> None:
    document = _document(keypoints=[20, 30, 2])
    document["annotations"] += [
        {"id": 78, "image_id": 5, "category_id": 3, "keypoints": [90, 90, 2]},
        {"id": 79, "image_id": 5, "category_id": 4, "segmentation": [[10, 10, 50, 10, 50, 60, 10, 60]]},
        {"id": 80, "image_id": 5, "category_id": 4, "segmentation": [[60, 160, 90, 160, 90, 190]]},
    ]
    inside, apart, alone = _read(tmp_path, document)
    assert (inside.cluster, apart.cluster) == ("cluster 1", "")
    assert inside.outline == ((9.5, 9.5), (9.5, 49.5), (59.5, 49.5), (59.5, 9.5))
    assert (alone.id, alone.cluster, alone.row, alone.column) == ("80", "", 169.5, 79.5)
    assert (alone.kind, len(alone.outline)) == ("calcification_region", 3)


def test_the_polygon_or_the_box_of_a_region_is_its_outline(tmp_path: Path) -> None:
    document = _document(bbox=[10, 20, 30, 40])
    document["categories"][0]["name"] = "calcification region"
    document["annotations"].append(
        {"id": 78, "image_id": 5, "category_id": 3, "segmentation": [[60, 160, 90, 160, 90, 190]]}
    )
    box, polygon = _read(tmp_path, document)
    assert {row.kind for row in (box, polygon)} == {"calcification_region"}
    assert box.outline == ((19.5, 9.5), (19.5, 39.5), (59.5, 39.5), (59.5, 9.5))
    assert (box.row, box.column, box.diameter_mm) == (39.5, 24.5, 0.0)
    assert polygon.outline == ((159.5, 59.5), (159.5, 89.5), (189.5, 89.5))


def test_regions_come_back_as_they_were_exported(tmp_path: Path) -> None:
    triangle = ((10.0, 20.0), (50.5, 20.0), (50.5, 60.0))
    rows = (
        AnnotationRow("a", 30, 33, kind="calcification_region", outline=triangle, judge="A", id="1"),
        AnnotationRow("a", 90, 33, kind="calcification_region", outline=triangle, cluster="c", judge="A", id="2"),
    )
    write_coco(Table(_IMAGES, rows), tmp_path / "c.json")
    assert read_coco(tmp_path / "c.json", Table(_IMAGES)).annotations == rows


def _runs(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> list[int]:
    """Run lengths down the columns, the first one outside: counted, not decoded."""
    runs, inside = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != inside:
            runs.append(0)
            inside = pixel
        runs[-1] += 1
    return runs


@given(
    rows=st.tuples(st.integers(0, 150), st.integers(1, 49)), columns=st.tuples(st.integers(0, 60), st.integers(1, 39))
)
def test_a_mask_is_at_the_middle_of_its_pixels_and_outlined_half_a_pixel_around_them(
    tmp_path_factory: pytest.TempPathFactory, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    mask = np.zeros((200, 100), dtype=bool)
    mask[rows[0] : sum(rows), columns[0] : sum(columns)] = True
    document = _document(segmentation={"size": [200, 100], "counts": _runs(mask)})
    (row,) = _read(tmp_path_factory.mktemp("coco"), document)
    assert (row.row, row.column) == (rows[0] + (rows[1] - 1) / 2, columns[0] + (columns[1] - 1) / 2)
    corners = np.array(row.outline)
    assert corners.min(axis=0).tolist() == [rows[0] - 0.5, columns[0] - 0.5]
    assert corners.max(axis=0).tolist() == [sum(rows) - 0.5, sum(columns) - 0.5]


def test_run_lengths_as_text_are_those_of_the_coco_api(tmp_path: Path) -> None:
    # pycocotools 2.0: encode(np.asfortranarray(mask)), mask[20:25, 10:13] = mask[100, 50] = 1, of 200 x 100 pixels
    text = "To15S6000hY7L`U2"
    document = _document(segmentation={"size": [200, 100], "counts": text})
    document["categories"][0]["name"] = "calcification region"
    (row,) = _read(tmp_path, document)
    assert (row.row, row.column) == pytest.approx(((15 * 22 + 100) / 16, (15 * 11 + 50) / 16))
    assert {(19.5, 10.0), (100.5, 50.0)} <= set(row.outline)  # two parts: their hull


def test_polygons_of_several_parts_are_outlined_by_their_hull(tmp_path: Path) -> None:
    document = _document(segmentation=[[10, 10, 20, 10, 20, 20, 10, 20], [40, 10, 50, 10, 50, 20, 40, 20]])
    document["categories"][0]["name"] = "cluster"
    (row,) = _read(tmp_path, document)
    assert set(row.outline) == {(9.5, 9.5), (9.5, 49.5), (19.5, 49.5), (19.5, 9.5)}


def test_categories_of_other_names_are_what_is_said_of_them(tmp_path: Path) -> None:
    document = _document(bbox=[0, 0, 1, 1])
    document["categories"] += [{"id": 10, "name": "Vessel calc"}]
    document["annotations"] += [
        {"id": 78, "image_id": 5, "category_id": 9, "bbox": [5, 5, 1, 1]},
        {"id": 79, "image_id": 5, "category_id": 10, "bbox": [9, 9, 1, 1]},
    ]
    file = tmp_path / "c.json"
    file.write_text(json.dumps(document))
    rows = read_coco(file, Table(_IMAGES), categories=["dog=skip", "vessel-calc=vascular"]).annotations
    assert [(row.id, row.kind) for row in rows] == [("77", "microcalcification"), ("79", "vascular")]
    with pytest.raises(TableError, match=r"2: category 'dog', .*; --categories 'dog=KIND' says which it is"):
        read_coco(file, Table(_IMAGES))
    for said, message in (
        (["dog=skip", "vessel calc=coarse", "cat=coarse"], "c.json: no annotation is of category 'cat'"),
        (["dog=hound"], "--categories 'dog=hound', expected NAME=KIND, KIND one of microcalcification, "),
        (["dog"], "--categories 'dog', expected NAME=KIND"),
        (["dog=skip", "Dog=coarse"], "--categories: 'Dog' is given two kinds"),
    ):
        with pytest.raises(InputError, match=message):
            read_coco(file, Table(_IMAGES), categories=said)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "c.json: found list, expected COCO JSON with images, categories and annotations"),
        ({"images": []}, "c.json: found 'images', expected COCO JSON"),
        (_document(), "c.json annotations 1: no keypoints, bbox or segmentation"),
        (_document(bbox=[0, 0, 1]), "c.json annotations 1: keypoints or bbox of another length"),
        (_document(bbox=[0, 0, 1, "x"]), "c.json annotations 1: bbox is [0, 0, 1, 'x']"),
        (_document(bbox=3), "c.json annotations 1: bbox is 3, expected a list of numbers"),
        (_document(segmentation={"counts": "x", "size": [1, 2]}), "a mask of 1 x 2 pixels, expected 200 x 100 as the"),
        (_document(segmentation={"counts": "p", "size": [200, 100]}), "a mask of other counts than numbers"),
        (_document(segmentation={"counts": [5, -1], "size": [200, 100]}), "a mask of other counts than numbers"),
        (_document(segmentation={"counts": [5, 1], "size": [200, 100]}), "a mask of 6 pixels, expected run lengths"),
        (_document(segmentation={"counts": [20000], "size": [200, 100]}), "a mask without a pixel"),
        (_document(segmentation={"counts": [20000]}), "a mask of size None"),
        (_document(segmentation="x"), "segmentation is 'x', expected polygons or a mask"),
        (_document(segmentation=[[1, 2, 3, 4]]), "a polygon of 4 numbers, expected x and y of 3 corners or more"),
        (_document(bbox=[0, 0, 1, 1], image_id=6), "c.json annotations 1: image_id 6 is not in the file"),
        (_document(bbox=[0, 0, 1, 1], category_id=9), "c.json annotations 1: category 'dog', expected one of"),
        (_document(bbox=[100, 0, 9, 9]), "c.json annotations 1: row 4, column 104 lies outside image 'a'"),
        (_document(bbox=[0, 0, 1, 1], attributes={"diameter_mm": "big"}), "attributes is ['big']"),
        (_document(bbox=[0, 0, 1, 1], attributes={"cluster": "none"}), "annotations 1: cluster is 'none', expected an"),
        (
            {**_document(), "images": [{"id": 5, "file_name": "a.dcm", "width": 10, "height": 20}]},
            "c.json images 1: 20 x 10 pixels, expected 200 x 100 as a.dcm has",
        ),
        ({**_document(), "images": [{"id": 5, "file_name": "z.dcm"}]}, "c.json images 1: no image given of the name"),
        ({**_document(), "annotations": [3]}, "c.json annotations 1: no object"),
        ({**_document(), "annotations": {}}, "c.json: annotations is no list"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_entry(document: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError) as caught:
        _read(tmp_path, document)
    assert message in str(caught.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(TableError, match=r"^c.json: not JSON, expected COCO JSON"):
        read_coco(tmp_path / "c.json", Table(_IMAGES))
