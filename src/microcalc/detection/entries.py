"""The parts of the result for one image, as they stand in its JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from microcalc.domain import CalcificationKind, Distribution, Intent, Laterality

Likelihood = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Entries(BaseModel):
    """A part of the document; keys that this version does not know are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class ImageEntry(Entries):
    """The image that was analysed.

    Attributes
    ----------
    file
        Name of the file, without its folder; empty if the image was not read from a file.
    sop_instance_uid, sha256
        The image's identity: its SOP Instance UID; the SHA-256 of the file of an image that has none.
    rows, columns
        Size in pixels.
    pixel_spacing_mm
        (row, column).
    system, intent, view, laterality, burned_in
        As in ``Mammogram``.
    """

    file: str
    sop_instance_uid: str | None = None
    sha256: str | None = None
    rows: Annotated[int, Field(ge=1)] | None = None
    columns: Annotated[int, Field(ge=1)] | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    system: str | None = None
    intent: Intent | None = None
    view: str | None = None
    laterality: Laterality | None = None
    burned_in: bool | None = None

    @property
    def shape(self) -> tuple[int, int] | None:
        """Return (rows, columns); None where they are not known."""
        return None if self.rows is None or self.columns is None else (self.rows, self.columns)


class ModelEntry(Entries):
    """The model that analysed the image; see ``Model``."""

    name: str
    version: str
    sha256: str


class CandidateEntry(Entries):
    """A place that the detector proposes as a calcification.

    What is not known is None, and its key is missing in the JSON.

    Attributes
    ----------
    row, column
        Position in pixels of the original image; (0, 0) is the centre of the first pixel.
    likelihood
        Output of the scorer, not a calibrated probability.
    outline
        Closed polygon around the calcification, (row, column) in pixels; empty where the image has been searched for
        an outline and there is none.
    diameter_mm
        Diameter of the disc with the area of the outline.
    area_mm2, elongation, contrast_to_noise
        As in ``domain.Shape``.
    kind
        What the calcification likely is; see ``detection.kinds``. None without an outline.
    """

    row: float
    column: float
    likelihood: Likelihood
    outline: tuple[tuple[float, float], ...] | None = None
    diameter_mm: Positive | None = None
    area_mm2: Positive | None = None
    elongation: Annotated[float, Field(ge=1)] | None = None
    contrast_to_noise: float | None = None
    kind: CalcificationKind | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_known(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        entries: dict[str, object] = handler(self)
        return {key: value for key, value in entries.items() if value is not None}


class ClusterEntry(Entries):
    """A cluster of candidates.

    Attributes
    ----------
    likelihood
        Of the cluster; see ``detection.clusters``.
    finding
        Whether the likelihood reaches the default operating point.
    members
        Indices into ``Result.candidates``.
    outline
        Closed polygon, (row, column) in pixels; empty where it is not known.
    distribution
        How the members are distributed; see ``detection.distribution``. None where it is not known.
    kind
        The kind that more than half of the members are of, and else ``microcalcification``. None where it is not
        known.
    apart
        Whether the finding is to be shown apart from those of microcalcifications, because its kind is another.
    """

    likelihood: Likelihood
    finding: bool
    members: Annotated[tuple[int, ...], Field(min_length=1)]
    outline: tuple[tuple[float, float], ...] = ()
    distribution: Distribution | None = None
    kind: CalcificationKind | None = None
    apart: bool = False


class VascularEntry(Entries):
    """The vascular calcium in one view.

    Attributes
    ----------
    length_mm
        Length of all chains of vascular calcifications, gaps included; the two walls of an artery count once.
    area_mm2
        Area of their outlines.
    """

    length_mm: Annotated[float, Field(ge=0)]
    area_mm2: Annotated[float, Field(ge=0)]


class Seconds(Entries):
    """Time spent on the image, in seconds."""

    read: float
    normalise: float
    score: float
    group: float
    total: float
