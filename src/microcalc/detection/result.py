"""The detections document: what was found in one image, as JSON (schema "microcalc/detections/1").

Whoever writes one, the detector or a reader of other makers' reports, writes it here, and whoever reads
one reads it here. The schema is only added to: what the writer does not know is null or left out, and
entries that this version does not know are passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from microcalc.domain import Candidates, Cluster, Finding, Intent, Laterality, Mammogram, OperatingPoint
from microcalc.errors import InputError
from microcalc.geometry import Points, outside
from microcalc.storage.write import write_text

SCHEMA: Final = "microcalc/detections/1"
PIXEL_DIGITS = 2
LIKELIHOOD_DIGITS = 8  # float32 has no more near 1

Likelihood = Annotated[float, Field(ge=0, le=1)]
_UID = re.compile(r"[0-9.]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MARGIN_MM: Final = 0.1
"""Half a pixel of the coarsest raster that is searched, whose last pixel may reach beyond the image's edge."""


class _Entries(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class ImageEntry(_Entries):
    """The image: by its file's name, and by its SOP Instance UID or, of a picture, the SHA-256 of its file."""

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


class ModelEntry(_Entries):
    """The model; see ``Model``."""

    name: str
    version: str
    sha256: str


class OperatingPointEntry(_Entries):
    """From which likelihood on a cluster is a finding; see ``domain.OperatingPoint``."""

    threshold: float
    llf: float | None
    nlf: float | None


class CandidateEntry(_Entries):
    """A place in pixels of the original image; (0, 0) is the centre of the first pixel."""

    row: float
    column: float
    likelihood: Likelihood


class ClusterEntry(_Entries):
    """A cluster: members as indices into ``candidates``, a closed outline in pixels (empty: not known)."""

    likelihood: Likelihood
    finding: bool
    members: Annotated[tuple[int, ...], Field(min_length=1)]
    outline: tuple[tuple[float, float], ...] = ()


class Seconds(_Entries):
    """Time spent on the image."""

    read: float
    normalise: float
    score: float
    group: float
    total: float


class Result(_Entries):
    """The document; entries that are None are not known."""

    format: Literal["microcalc/detections/1"] = Field(alias="schema", serialization_alias="schema")
    image: ImageEntry
    model: ModelEntry | None = None
    breast_area_cm2: float | None = None
    operating_point: OperatingPointEntry | None = None
    candidates: tuple[CandidateEntry, ...]
    clusters: tuple[ClusterEntry, ...]
    survivor_limit_reached: bool | None = None
    seconds: Seconds | None = None

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        """Refuse members that are no candidates, and candidates outside the image."""
        count = len(self.candidates)
        for number, cluster in enumerate(self.clusters):
            wrong = next((m for m in cluster.members if not 0 <= m < count), None)
            if wrong is not None:
                raise ValueError(f"cluster {number} has member {wrong}, expected indices of the {count} candidates")
        if self.image.shape is not None:
            beyond = outside(self.places, self.image.shape, margin_px=self._margin_px())
            if beyond.any():
                first = self.candidates[int(beyond.argmax())]
                raise ValueError(
                    f"candidate {int(beyond.argmax())} is at row {first.row:g}, column {first.column:g}, "
                    f"expected a place in the image of {self.image.rows} x {self.image.columns} pixels"
                )
        return self

    @property
    def places(self) -> Points:
        """Return the candidates' (n, 2) rows and columns in pixels of the original image."""
        return np.array([(c.row, c.column) for c in self.candidates], dtype=np.float64).reshape(-1, 2)

    @property
    def total_seconds(self) -> float:
        """Return the seconds from the file to the findings; NaN where nobody took the time."""
        return np.nan if self.seconds is None else self.seconds.total

    def _margin_px(self) -> float:
        spacing = self.image.pixel_spacing_mm
        return 0.5 if spacing is None or min(spacing) <= 0 else _MARGIN_MM / min(spacing)


def detections(
    mammogram: Mammogram,
    candidates: Candidates,
    clusters: Sequence[Cluster],
    found: Collection[Finding],
    *,
    file: str,
    model: ModelEntry,
    operating_point: OperatingPoint,
    breast_area_cm2: float,
    limit_reached: bool,
    seconds: Seconds,
) -> Result:
    """Return the document of one mammogram.

    Parameters
    ----------
    mammogram, file
        The image, and its file's name.
    candidates, clusters, found
        What each stage found; positions in mm become pixels of the original image.
    model, operating_point, breast_area_cm2, limit_reached, seconds
        As the document states them.
    """
    last = np.array(mammogram.pixels.shape) - 0.5  # the last pixel searched may reach beyond the image's edge
    pixels = mammogram.grid.to_pixels(candidates.centres).clip(-0.5, last).round(PIXEL_DIGITS).tolist()
    likelihood = candidates.likelihood.round(LIKELIHOOD_DIGITS).tolist()
    shown = {id(finding.cluster) for finding in found}
    return Result(
        schema=SCHEMA,
        image=_image_entry(mammogram, file),
        model=model,
        breast_area_cm2=round(breast_area_cm2, 3),
        operating_point=OperatingPointEntry(
            threshold=operating_point.threshold, llf=operating_point.llf, nlf=operating_point.nlf
        ),
        candidates=tuple(
            CandidateEntry(row=row, column=column, likelihood=rating)
            for (row, column), rating in zip(pixels, likelihood, strict=True)
        ),
        clusters=tuple(_cluster_entry(mammogram, cluster, finding=id(cluster) in shown) for cluster in clusters),
        survivor_limit_reached=limit_reached,
        seconds=seconds,
    )


def write_result(document: Result, path: Path) -> None:
    """Write the document, one candidate and one cluster to a line, whole or not at all.

    Raises
    ------
    OutputError
        The system refused.
    """
    content = document.model_dump(mode="json", by_alias=True)
    lines = ",\n".join(f" {json.dumps(key)}: {_entry_text(value)}" for key, value in content.items())
    write_text(path, "{\n" + lines + "\n}\n")


def read_result(path: Path) -> Result:
    """Read a document back.

    Raises
    ------
    InputError
        No such file, or not such a document.
    """
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path.name}: {error.strerror}, expected a detections document") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        entry = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{path.name}: {entry + ': ' if entry else ''}{said}, expected a detections document"
        ) from None


def _image_entry(mammogram: Mammogram, file: str) -> ImageEntry:
    rows, columns = mammogram.pixels.shape
    uid = mammogram.uid if _UID.fullmatch(mammogram.uid) else None
    return ImageEntry(
        file=file,
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


def _cluster_entry(mammogram: Mammogram, cluster: Cluster, *, finding: bool) -> ClusterEntry:
    outline = mammogram.grid.to_pixels(cluster.outline).round(PIXEL_DIGITS).tolist()
    return ClusterEntry(
        likelihood=round(cluster.likelihood, LIKELIHOOD_DIGITS),
        finding=finding,
        members=tuple(cluster.members.tolist()),
        outline=tuple((row, column) for row, column in outline),
    )


def _entry_text(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    return json.dumps(value)
