"""Prepare the detections of an image for its reports.

The command and the node both do this: the result of an image becomes a ``ReportedImage``, and those of an exam
become its reports (``exam``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from microcalc.detection.entries import CandidateEntry, ClusterEntry
from microcalc.detection.result import Result
from microcalc.domain import Candidates, Cluster, Shape
from microcalc.errors import InputError, MicrocalcError
from microcalc.geometry import Grid
from microcalc.models.model import Model
from microcalc.reports.image_header import ImageHeader
from microcalc.reports.reported_image import Algorithm, ReportedImage


def algorithm_of(model: Model, parameters: Sequence[str] = ()) -> Algorithm:
    """Return the description of a model for reports.

    Parameters
    ----------
    model
        The model that analysed the image.
    parameters
        Settings of the call that change the detections, as ``name=value``.
    """
    return Algorithm(
        name=f"microcalc {model.name}",
        version=model.version,
        sha256=model.sha256,
        operating_points=(model.operating_point, *model.more_sensitive_points),
        parameters=tuple(parameters),
        single_point=next(iter(model.mark_operating_points), None),
    )


def reported_image(header: ImageHeader, algorithm: Algorithm, result: Result | MicrocalcError | str) -> ReportedImage:
    """Return one image for its report.

    Parameters
    ----------
    header
        Header of the image's file; see ``read_image_header``.
    result
        The detections, or the reason why there are none; the file's name is removed from the reason.

    Raises
    ------
    InputError
        The detections have no pixel spacing.
    """
    if not isinstance(result, Result):
        return ReportedImage(header, algorithm, failure=str(result).removeprefix(f"{header.file.name}: "))
    if result.image.pixel_spacing_mm is None:
        raise InputError(f"{header.file.name}: its detections have no pixel spacing, expected those of microcalc")
    grid = Grid(result.image.pixel_spacing_mm)
    return ReportedImage(
        replace(header, spacing_mm=result.image.pixel_spacing_mm),  # the user may have given it, if the header does not
        algorithm,
        Candidates(grid.to_mm(result.places), np.array([c.likelihood for c in result.candidates])),
        [_cluster(cluster, grid) for cluster in result.clusters],
        [_shape(candidate, grid) for candidate in result.candidates],
        result.single_calcifications,
        [candidate.kind for candidate in result.candidates],
    )


def _cluster(entry: ClusterEntry, grid: Grid) -> Cluster:
    outline = grid.to_mm(np.array(entry.outline))
    members = np.array(entry.members, dtype=np.int64)
    return Cluster(members, outline, entry.likelihood, entry.distribution, entry.kind, entry.apart)


def _shape(entry: CandidateEntry, grid: Grid) -> Shape | None:
    """Return a candidate's shape; None where it has none, or was not measured."""
    if not entry.outline or entry.area_mm2 is None or entry.elongation is None or entry.contrast_to_noise is None:
        return None
    return Shape(grid.to_mm(np.array(entry.outline)), entry.area_mm2, entry.elongation, entry.contrast_to_noise)
