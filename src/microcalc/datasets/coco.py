"""Read and write annotations as COCO JSON, the format of most tools that annotate images.

A microcalcification is an annotation with one keypoint, its centre, and a box of its diameter; the outline of a cluster
is an annotation of category ``cluster`` with a polygon. A region (category ``calcification_region``) is a polygon,
or the box where it has none. The other columns of the table are in ``attributes``, so that they come back; ``id`` is a
number in COCO, and the table's ``id`` is an attribute. Boxes and polygons are measured from the corner of the first
pixel, keypoints are indices of pixels, 0 at its centre.

References
----------
COCO data format, https://cocodataset.org/#format-data; detectron2, ``structures.Keypoints`` (indices of pixels).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from microcalc.datasets.categories import Categories
from microcalc.datasets.masks import hull, mask_centre, mask_outline, read_mask
from microcalc.datasets.outlines import (
    Corners,
    ImageNames,
    Outline,
    box_corners,
    check_rows,
    mean_corner,
    with_outlines,
)
from microcalc.datasets.table import AnnotationRow, ImageRow, Table, check_places
from microcalc.domain import REGION, Kind
from microcalc.errors import TableError
from microcalc.storage.write import write_json

CLUSTER: Final = "cluster"
_CATEGORIES: Final = (*get_args(Kind), CLUSTER)
_TEXTS: Final = ("id", "cluster", "judge", "morphology", "when")
_CORNER_PX: Final = 0.5


def write_coco(table: Table, file: Path) -> None:
    """Write images and annotations, completely or not at all.

    Raises
    ------
    TableError
        The size of an image is not known.
    OutputError
        The system refused to write.
    """
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(table.images, 1):
        for row in table.rows_of(image):
            own = _annotation(row, image, len(annotations) + 1, number)
            annotations.append(own)
            if row.outline and row.cluster:
                annotations.append(_outline(row, len(annotations) + 1, own))
    document = {
        "info": {"description": "microcalc"},
        "images": [_image(image, number) for number, image in enumerate(table.images, 1)],
        "categories": [
            {"id": n, "name": name, "supercategory": "calcification"}
            | ({} if name == CLUSTER else {"keypoints": ["centre"], "skeleton": []})
            for n, name in enumerate(_CATEGORIES, 1)
        ],
        "annotations": annotations,
    }
    write_json(file, document)


def _image(image: ImageRow, number: int) -> dict[str, Any]:
    if image.shape is None:
        raise TableError(f"{image.file.name}: its size is not known, expected rows and columns in images.csv")
    return {"id": number, "file_name": image.file.name, "height": image.shape[0], "width": image.shape[1]}


def _annotation(row: AnnotationRow, image: ImageRow, number: int, image_number: int) -> dict[str, Any]:
    polygon = row.outline if not row.cluster else ()
    height, width = (row.diameter_mm / s if row.diameter_mm else 1.0 for s in image.spacing_mm)
    corners = polygon or (
        (row.row - height / 2, row.column - width / 2),
        (row.row + height / 2, row.column + width / 2),
    )
    attributes: dict[str, Any] = {name: getattr(row, name) for name in _TEXTS if getattr(row, name)}
    attributes["diameter_mm"] = row.diameter_mm
    if row.d_prime is not None:
        attributes["d_prime"] = row.d_prime
    return {
        "id": number, "image_id": image_number, "category_id": _CATEGORIES.index(row.kind) + 1, "iscrowd": 0,
        "keypoints": [row.column, row.row, 2], "num_keypoints": 1,
        "attributes": attributes, **_shape(corners, polygon),
    }  # fmt: skip


def _outline(row: AnnotationRow, number: int, of: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": number, "image_id": of["image_id"], "category_id": _CATEGORIES.index(CLUSTER) + 1, "iscrowd": 0,
        "attributes": {"cluster": row.cluster, "outline_of": of["id"]}, **_shape(row.outline, row.outline),
    }  # fmt: skip


def _shape(box: Corners, polygon: Corners) -> dict[str, Any]:
    """Return bounding box, area and segmentation."""
    low, high = np.min(box, axis=0) + _CORNER_PX, np.max(box, axis=0) + _CORNER_PX
    height, width = (float(side) for side in high - low)
    points = [value + _CORNER_PX for row, column in polygon for value in (column, row)]
    return {
        "bbox": [float(low[1]), float(low[0]), width, height],
        "area": width * height if not polygon else _area(polygon),
        "segmentation": [points] if points else [],
    }


def _area(polygon: Corners) -> float:
    rows, columns = np.asarray(polygon, dtype=np.float64).T
    return abs(float(np.dot(rows, np.roll(columns, -1)) - np.dot(columns, np.roll(rows, -1)))) / 2


def read_coco(file: Path, images: Table, *, categories: Sequence[str] = ()) -> Table:
    """Return the images with the annotations of a COCO file, ours or another program's.

    A place is the keypoint, else the middle of the box, else of the polygon or mask. Without an attribute, ``id`` is
    the number of the annotation, and the diameter is the mean of the sides of the box. A mask becomes its outline; of
    several parts, their hull is the outline.

    Parameters
    ----------
    images
        The images; their own annotations are left out.
    categories
        What categories of other names are, ``"name=kind"``; see ``Categories``.

    Raises
    ------
    TableError
        The file is not COCO JSON, or an entry has a value that is not allowed, an image that is not among ``images``
        or of another size, or a category that is no kind of calcification.
    InputError
        ``categories`` says nothing of this file.
    """
    kinds: Categories[Any] = Categories(categories, _CATEGORIES)
    document = _document(file)
    names = ImageNames(images.images)
    image_of = {
        _key(entry, "id", where): _named(entry, names, where)
        for where, entry in _entries(document, "images", file.name)
    }
    category_of = {
        _key(entry, "id", where): str(entry.get("name")).strip()
        for where, entry in _entries(document, "categories", file.name)
    }
    rows: list[AnnotationRow] = []
    outlines: list[Outline] = []
    numbers: dict[str, str] = {}
    for where, entry in _entries(document, "annotations", file.name):
        image = _looked_up(image_of, entry, "image_id", where)
        category = kinds.kind_of(_looked_up(category_of, entry, "category_id", where), where)
        if category is None:
            continue
        shape = _Shape.of(entry, image.shape, where)
        if category == CLUSTER:
            attributes = _attributes(entry, where)
            of = numbers.get(_text(attributes, "outline_of"), "")
            if not shape.polygon:
                raise TableError(f"{where}: a cluster without segmentation, expected a polygon or a mask")
            texts = [_text(attributes, name) for name in ("cluster", "id", "judge")]
            name = texts[1] or _key(entry, "id", where)
            outlines.append(Outline(image.image, shape.polygon, texts[0], of, name, texts[2], where))
            continue
        row = _row(entry, image, category, shape, where)
        numbers[_key(entry, "id", where)] = row.id
        rows.append(row)
    kinds.check_used(file.name)
    table = Table(images.images, with_outlines(rows, outlines))
    check_rows(table.annotations)
    check_places(table)
    return table


@dataclass(frozen=True, slots=True)
class _Shape:
    """Hold the place of an annotation, the sides of its box (row, column), its polygon and the corners of its box.

    All are in pixels of the table; the polygon and the corners are empty where there is none.
    """

    place: tuple[float, float]
    sides: tuple[float, float]
    polygon: Corners
    box: Corners

    @classmethod
    def of(cls, entry: Mapping[str, Any], shape: tuple[int, int] | None, where: str) -> _Shape:
        keypoints = _numbers(entry.get("keypoints") or [], "keypoints", where)
        box = _numbers(entry.get("bbox") or [], "bbox", where)
        polygon, centre = _segmented(entry.get("segmentation") or [], shape, where)
        if len(keypoints) not in (0, 3) or len(box) not in (0, 4):
            raise TableError(f"{where}: keypoints or bbox of another length, expected 3 or 4 numbers")
        sides = (0.0, 0.0)
        corners: Corners = ()
        if box:
            x, y, width, height = box
            sides = (height, width)
            corners = box_corners(y - _CORNER_PX, x - _CORNER_PX, y + height - _CORNER_PX, x + width - _CORNER_PX)
        if keypoints:
            return cls((keypoints[1], keypoints[0]), sides, polygon, corners)
        if corners:
            return cls(mean_corner(corners), sides, polygon, corners)
        if polygon:
            return cls(centre, sides, polygon, corners)
        raise TableError(f"{where}: no keypoints, bbox or segmentation, expected one of them")


def _segmented(segments: Any, shape: tuple[int, int] | None, where: str) -> tuple[Corners, tuple[float, float]]:
    """Return the outline and the centre of polygons or of a mask; without corners where there is neither."""
    if isinstance(segments, dict):
        mask = read_mask(segments, shape, where)
        return mask_outline(mask), mask_centre(mask)
    if not isinstance(segments, list):
        raise TableError(f"{where}: segmentation is {repr(segments)[:40]}, expected polygons or a mask")
    parts = []
    for part in segments:
        flat = _numbers(part, "segmentation", where)
        if len(flat) % 2 or len(flat) < 6:
            raise TableError(f"{where}: a polygon of {len(flat)} numbers, expected x and y of 3 corners or more")
        parts.append(np.array(flat).reshape(-1, 2)[:, ::-1] - _CORNER_PX)
    if not parts:
        return (), (0.0, 0.0)
    polygon = hull(parts) if len(parts) > 1 else tuple((float(row), float(column)) for row, column in parts[0])
    return polygon, mean_corner(polygon)


def _row(entry: Mapping[str, Any], image: ImageRow, category: Kind, shape: _Shape, where: str) -> AnnotationRow:
    attributes = _attributes(entry, where)
    texts = {name: _text(attributes, name) for name in _TEXTS}
    texts["id"] = texts["id"] or _key(entry, "id", where)
    is_region = category == REGION
    sides = (0.0, 0.0) if is_region else shape.sides
    mean_side = sum(side * s for side, s in zip(sides, image.spacing_mm, strict=True)) / 2
    diameter, *d_prime = _numbers(
        [attributes.get("diameter_mm", mean_side), *([attributes["d_prime"]] if "d_prime" in attributes else [])],
        "attributes", where,
    )  # fmt: skip
    if diameter < 0:
        raise TableError(f"{where}: diameter_mm is {diameter:g}, expected 0 or more")
    return AnnotationRow(
        image.image,
        *shape.place,
        diameter,
        category,
        texts["cluster"],
        shape.polygon or (shape.box if is_region else ()),
        d_prime[0] if d_prime else None,
        texts["judge"],
        texts["morphology"],
        texts["id"],
        texts["when"],
        where,
    )


def _document(file: Path) -> Mapping[str, Any]:
    expected = "expected COCO JSON with images, categories and annotations"
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise TableError(f"{file.name}: {error.strerror}, {expected}") from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"{file.name}: not JSON, {expected}") from error
    if not isinstance(document, dict) or not all(key in document for key in ("images", "categories", "annotations")):
        found = ", ".join(sorted(map(repr, document))[:8]) if isinstance(document, dict) else type(document).__name__
        raise TableError(f"{file.name}: found {found or 'nothing'}, {expected}")
    return document


def _entries(document: Mapping[str, Any], key: str, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the entries of a list, each with where it stands."""
    entries = document[key]
    if not isinstance(entries, list):
        raise TableError(f"{name}: {key} is no list, expected one")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise TableError(f"{name} {key} {number}: no object, expected one")
    return [(f"{name} {key} {number}", entry) for number, entry in enumerate(entries, 1)]


