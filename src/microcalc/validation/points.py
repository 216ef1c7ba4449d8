"""The twenty acceptance points, a measured figure against its bounds, and the report of them all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

POINTS: Mapping[int, str] = MappingProxyType(
    {
        1: "attenuation and half-value layers",
        2: "response, offset, saturation",
        3: "modulation transfer",
        4: "noise variance over signal",
        5: "noise correlation and spectrum",
        6: "stabilised noise, and that it needs the local gain",
        7: "contrast and contrast-to-noise of aluminium",
        8: "thresholds of gold discs",
        9: "thresholds of microcalcifications",
        10: "power spectrum of tissue",
        11: "non-Gaussian structure of tissue",
        12: "levels of raw images",
        13: "sizes, numbers and distances of microcalcifications",
        14: "truth lies where the image shows it",
        15: "difficulty",
        16: "detection falls with dose",
        17: "vendors differ, normalising helps",
        18: "no mark left by insertion",
        19: "files are DICOM and shown as meant",
        20: "time, memory, the same bytes from the same seed",
    }
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure, which holds from ``low`` to ``high``, both included; NaN never does.

    ``what`` names it with its unit, ``system`` whose it is ("all" of several); ``note``
    says how it was measured where that is not plain, or why it could not be.
    """

    point: int
    system: str
    what: str
    measured: float
    low: float = -math.inf
    high: float = math.inf
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure lies within its bounds."""
        return self.low <= self.measured <= self.high

    @property
    def target(self) -> str:
        """The bounds in words."""
        if self.low == -math.inf:
            return f"<= {self.high:.4g}"
        if self.high == math.inf:
            return f">= {self.low:.4g}"
        return f"{self.low:.4g} .. {self.high:.4g}" if self.low < self.high else f"{self.low:.4g}"


def missed(point: int, reason: str, *, system: str = "all") -> Figure:
    """A point that could not be measured: a miss that says why."""
    return Figure(point, system, "not measured", math.nan, low=0.0, note=reason)


@dataclass(frozen=True, slots=True)
class Report:
    """All figures, in the order of their points."""

    figures: tuple[Figure, ...]

    def holds(self, point: int) -> bool:
        """Whether a point was measured, and every figure of it holds."""
        mine = [f for f in self.figures if f.point == point]
        return bool(mine) and all(f.holds for f in mine)

    @property
    def n_holding(self) -> int:
        """How many of the twenty points hold."""
        return sum(self.holds(point) for point in POINTS)

    @property
    def all_hold(self) -> bool:
        """Whether every point holds."""
        return self.n_holding == len(POINTS)

    def lines(self) -> list[str]:
        """The table (point, what, system, target, measured, pass), and the count as last line."""
        head = ("", "what", "system", "target", "measured", "")
        rows = [_cells(f) for f in self.figures]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines = [_aligned(head, widths)]
        for point, title in POINTS.items():
            lines.append(f"{point}. {title}: {'holds' if self.holds(point) else 'MISSES'}")
            for figure, row in zip(self.figures, rows, strict=True):
                if figure.point == point:
                    lines.append(_aligned(row, widths) + (f"  ({figure.note})" if figure.note else ""))
        return [*lines, f"{self.n_holding} of {len(POINTS)} points hold"]


def ordered(figures: Iterable[Figure]) -> Report:
    """A report of figures, by point; those of one point stay in the order given."""
    return Report(tuple(sorted(figures, key=lambda f: f.point)))


def _cells(figure: Figure) -> tuple[str, ...]:
    measured = "-" if math.isnan(figure.measured) else f"{figure.measured:.4g}"
    return (
        f"{figure.point}",
        figure.what,
        figure.system,
        "" if figure.what == "not measured" else figure.target,
        measured,
        "pass" if figure.holds else "MISS",
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    number, what, system, target, measured, verdict = (c.ljust(w) for c, w in zip(cells, widths, strict=True))
    return f"  {number} {what}  {system}  {target}  {measured}  {verdict}".rstrip()
