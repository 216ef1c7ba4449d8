"""The detections document: what was found in one image, as JSON (schema "microcalc/detections/1")."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from microcalc.detect.model import Model
from microcalc.domain import Candidates, Cluster, Finding, Intent, Laterality, Mammogram
from microcalc.errors import InputError

PIXEL_DIGITS = 2
LIKELIHOOD_DIGITS = 8  # float32 has no more near 1

Likelihood = Annotated[float, Field(ge=0, le=1)]
_UID = re.compile(r"[0-9.]{1,64}")


class _Entries(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ImageEntry(_Entries):
    """The image; ``sop_instance_uid`` is null for a picture without one."""

    file: str
    sop_instance_uid: str | None
    rows: int
    columns: int
    pixel_spacing_mm: tuple[float, float]
    system: str | None
    intent: Intent
    view: str | None
    laterality: Laterality | None


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
    """A cluster: members as indices into ``candidates``, a closed outline in pixels."""

    likelihood: Likelihood
    finding: bool
    members: tuple[int, ...]
    outline: tuple[tuple[float, float], ...]


class Seconds(_Entries):
    """Time spent on the image."""

    read: float
    normalise: float
    score: float
    group: float
    total: float


class Detections(_Entries):
    """The document."""

    format: Literal["microcalc/detections/1"] = Field(alias="schema", serialization_alias="schema")
    image: ImageEntry
    model: ModelEntry
    breast_area_cm2: float
    operating_point: OperatingPointEntry
    candidates: tuple[CandidateEntry, ...]
    clusters: tuple[ClusterEntry, ...]
    seconds: Seconds


def detections(
    mammogram: Mammogram,
    candidates: Candidates,
    clusters: Sequence[Cluster],
    found: Collection[Finding],
    *,
    file: str,
    model: Model,
    breast_area_cm2: float,
    seconds: Seconds,
) -> Detections:
    """The document of one mammogram.

    Parameters
    ----------
    mammogram, file
        The image, and its file's name.
    candidates, clusters, found
        What each stage found; positions in mm become pixels of the original image.
    model, breast_area_cm2, seconds
        As the document states them.
    """
    pixels = mammogram.grid.to_pixels(candidates.centres).round(PIXEL_DIGITS).tolist()
    likelihood = candidates.likelihood.round(LIKELIHOOD_DIGITS).tolist()
    shown = {id(finding.cluster) for finding in found}
    point = model.operating_point
    return Detections(
        schema="microcalc/detections/1",
        image=_image_entry(mammogram, file),
        model=ModelEntry(name=model.name, version=model.version, sha256=model.sha256),
        breast_area_cm2=round(breast_area_cm2, 3),
        operating_point=OperatingPointEntry(threshold=point.threshold, llf=point.llf, nlf=point.nlf),
        candidates=tuple(
            CandidateEntry(row=row, column=column, likelihood=rating)
            for (row, column), rating in zip(pixels, likelihood, strict=True)
        ),
        clusters=tuple(_cluster_entry(mammogram, cluster, finding=id(cluster) in shown) for cluster in clusters),
        seconds=seconds,
    )


def write_detections(document: Detections, path: Path) -> None:
    """Write the document, one candidate and one cluster to a line."""
    content = document.model_dump(mode="json", by_alias=True)
    lines = ",\n".join(f" {json.dumps(key)}: {_entry_text(value)}" for key, value in content.items())
    write_whole(path, ("{\n" + lines + "\n}\n").encode())


def read_detections(path: Path) -> Detections:
    """Read a document back.

    Raises
    ------
    InputError
        No such file, or not such a document.
    """
    try:
        return Detections.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path.name}: {error.strerror}, expected a detections document") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        entry = ".".join(str(part) for part in first["loc"]) or "the text"
        raise InputError(f"{path.name}: {entry}: {first['msg']}, expected a detections document") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: under a temporary name beside it, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _image_entry(mammogram: Mammogram, file: str) -> ImageEntry:
    rows, columns = mammogram.pixels.shape
    return ImageEntry(
        file=file,
        sop_instance_uid=mammogram.uid if _UID.fullmatch(mammogram.uid) else None,
        rows=rows,
        columns=columns,
        pixel_spacing_mm=mammogram.spacing_mm,
        system=mammogram.system,
        intent=mammogram.intent,
        view=mammogram.view,
        laterality=mammogram.laterality,
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
