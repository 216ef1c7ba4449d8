"""What reports say of an image, from its detections document or the reason why it has none.

The command and the node both go this way: an image's result becomes a ``ReportedImage``, and those of an exam
become its reports (``exam``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from microcalc.detection.result import Result
from microcalc.domain import Candidates, Cluster, Intent, OperatingPoint
from microcalc.errors import InputError, MicrocalcError
from microcalc.geometry import Grid
from microcalc.models.model import DESCRIPTION, Model, model_folder, parse_description, shipped_model
from microcalc.reports.image_header import ImageHeader
from microcalc.reports.reported_image import Algorithm, ReportedImage


def algorithm_of(model: Model, choice: str | None, parameters: Sequence[str] = ()) -> Algorithm:
    """What a report says of the model that looked at an image.

    Parameters
    ----------
    model
        As ``choose_model`` gave it for the image's intent.
    choice
        The name or folder that it was chosen by; None: the shipped one of its intent.
    parameters
        Settings of the call that change what is found, as ``name=value``.
    """
    return Algorithm(
        name=f"microcalc {model.name}",
        version=model.version,
        sha256=model.sha256,
        operating_points=(model.operating_point, *_more_sensitive(model, choice)),
        parameters=tuple(parameters),
    )


def _more_sensitive(model: Model, choice: str | None) -> list[OperatingPoint]:
    """The model's operating points below its default one, the highest threshold first."""
    if choice == "log" or (choice is None and model.intent is None):
        return []
    folder = model_folder(choice) if choice is not None else shipped_model(_intent(model))
    described = parse_description((folder / DESCRIPTION).read_bytes(), where=f"{folder.name}/{DESCRIPTION}")
    below = (p for p in described.operating_points if p.threshold < model.operating_point.threshold)
    return [OperatingPoint(p.threshold, p.llf, p.nlf) for p in sorted(below, key=lambda p: -p.threshold)]


def _intent(model: Model) -> Intent:
    if model.intent is None:
        raise ValueError("a model for both intents has no shipped folder")
    return model.intent


def reported_image(header: ImageHeader, algorithm: Algorithm, found: Result | MicrocalcError | str) -> ReportedImage:
    """What a report says of one image.

    Parameters
    ----------
    header
        Of the image's file; see ``read_image_header``.
    found
        Its detections, or why there are none; the file's name is taken off the reason.
    """
    if not isinstance(found, Result):
        return ReportedImage(header, algorithm, failure=str(found).removeprefix(f"{header.file.name}: "))
    if found.image.pixel_spacing_mm is None:
        raise InputError(f"{header.file.name}: its detections have no pixel spacing, expected those of microcalc")
    grid = Grid(found.image.pixel_spacing_mm)
    return ReportedImage(
        replace(
            header, spacing_mm=found.image.pixel_spacing_mm
        ),  # the user may have said it, where the header does not
        algorithm,
        Candidates(grid.to_mm(found.places), np.array([c.likelihood for c in found.candidates])),
        [
            Cluster(np.array(c.members, dtype=np.int64), grid.to_mm(np.array(c.outline)), c.likelihood)
            for c in found.clusters
        ],
    )
