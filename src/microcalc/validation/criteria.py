"""The twenty acceptance criteria of the simulator, measurements with their limits, and the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

CRITERIA: Mapping[int, str] = MappingProxyType(
    {
        1: "attenuation and half-value layers",
        2: "response, offset, saturation",
        3: "modulation transfer",
        4: "noise variance over signal",
        5: "noise correlation and spectrum",
        6: "stabilised noise, with a local gain map",
        7: "contrast and contrast-to-noise of aluminium",
        8: "threshold thickness of gold discs",
        9: "threshold diameter of microcalcifications",
        10: "power spectrum of tissue",
        11: "non-Gaussian structure of tissue",
        12: "levels of raw images",
        13: "sizes, numbers and distances of microcalcifications",
        14: "annotations lie where the image shows the calcifications",
        15: "difficulty of detection",
        16: "detection falls with dose",
        17: "vendors differ, and normalisation reduces the difference",
        18: "insertion leaves no trace",
        19: "files are valid DICOM and displayed as intended",
        20: "time, memory, the same bytes from the same seed",
    }
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured value and its limits.

    Attributes
    ----------
    criterion
        Number of the acceptance criterion.
    system
        Name of the system, or "all".
    what
        Quantity, with its unit.
    low, high
        Limits, both inclusive.
    note
        How the value was measured, or why it could not be.
    """

    criterion: int
    system: str
    what: str
    measured: float
    low: float = -math.inf
    high: float = math.inf
    note: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the value lies within its limits; NaN never does."""
        return self.low <= self.measured <= self.high

    @property
    def target(self) -> str:
        """The limits as text."""
        if self.low == -math.inf:
            return f"<= {self.high:.4g}"
        if self.high == math.inf:
            return f">= {self.low:.4g}"
        return f"{self.low:.4g} .. {self.high:.4g}" if self.low < self.high else f"{self.low:.4g}"


def not_measured(criterion: int, reason: str, *, system: str = "all") -> Measurement:
    """Return a failed measurement for a criterion that could not be measured."""
    return Measurement(criterion, system, "not measured", math.nan, low=0.0, note=reason)


@dataclass(frozen=True, slots=True)
class Report:
    """All measurements, in the order of their criteria."""

    measurements: tuple[Measurement, ...]

    def is_met(self, criterion: int) -> bool:
        """Return whether a criterion was measured and all its values lie within their limits."""
        own = [m for m in self.measurements if m.criterion == criterion]
        return bool(own) and all(m.is_met for m in own)

    @property
    def n_met(self) -> int:
        """Number of criteria that are met."""
        return sum(self.is_met(criterion) for criterion in CRITERIA)

    @property
    def all_met(self) -> bool:
        """Whether every criterion is met."""
        return self.n_met == len(CRITERIA)

    def lines(self) -> list[str]:
        """Return the lines of the report: each criterion with its measurements, then the number of criteria met."""
        head = ("", "what", "system", "target", "measured", "")
        rows = [_cells(m) for m in self.measurements]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines = [_aligned(head, widths)]
        for criterion, title in CRITERIA.items():
            lines.append(f"{criterion}. {title}: {'met' if self.is_met(criterion) else 'NOT MET'}")
            for measurement, row in zip(self.measurements, rows, strict=True):
                if measurement.criterion == criterion:
                    lines.append(_aligned(row, widths) + (f"  ({measurement.note})" if measurement.note else ""))
        return [*lines, f"{self.n_met} of {len(CRITERIA)} criteria met"]


def report_of(measurements: Iterable[Measurement]) -> Report:
    """Return the report of measurements, sorted by criterion."""
    return Report(tuple(sorted(measurements, key=lambda m: m.criterion)))


def _cells(m: Measurement) -> tuple[str, ...]:
    measured = "-" if math.isnan(m.measured) else f"{m.measured:.4g}"
    target = "" if m.what == "not measured" else m.target
    return (f"{m.criterion}", m.what, m.system, target, measured, "pass" if m.is_met else "FAIL")


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    number, what, system, target, measured, verdict = (c.ljust(w) for c, w in zip(cells, widths, strict=True))
    return f"  {number} {what}  {system}  {target}  {measured}  {verdict}".rstrip()
