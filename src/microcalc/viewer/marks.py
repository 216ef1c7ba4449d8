"""What is drawn over an image: the marks of detectors, the annotations, and which of them match.

Marks are matched to annotations once, at the lowest threshold: because matching takes marks from the highest rating
down, a higher threshold only removes marks, and the page can show at once what any threshold gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.detection.result import Result
from microcalc.domain import REGION, OperatingPoint
from microcalc.errors import InputError
from microcalc.evaluation.detections import read_marks
from microcalc.evaluation.froc import FrocCurve, froc_curve
from microcalc.evaluation.marks import Marks, marks_of_document
from microcalc.evaluation.match import Matches, annotated_clusters
from microcalc.evaluation.matched_images import MatchedImage, Rules, match_image
from microcalc.models.description import DESCRIPTION, parse_description
from microcalc.models.model import SHIPPED, shipped_model
from microcalc.storage.key import file_sha256
from microcalc.viewer.catalogue import DetectionFiles

_ADDED_KEYS = ("kind", "outline", "probability", "kinds")
"""Keys of a candidate that later versions of the schema add, and that are drawn where they are there."""


@dataclass(frozen=True, slots=True)
class ModelPoints:
    """The operating points of a model, as its description states them."""

    name: str
    points: tuple[OperatingPoint, ...]
    default: int


def marks_on(detector: DetectionFiles, row: ImageRow, truth: Sequence[AnnotationRow] | None) -> dict[str, Any]:
    """Return a detector's marks on one image, as the page takes them.

    Parameters
    ----------
    truth
        The annotations that the marks are matched to; None: they are not matched.

    Raises
    ------
    InputError
        The detections are malformed, or of an image of another size.
    """
    file = detector.files.get(row.image)
    if file is None:
        return {
            "key": detector.key,
            "name": detector.name,
            "missing": True,
            "candidates": [],
            "clusters": [],
            "singles": [],
        }
    document, marks = _read(detector, row)
    matched = None if truth is None else match_image(marks, row, truth, Rules())
    if document["threshold"] is None:
        document["threshold"] = detector.threshold
    return {"key": detector.key, "name": detector.name, **document} | (
        {} if matched is None else {"matches": _matches(matched)}
    )


def annotation_entry(row: AnnotationRow) -> dict[str, Any]:
    """Return an annotation as the page takes it."""
    return {
        "id": row.id, "row": row.row, "column": row.column, "diameter_mm": row.diameter_mm, "kind": row.kind,
        "cluster": row.cluster, "outline": row.outline, "judge": row.judge, "when": row.when,
    }  # fmt: skip


def truth_entry(rows: Sequence[AnnotationRow]) -> dict[str, Any]:
    """Return the reference standard of an image: its annotations, and the order in which matches count lesions."""
    lesions = [n for n, row in enumerate(rows) if row.kind == "microcalcification"]
    return {
        "annotations": [annotation_entry(row) for row in rows],
        "lesions": lesions,
        "clusters": annotated_clusters([rows[n].cluster for n in lesions]),
        "regions": [n for n, row in enumerate(rows) if row.kind == REGION],
    }


def measured_curves(detector: DetectionFiles, table: Table) -> dict[str, Any]:
    """Return what is measured of a detector on the images that have detections, at every threshold.

    Returns
    -------
    dict
        For each model, by the SHA-256 that its detections state (empty: none): ``clusters`` and ``marks``, each with
        lists ``threshold``, ``nlf`` (false ones per image) and ``llf`` (sensitivity), or None where there is nothing
        to find; and ``images``, the number of images.

    Raises
    ------
    InputError
        The detections are malformed.
    """
    matched: dict[str, list[MatchedImage]] = {}
    for row in table.images:
        if row.image in detector.files:
            document, marks = _read(detector, row)
            model = (document["model"] or {"sha256": ""})["sha256"]
            matched.setdefault(model, []).append(match_image(marks, row, table.rows_of(row), Rules()))
    return {
        model: {
            "images": len(images),
            "marks": _curve([m.marks for m in images], len(images)),
            "clusters": _curve([m.clusters for m in images if m.clusters is not None], len(images)),
        }
        for model, images in matched.items()
    }


def model_points(sha256: str, models: Sequence[Path]) -> ModelPoints | None:
    """Return the operating points of the model with a SHA-256, of those shipped and those given; None: not known."""
    for folder in (*models, *(shipped_model(name) for name in SHIPPED)):
        file = folder / DESCRIPTION
        if file.is_file() and file_sha256(file) == sha256:
            described = parse_description(file.read_bytes(), where=DESCRIPTION)
            points = tuple(entry.as_point() for entry in described.operating_points)
            return ModelPoints(described.name, points, described.default_operating_point)
    return None


def points_entry(points: ModelPoints | None) -> dict[str, Any] | None:
    """Return operating points as the page takes them."""
    return (
        None
        if points is None
        else {"name": points.name, "default": points.default, "points": [asdict(point) for point in points.points]}
    )


def _read(detector: DetectionFiles, row: ImageRow) -> tuple[dict[str, Any], Marks]:
    """Return the detections on one image, as the page takes them and as they are matched."""
    file = detector.files[row.image]
    if row.image in detector.results:
        result = detector.results[row.image]
        return _document(result, result.to_dict(), row, file.name)
    if file.suffix.lower() == ".csv":
        marks = read_marks([file], Table((row,))).marks[row.image]
        return _plain_marks(marks), marks
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file.name}: {error.strerror}, expected detections") from error
    return _document(Result.from_json(content), json.loads(content), row, file.name)


def _document(result: Result, raw: Mapping[str, Any], row: ImageRow, where: str) -> tuple[dict[str, Any], Marks]:
    """Return the candidates and clusters of a document, with the keys that this version does not know."""
    if result.image.shape is not None and row.shape is not None and result.image.shape != row.shape:
        raise InputError(f"{where}: detections on an image of another size, expected those on this image")
    candidates = [
        {"row": c.row, "column": c.column, "likelihood": c.likelihood, "diameter_mm": c.diameter_mm}
        | {key: entry[key] for key in _ADDED_KEYS if key in entry}
        for c, entry in zip(result.candidates, raw["candidates"], strict=True)
    ]
    clusters = [
        {**entry, "likelihood": c.likelihood, "members": c.members, "outline": c.outline, "finding": c.finding}
        for c, entry in zip(result.clusters, raw["clusters"], strict=True)
    ]
    point = result.operating_point
    return {
        "candidates": candidates,
        "clusters": clusters,
        "singles": result.single_calcifications,
        "threshold": None if point is None else point.threshold,
        "stated": None if point is None else asdict(point),
        "model": None if result.model is None else result.model.model_dump(),
    }, marks_of_document(result)


def _plain_marks(marks: Marks) -> dict[str, Any]:
    candidates = [
        {"row": float(row), "column": float(column), "likelihood": float(rating)}
        for (row, column), rating in zip(marks.centres_px, marks.likelihood, strict=True)
    ]
    return {"candidates": candidates, "clusters": [], "singles": [], "threshold": None, "stated": None, "model": None}


def _matches(matched: MatchedImage) -> Mapping[str, Any]:
    return {"marks": _indices(matched.marks), "clusters": _indices(matched.clusters)}


def _indices(matches: Matches | None) -> Mapping[str, list[int]] | None:
    if matches is None:
        return None
    return {"lesion_mark": matches.lesion_mark.tolist(), "nl_mark": matches.nl_mark.tolist()}


def _curve(matches: Sequence[Matches], n_images: int) -> Mapping[str, list[float]] | None:
    lesions = np.concatenate([np.empty(0), *(m.lesion_rating for m in matches)])
    if lesions.size == 0 or n_images == 0:
        return None
    false = np.concatenate([np.empty(0), *(m.nl_rating for m in matches)])
    curve: FrocCurve = froc_curve(lesions, false, float(n_images))
    return {
        "threshold": [1.0 + 1e-9, *curve.threshold[1:].tolist()],
        "nlf": curve.nlf.tolist(),
        "llf": curve.llf.tolist(),
    }