def _key(entry: Mapping[str, Any], name: str, where: str) -> str:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise TableError(f"{where}: {name} is {str(value)[:40]!r}, expected a number")
    return str(value)


def _looked_up(known: Mapping[str, Any], entry: Mapping[str, Any], name: str, where: str) -> Any:
    key = _key(entry, name, where)
    if key not in known:
        raise TableError(f"{where}: {name} {key[:40]} is not in the file, expected that of an entry")
    return known[key]


def _named(entry: Mapping[str, Any], names: ImageNames, where: str) -> ImageRow:
    image = names.find(str(entry.get("file_name", "")), where)
    size = (entry.get("height"), entry.get("width"))
    if None not in size and image.shape is not None and size != image.shape:
        raise TableError(
            f"{where}: {str(size[0])[:8]} x {str(size[1])[:8]} pixels, "
            f"expected {image.rows} x {image.columns} as {image.file.name} has"
        )
    return image


def _attributes(entry: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    attributes = entry.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise TableError(f"{where}: attributes is no object, expected one")
    return attributes


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    return "" if value is None else str(value).strip()


def _numbers(values: Sequence[Any], name: str, where: str) -> list[float]:
    if not isinstance(values, list) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and np.isfinite(v) for v in values
    ):
        raise TableError(f"{where}: {name} is {repr(values)[:40]}, expected a list of numbers")
    return [float(v) for v in values]
