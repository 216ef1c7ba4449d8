"""``model.json``: what a model's folder says of its model.

The folder holds ``model.json`` (``ModelDescription`` or ``CascadeDescription``), the files that it names,
and their ``recipe.toml`` and ``MODEL_CARD.md``.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from microcalc.cnn.limit import SurvivorLimit
from microcalc.domain import LIKELIHOOD_DIGITS, Intent, OperatingPoint
from microcalc.errors import RecipeError

DESCRIPTION: Final = "model.json"
CASCADE_SCHEMA: Final = "microcalc/cascade-model/1"

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Kind = TypeVar("_Kind", bound="_Description")
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class _Entries(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Entries):
    """A file in the model's folder, and its SHA-256."""

    file: FileName
    sha256: Sha256


class NetworkEntry(FileEntry):
    """One of the two networks: its file, and how many pixels around a pixel it looks at on each side."""

    file: FileName
    margin_px: Annotated[int, Field(ge=0, le=256)]
    sha256: Sha256


class CandidateRules(_Entries):
    """Which local maxima of the likelihood are candidates; see ``detection.candidates.find_candidates``."""

    min_distance_mm: Positive
    min_likelihood: Fraction
    max_count: Annotated[int, Field(gt=0)]


class ShapeRules(_Entries):
    """Which candidates are outlined, and what is one calcification; see ``detection.shapes.measure_shapes``."""

    min_likelihood: Fraction
    min_contrast_to_noise: Annotated[float, Field(ge=0)]
    min_dip: Fraction


class ClusterRules(_Entries):
    """Which candidates form a cluster; see ``detection.clusters.group``."""

    max_gap_mm: Positive
    min_members: Annotated[int, Field(gt=0)]
    max_area_cm2: Positive
    min_likelihood: Annotated[float, Field(gt=0, lt=1)]
    member_likelihood: Annotated[float, Field(gt=0, lt=1)]
    member_gap_mm: Positive

    @model_validator(mode="after")
    def _members_include_the_smallest_cluster(self) -> Self:
        if self.member_gap_mm < self.max_gap_mm:
            raise ValueError(f"member_gap_mm {self.member_gap_mm}, expected at least max_gap_mm {self.max_gap_mm}")
        return self


class OperatingPointEntry(_Entries):
    """An operating point, measured on the data named in the model card; see ``domain.OperatingPoint``."""

    threshold: Fraction
    llf: Fraction
    nlf: Annotated[float, Field(ge=0)]

    def as_point(self) -> OperatingPoint:
        """Return the operating point, whose threshold has the decimals of the likelihoods that results state."""
        return OperatingPoint(round(self.threshold, LIKELIHOOD_DIGITS), self.llf, self.nlf)


class MeasuredOn(_Entries):
    """The images on which the thresholds were measured.

    Attributes
    ----------
    sha256
        SHA-256 of the lines of their table and of the bytes of the images; see ``training.annotated.key_of_table``.
    images, patients
        Their number; an image of an unknown patient counts as one patient.
    for_clusters_alone
        Number of images among them on which single marks were not measured.
    microcalcifications, clusters
        Number of those that were to be found, outlined clusters included.
    """

    sha256: Sha256
    images: Annotated[int, Field(ge=0)]
    for_clusters_alone: Annotated[int, Field(ge=0)]
    patients: Annotated[int, Field(ge=0)]
    microcalcifications: Annotated[int, Field(ge=0)]
    clusters: Annotated[int, Field(ge=0)]


class _Description(_Entries):
    """The entries that every model has; ``measured_on`` is None where a model does not state it."""

    format: str = Field(alias="schema", serialization_alias="schema")
    name: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    intent: Intent
    spacing_mm: Annotated[float, Field(ge=0.02, le=0.5)]
    candidates: CandidateRules
    shapes: ShapeRules
    clusters: ClusterRules
    mark_operating_points: tuple[OperatingPointEntry, ...]
    operating_points: Annotated[tuple[OperatingPointEntry, ...], Field(min_length=1)]
    default_operating_point: Annotated[int, Field(ge=0)]
    measured_on: MeasuredOn | None = None
    recipe: str
    trained_on: str

    @model_validator(mode="after")
    def _strictest_mark_point_is_first(self) -> Self:
        thresholds = [point.threshold for point in self.mark_operating_points]
        if thresholds != sorted(thresholds, reverse=True):
            raise ValueError(f"thresholds {thresholds} of mark_operating_points, expected the highest first")
        return self

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.default_operating_point >= len(self.operating_points):
            raise ValueError(
                f"default_operating_point {self.default_operating_point}, "
                f"expected an index into {len(self.operating_points)} operating_points"
            )
        return self

    def to_json(self) -> str:
        """Return the text of ``model.json``."""
        return self.model_dump_json(by_alias=True, indent=2, exclude_none=True) + "\n"


class ModelDescription(_Description):
    """The entries of a pair of networks."""

    format: Literal["microcalc/model/1"] = Field(alias="schema", serialization_alias="schema")
    cnn1: NetworkEntry
    cnn2: NetworkEntry
    rejection_logit: float
    most_survivors: SurvivorLimit


class CascadeDescription(_Description):
    """The entries of a cascade."""

    format: Literal["microcalc/cascade-model/1"] = Field(alias="schema", serialization_alias="schema")
    cascade: FileEntry


def parse_description(text: str | bytes, *, where: str) -> ModelDescription | CascadeDescription:
    """Parse the text of ``model.json``.

    Parameters
    ----------
    text
        The content of the file.
    where
        The name of the file, for messages.

    Raises
    ------
    RecipeError
        An entry is unknown, missing or impossible; the message names one, an unknown one first.
    """
    if _is_cascade(text):
        return _parsed(CascadeDescription, text, where)
    return _parsed(ModelDescription, text, where)


def parse_pair_description(text: str | bytes, *, where: str) -> ModelDescription:
    """Parse the text of the ``model.json`` of a pair of networks; see ``parse_description``."""
    return _parsed(ModelDescription, text, where)


def _is_cascade(text: str | bytes) -> bool:
    try:
        entries = json.loads(text)
    except ValueError:
        return False
    return isinstance(entries, dict) and entries.get("schema") == CASCADE_SCHEMA


def _parsed(kind: type[_Kind], text: str | bytes, where: str) -> _Kind:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        fault = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
        entry = ".".join(str(part) for part in fault["loc"]) or "the text"
        unknown = fault["type"] == "extra_forbidden"
        raise RecipeError(f"{where}: {entry}: {'unknown entry' if unknown else fault['msg']}") from None
