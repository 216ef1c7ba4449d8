"""Make the result for one mammogram of what was detected in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from microcalc.detection.distribution import distribution_of
from microcalc.detection.entries import CandidateEntry, ClusterEntry, ImageEntry, ModelEntry, Seconds, VascularEntry
from microcalc.detection.kinds import chain_length_mm, kind_of_cluster
from microcalc.detection.result import SCHEMA, Result
from microcalc.detection.stages import Detected
from microcalc.domain import LIKELIHOOD_DIGITS, BenignFindings, CalcificationKind, Cluster, Mammogram, Shape
from microcalc.geometry import Points
from microcalc.models.model import Model

PIXEL_DIGITS: Final = 2
_UID = re.compile(r"[0-9.]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def make_result(
    mammogram: Mammogram,
    detected: Detected,
    model: Model,
    *,
    breast_area_cm2: float,
    benign: BenignFindings = "show",
    seconds: Seconds | None = None,
) -> Result:
    """Return the result for one mammogram; positions in mm become pixels of the original image.

    Parameters
    ----------
    mammogram
        The image.
    detected
        Its candidates and clusters.
    model
        The model that found them; clusters that reach its default operating point are findings.
    breast_area_cm2
        Area of the breast mask.
    benign
        As in ``pipeline.detect``.
    seconds
        Time that each step took.
    """
    point, candidates = model.operating_point, detected.candidates
    last = np.array(mammogram.pixels.shape) - 0.5  # the last pixel searched may reach beyond the image's edge
    pixels = mammogram.grid.to_pixels(candidates.centres).clip(-0.5, last).round(PIXEL_DIGITS).tolist()
    likelihood = candidates.likelihood.round(LIKELIHOOD_DIGITS).tolist()
    shapes = [_shape_entries(mammogram, shape) for shape in detected.shapes]
    shapes += [{}] * (candidates.likelihood.size - len(shapes))  # not measured
    kinds = detected.kinds + (None,) * (candidates.likelihood.size - len(detected.kinds))
    clusters = tuple(
        _cluster_entry(mammogram, cluster, candidates.centres, kinds, threshold=point.threshold, benign=benign)
        for cluster in detected.clusters
    )
    return Result(
        schema=SCHEMA,
        image=_image_entry(mammogram),
        model=ModelEntry(name=model.name, version=model.version, sha256=model.sha256),
        breast_area_cm2=round(breast_area_cm2, 3),
        operating_point=point,
        mark_operating_points=model.mark_operating_points,
        candidates=tuple(
            CandidateEntry(row=row, column=column, likelihood=rating, kind=kind, **shape)
            for (row, column), rating, shape, kind in zip(pixels, likelihood, shapes, kinds, strict=True)
        ),
        clusters=clusters,
        vascular_calcium=_vascular_calcium(detected),
        single_calcifications=_single_calcifications(likelihood, model, clusters),
        candidate_limit_reached=detected.candidate_limit_reached,
        survivor_limit_reached=detected.limit_reached,
        seconds=seconds,
    )


def _image_entry(mammogram: Mammogram) -> ImageEntry:
    rows, columns = mammogram.pixels.shape
    uid = mammogram.uid if _UID.fullmatch(mammogram.uid) else None
    return ImageEntry(
        file=mammogram.file,
        sop_instance_uid=uid,
        sha256=mammogram.uid if uid is None and _SHA256.fullmatch(mammogram.uid) else None,
        rows=rows,
        columns=columns,
        pixel_spacing_mm=mammogram.spacing_mm,
        system=mammogram.system,
        intent=mammogram.intent,
        view=mammogram.view,
        laterality=mammogram.laterality,
        burned_in=mammogram.burned_in,
    )


def _shape_entries(mammogram: Mammogram, shape: Shape | None) -> dict[str, Any]:
    """Return the entries of a candidate that its shape gives."""
    if shape is None:
        return {"outline": ()}
    return {
        "outline": _in_pixels(mammogram, shape.outline),
        "diameter_mm": round(shape.diameter_mm, 3),
        "area_mm2": round(shape.area_mm2, 4),
        "elongation": round(shape.elongation, 2),
        "contrast_to_noise": round(shape.contrast_to_noise, 2),
    }


def _single_calcifications(
    likelihood: Sequence[float], model: Model, clusters: Sequence[ClusterEntry]
) -> tuple[int, ...]:
    """Return the candidates outside findings that reach the strictest operating point of single marks."""
    if not model.mark_operating_points:
        return ()
    threshold = model.mark_operating_points[0].threshold
    shown = {member for cluster in clusters if cluster.finding for member in cluster.members}
    return tuple(i for i, rating in enumerate(likelihood) if rating >= threshold and i not in shown)


def _vascular_calcium(detected: Detected) -> VascularEntry:
    pairs = zip(detected.shapes, detected.kinds, strict=True)
    vascular = [shape for shape, kind in pairs if shape is not None and kind == "vascular"]
    return VascularEntry(
        length_mm=round(chain_length_mm(vascular), 1), area_mm2=round(sum(shape.area_mm2 for shape in vascular), 3)
    )


def _cluster_entry(
    mammogram: Mammogram,
    cluster: Cluster,
    centres: Points,
    kinds: Sequence[CalcificationKind | None],
    *,
    threshold: float,
    benign: BenignFindings,
) -> ClusterEntry:
    kind = kind_of_cluster([kinds[member] for member in cluster.members])
    likelihood = round(cluster.likelihood, LIKELIHOOD_DIGITS)  # the stated one decides: every output has the same
    finding = likelihood >= threshold
    return ClusterEntry(
        likelihood=likelihood,
        finding=finding,
        members=tuple(cluster.members.tolist()),
        outline=_in_pixels(mammogram, cluster.outline),
        distribution=distribution_of(centres[cluster.members]),
        kind=kind,
        apart=finding and benign == "apart" and kind != "microcalcification",
    )


def _in_pixels(mammogram: Mammogram, outline: Points) -> tuple[tuple[float, float], ...]:
    pixels = mammogram.grid.to_pixels(outline).round(PIXEL_DIGITS).tolist()
    return tuple((row, column) for row, column in pixels)
