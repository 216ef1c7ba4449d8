"""The result for one image: candidates, clusters and findings, and their JSON (schema "microcalc/detections/1").

Every result is written and read here: by the detector, by ``microcalc evaluate``, and by the reader of other
vendors' reports. Keys are added to the schema, and never removed: a value that the writer does not know is null
or missing, and keys that this version does not know are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from microcalc.detection.entries import (
    CandidateEntry,
    ClusterEntry,
    Entries,
    ImageEntry,
    ModelEntry,
    Seconds,
    VascularEntry,
)
from microcalc.domain import CalcificationKind, Distribution, OperatingPoint
from microcalc.errors import InputError, MissingExtraError
from microcalc.geometry import Grid, Points, outside
from microcalc.storage.write import write_text

if TYPE_CHECKING:
    import pandas

SCHEMA: Final = "microcalc/detections/1"

_MEASURED: Final = ("diameter_mm", "area_mm2", "elongation", "contrast_to_noise")
_MARGIN_MM: Final = 0.1
"""Half a pixel of the coarsest raster that is searched: its last pixel may reach beyond the image's edge."""


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
    outline
        Closed polygon, (row, column) in pixels; empty where there is none, None where it was not measured.
    diameter_mm, area_mm2, elongation, contrast_to_noise, kind
        As in ``CandidateEntry``; None without an outline.
    """

    row: float
    column: float
    likelihood: float
    position_mm: tuple[float, float] | None
    outline: tuple[tuple[float, float], ...] | None = None
    diameter_mm: float | None = None
    area_mm2: float | None = None
    elongation: float | None = None
    contrast_to_noise: float | None = None
    kind: CalcificationKind | None = None


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
    distribution
        "grouped", "linear", "segmental", "regional" or "diffuse"; None where it is not known.
    calcifications
        The marks, highest likelihood first.
    kind, apart
        As in ``ClusterEntry``.
    """

    likelihood: float
    distribution: Distribution | None
    outline: tuple[tuple[float, float], ...]
    outline_mm: tuple[tuple[float, float], ...] | None
    calcifications: tuple[Calcification, ...]
    kind: CalcificationKind | None = None
    apart: bool = False


class Result(Entries):
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
    mark_operating_points
        Thresholds on the likelihood of a single mark, the fewest false marks per image first; empty where they are not
        known.
    candidates
        Places that the detector proposes, highest likelihood first.
    clusters
        Clusters of candidates, highest likelihood first; those of them that are findings are marked.
    vascular_calcium
        Length and area of the calcifications of kind "vascular"; None where they were not looked for.
    single_calcifications
        Indices of the candidates that are in no finding and reach the strictest of the ``mark_operating_points``.
    candidate_limit_reached
        Whether there were more candidates than may be listed; None where it is not known.
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
    mark_operating_points: tuple[OperatingPoint, ...] = ()
    candidates: tuple[CandidateEntry, ...]
    clusters: tuple[ClusterEntry, ...]
    vascular_calcium: VascularEntry | None = None
    single_calcifications: tuple[int, ...] = ()
    candidate_limit_reached: bool | None = None
    survivor_limit_reached: bool | None = None
    seconds: Seconds | None = None

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        """Refuse members that are no candidates or are listed twice, and candidates outside the image."""
        count, singles = len(self.candidates), self.single_calcifications
        for number, cluster in enumerate(self.clusters):
            wrong = next((m for m in cluster.members if not 0 <= m < count), None)
            if wrong is not None:
                raise ValueError(f"cluster {number} has member {wrong}, expected indices of the {count} candidates")
            if len(set(cluster.members)) < len(cluster.members):
                raise ValueError(f"cluster {number} has a member twice, expected each candidate once")
            if cluster.finding and not set(singles).isdisjoint(cluster.members):
                raise ValueError(f"a single calcification is in cluster {number}, a finding, expected it outside")
        absent = next((m for m in singles if not 0 <= m < count), None)
        if absent is not None:
            raise ValueError(f"single calcification {absent}, expected indices of the {count} candidates")
        if len(set(singles)) < len(singles):
            raise ValueError("a single calcification is listed twice, expected each candidate once")
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

    @property
    def singles(self) -> tuple[Calcification, ...]:
        """Return the evident calcifications outside findings, highest likelihood first."""
        return tuple(self._calcification(self.candidates[i]) for i in self.single_calcifications)

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
            ``likelihood``, ``diameter_mm``, ``area_mm2``, ``elongation`` and ``contrast_to_noise`` (NaN without an
            outline), ``kind`` (NA without an outline), ``cluster`` (index into ``clusters``; NA for a candidate
            outside clusters), ``finding`` (bool: member of one), ``apart`` (bool: member of one that is set apart) and
            ``single`` (bool: evident calcification outside findings).

        Raises
        ------
        MissingExtraError
            pandas is not installed.

        Examples
        --------
        >>> table = microcalc.detect(mammogram).to_dataframe()
        >>> table[table.finding].groupby("cluster").size().tolist()
        [28]
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
                **{name: _column(self.candidates, name) for name in _MEASURED},
                "kind": pandas.array([c.kind for c in self.candidates], dtype="string"),
                "cluster": pandas.array(cluster_of, dtype="Int64"),
                "finding": np.array([i is not None and self.clusters[i].finding for i in cluster_of], dtype=bool),
                "apart": np.array([i is not None and self.clusters[i].apart for i in cluster_of], dtype=bool),
                "single": np.isin(np.arange(n), self.single_calcifications),
            }
        )

    @property
    def _grid(self) -> Grid | None:
        return None if self.image.pixel_spacing_mm is None else Grid(self.image.pixel_spacing_mm)

    def _finding(self, cluster: ClusterEntry) -> Finding:
        members = sorted((self.candidates[m] for m in cluster.members), key=lambda c: -c.likelihood)
        return Finding(
            likelihood=cluster.likelihood,
            distribution=cluster.distribution,
            outline=cluster.outline,
            outline_mm=self._in_mm(cluster.outline),
            calcifications=tuple(self._calcification(member) for member in members),
            kind=cluster.kind,
            apart=cluster.apart,
        )

    def _calcification(self, entry: CandidateEntry) -> Calcification:
        position_mm = self._in_mm([(entry.row, entry.column)])
        return Calcification(
            row=entry.row,
            column=entry.column,
            likelihood=entry.likelihood,
            position_mm=None if position_mm is None else position_mm[0],
            outline=entry.outline,
            diameter_mm=entry.diameter_mm,
            area_mm2=entry.area_mm2,
            elongation=entry.elongation,
            contrast_to_noise=entry.contrast_to_noise,
            kind=entry.kind,
        )

    def _in_mm(self, places_px: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...] | None:
        grid = self._grid
        if grid is None:
            return None
        return tuple((row, column) for row, column in grid.to_mm(np.array(places_px)).tolist())

    def _margin_px(self) -> float:
        spacing = self.image.pixel_spacing_mm
        return 0.5 if spacing is None or min(spacing) <= 0 else _MARGIN_MM / min(spacing)


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


def _column(candidates: Sequence[CandidateEntry], name: str) -> NDArray[np.float64]:
    """Return one measurement of each candidate; NaN where it is not known."""
    return np.array([getattr(entry, name) for entry in candidates], dtype=np.float64)


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    entry = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{entry + ': ' if entry else ''}{message}, expected a detections document"


def _entry_text(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    return json.dumps(value)
