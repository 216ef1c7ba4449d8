"""The result for one image: candidates, clusters and findings, and their JSON (schema "microcalc/detections/1").

Every result is written and read here: by the detector, by ``microcalc evaluate``, and by the reader of other
vendors' reports. Keys are added to the schema, and never removed: a value that the writer does not know is null
or missing, and keys that this version does not know are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from microcalc.detection.stages import Detected
from microcalc.domain import Cluster, Intent, Laterality, Mammogram, OperatingPoint
from microcalc.errors import InputError, MissingExtraError
from microcalc.geometry import Grid, Points, outside
from microcalc.models.model import Model
from microcalc.storage.write import write_text

if TYPE_CHECKING:
    import pandas

SCHEMA: Final = "microcalc/detections/1"
PIXEL_DIGITS = 2
LIKELIHOOD_DIGITS = 8  # float32 has no more near 1

Likelihood = Annotated[float, Field(ge=0, le=1)]
_UID = re.compile(r"[0-9.]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MARGIN_MM: Final = 0.1
"""Half a pixel of the coarsest raster that is searched: its last pixel may reach beyond the image's edge."""


class _Entries(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class ImageEntry(_Entries):
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


class ModelEntry(_Entries):
    """The model that analysed the image; see ``Model``."""

    name: str
    version: str
    sha256: str


class CandidateEntry(_Entries):
    """A place that the detector proposes as a calcification.

    Attributes
    ----------
    row, column
        Position in pixels of the original image; (0, 0) is the centre of the first pixel.
    likelihood
        Output of the scorer, not a calibrated probability.
    diameter_mm
        None until it is measured; then the key is missing in the JSON.
    """

    row: float
    column: float
    likelihood: Likelihood
    diameter_mm: Annotated[float, Field(gt=0)] | None = None

    @model_serializer(mode="wrap")
    def _without_an_unknown_diameter(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        entries: dict[str, object] = handler(self)
        if self.diameter_mm is None:
            del entries["diameter_mm"]
        return entries


class ClusterEntry(_Entries):
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
    """

    likelihood: Likelihood
    finding: bool
    members: Annotated[tuple[int, ...], Field(min_length=1)]
    outline: tuple[tuple[float, float], ...] = ()


class Seconds(_Entries):
    """Time spent on the image, in seconds."""

    read: float
    normalise: float
    score: float
    group: float
    total: float


@dataclass(frozen=True, slots=True)
class Calcification:
    """One mark of a finding.

    Attributes
    ----------
    row, column
        Position in pixels of the original image; (0, 0) is the centre of the first pixel.
    likelihood
        Output of the scorer in [0, 1], not a calibrated probability.
    position_mm
        (row, column) in mm from the centre of the first pixel; None where the pixel spacing is not known.
    diameter_mm
        None until it is measured.
    """

    row: float
    column: float
    likelihood: float
    position_mm: tuple[float, float] | None
    diameter_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A cluster that is shown to the reader, because its likelihood reaches the operating point.

    Attributes
    ----------
    likelihood
        Of the cluster, in [0, 1]; not a calibrated probability.
    outline
        Closed polygon around the calcifications, (row, column) in pixels of the original image; empty where it is
        not known.
    outline_mm
        The same in mm from the centre of the first pixel; None where the pixel spacing is not known.
    calcifications
        The marks, highest likelihood first.
    """

    likelihood: float
    outline: tuple[tuple[float, float], ...]
    outline_mm: tuple[tuple[float, float], ...] | None
    calcifications: tuple[Calcification, ...]


class Result(_Entries):
    """What was found in one image.

    Attributes
    ----------
    image
        The image that was analysed.
    model
        The model that analysed it; None where it is not known, as of another vendor's detector.
    breast_area_cm2
        Area of the breast mask.
    operating_point
        The threshold on a cluster's likelihood from which a cluster is a finding.
    candidates
        Places that the detector proposes, highest likelihood first.
    clusters
        Clusters of candidates, highest likelihood first; those of them that are findings are marked.
    survivor_limit_reached
        Whether the limit on the scorer's work was reached, so that the least conspicuous places were rated less
        thoroughly; None where it is not known.
    seconds
        Time that each step took; None where it was not measured.

    Examples
    --------
    >>> result = microcalc.detect(mammogram)
    >>> finding = result.findings[0]
    >>> len(finding.calcifications) >= 3
    True
    >>> mark = finding.calcifications[0]
    >>> 0 <= mark.row < result.image.rows and 0 <= mark.likelihood <= 1
    True
    >>> microcalc.Result.from_json(result.to_json()) == result
    True
    """

    format: Literal["microcalc/detections/1"] = Field(alias="schema", serialization_alias="schema")
    image: ImageEntry
    model: ModelEntry | None = None
    breast_area_cm2: float | None = None
    operating_point: OperatingPoint | None = None
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
        """Return the seconds from the file to the findings; NaN where they were not measured."""
        return np.nan if self.seconds is None else self.seconds.total

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return the clusters that reach the operating point, highest likelihood first."""
        return tuple(self._finding(cluster) for cluster in self.clusters if cluster.finding)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON document."""
        return self.model_dump(mode="json", by_alias=True)

    def to_json(self) -> str:
        """Return the JSON document, with one candidate or cluster on each line."""
        lines = ",\n".join(f" {json.dumps(key)}: {_entry_text(value)}" for key, value in self.to_dict().items())
        return "{\n" + lines + "\n}\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Result:
        """Return the result that a JSON document holds.

        Raises
        ------
        InputError
            The text is not such a document, or contradicts itself; the message names the first wrong entry.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InputError(_first_fault(error)) from None

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a table with one line for each candidate.

        Returns
        -------
        pandas.DataFrame
            ``row``, ``column`` (pixels), ``row_mm``, ``column_mm`` (NaN where the pixel spacing is not known),
            ``likelihood``, ``diameter_mm`` (NaN until it is measured), ``cluster`` (index into ``clusters``; NA for
            a candidate outside clusters) and ``finding`` (bool).

        Raises
        ------
        MissingExtraError
            pandas is not installed.

        Examples
        --------
        >>> table = microcalc.detect(mammogram).to_dataframe()
        >>> table[table.finding].groupby("cluster").size().tolist()
        [11, 4, 9]
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise MissingExtraError("pandas is not installed, expected it: pip install pandas") from None

        n = len(self.candidates)
        cluster_of: list[int | None] = [None] * n
        for index, cluster in enumerate(self.clusters):
            for member in cluster.members:
                cluster_of[member] = index
        grid = self._grid
        positions_mm = np.full((n, 2), np.nan) if grid is None else grid.to_mm(self.places)
        return pandas.DataFrame(
            {
                "row": self.places[:, 0],
                "column": self.places[:, 1],
                "row_mm": positions_mm[:, 0],
                "column_mm": positions_mm[:, 1],
                "likelihood": np.array([c.likelihood for c in self.candidates], dtype=np.float64),
                "diameter_mm": np.array([c.diameter_mm or np.nan for c in self.candidates], dtype=np.float64),
                "cluster": pandas.array(cluster_of, dtype="Int64"),
                "finding": np.array([i is not None and self.clusters[i].finding for i in cluster_of], dtype=bool),
            }
        )

    @property
    def _grid(self) -> Grid | None:
        return None if self.image.pixel_spacing_mm is None else Grid(self.image.pixel_spacing_mm)

    def _finding(self, cluster: ClusterEntry) -> Finding:
        members = sorted((self.candidates[m] for m in cluster.members), key=lambda c: -c.likelihood)
        return Finding(
            likelihood=cluster.likelihood,
            outline=cluster.outline,
            outline_mm=self._in_mm(cluster.outline),
            calcifications=tuple(self._calcification(member) for member in members),
        )

    def _calcification(self, entry: CandidateEntry) -> Calcification:
        position_mm = self._in_mm([(entry.row, entry.column)])
        return Calcification(
            row=entry.row,
            column=entry.column,
            likelihood=entry.likelihood,
            position_mm=None if position_mm is None else position_mm[0],
            diameter_mm=entry.diameter_mm,
        )

    def _in_mm(self, places_px: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...] | None:
        grid = self._grid
        if grid is None:
            return None
        return tuple((row, column) for row, column in grid.to_mm(np.array(places_px)).tolist())

    def _margin_px(self) -> float:
        spacing = self.image.pixel_spacing_mm
        return 0.5 if spacing is None or min(spacing) <= 0 else _MARGIN_MM / min(spacing)


def make_result(
    mammogram: Mammogram,
    detected: Detected,
    model: Model,
    *,
    breast_area_cm2: float,
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
    seconds
        Time that each step took.
    """
    point, candidates = model.operating_point, detected.candidates
    last = np.array(mammogram.pixels.shape) - 0.5  # the last pixel searched may reach beyond the image's edge
    pixels = mammogram.grid.to_pixels(candidates.centres).clip(-0.5, last).round(PIXEL_DIGITS).tolist()
    likelihood = candidates.likelihood.round(LIKELIHOOD_DIGITS).tolist()
    return Result(
        schema=SCHEMA,
        image=_image_entry(mammogram),
        model=ModelEntry(name=model.name, version=model.version, sha256=model.sha256),
        breast_area_cm2=round(breast_area_cm2, 3),
        operating_point=point,
        candidates=tuple(
            CandidateEntry(row=row, column=column, likelihood=rating)
            for (row, column), rating in zip(pixels, likelihood, strict=True)
        ),
        clusters=tuple(
            _cluster_entry(mammogram, cluster, finding=cluster.likelihood >= point.threshold)
            for cluster in detected.clusters
        ),
        survivor_limit_reached=detected.limit_reached,
        seconds=seconds,
    )


def write_result(result: Result, path: Path) -> None:
    """Write a result as JSON, whole or not at all.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    write_text(path, result.to_json())


def read_result(path: Path) -> Result:
    """Read a result from a JSON file.

    Raises
    ------
    InputError
        No such file, or it holds no result.
    """
    try:
        return Result.from_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path.name}: {error.strerror}, expected a detections document") from None
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    entry = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{entry + ': ' if entry else ''}{message}, expected a detections document"


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
