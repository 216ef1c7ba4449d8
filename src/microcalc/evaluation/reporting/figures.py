"""FROC and ROC curves as figures, with intervals by patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from microcalc.errors import MissingExtraError
from microcalc.evaluation.bootstrap import Metric, bootstrap
from microcalc.evaluation.curves import Values, interpolate_at, step_at
from microcalc.evaluation.ratings import PatientRatings
from microcalc.storage.write import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FROC_GRID = np.geomspace(0.01, 100.0, 49)
# Evenly spaced on a logarithmic axis, and from 0 to 0.1 on a linear axis as well.
_ROC_GRID = np.union1d(np.geomspace(1e-6, 1.0, 49), np.linspace(0.0025, 0.1, 40))


@dataclass(frozen=True, eq=False, slots=True)
class Band:
    """A curve on a grid of false marks per image (or FPF), with its pointwise 95 % interval; all arrays (n,)."""

    x: Values
    value: Values
    low: Values
    high: Values


def band(ratings: PatientRatings, *, resamples: int = 500, rng: np.random.Generator, roc: bool = False) -> Band:
    """Return a FROC curve from 0.01 to 100 false marks per exposure, or a ROC curve from FPF 1e-6, with intervals.

    A FROC curve ends at its loosest threshold: nothing is known beyond.
    """
    grid = _ROC_GRID if roc else _FROC_GRID
    if not roc:
        end = float(ratings.curve()[0][-1])
        grid = np.append(grid[grid < end], np.clip(end, grid[0], grid[-1]))
    height = interpolate_at if roc else step_at
    metrics: dict[str, Metric] = {str(i): partial(height, at=float(x)) for i, x in enumerate(grid)}
    estimates = list(bootstrap(ratings, metrics, resamples=resamples, rng=rng).values())
    value, low, high = np.array([(e.value, e.low, e.high) for e in estimates]).T
    return Band(grid, value, low, high)


def draw_froc(file: Path, panels: Mapping[str, Mapping[str, Band]], x_label: Mapping[str, str]) -> None:
    """Draw one panel for each target (marks, clusters), with one line for each detector.

    Parameters
    ----------
    file
        SVG or PNG, by its suffix.
    panels
        Curves by target and detector.
    x_label
        Label of the horizontal axis, by target.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    OutputError
        The system refused to write.
    """
    sheet = new_sheet(5.5 * max(1, len(panels)), 4.2)
    for i, (target, bands) in enumerate(panels.items()):
        axes = sheet.add_subplot(1, len(panels), i + 1)
        for label, curve in bands.items():
            draw_band(axes, curve, label, step=True)
        axes.set(xscale="log", ylim=(0, 1.02), xlabel=x_label[target], ylabel=f"sensitivity, {target}")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="lower right", frameon=False)
    save_sheet(sheet, file)


def draw_band(axes: Axes, curve: Band, label: str, *, step: bool, colour: str | None = None) -> None:
    """Draw one curve with its interval; in steps where only its vertices can be attained (FROC)."""
    if step:
        (line,) = axes.step(curve.x, curve.value, where="post", label=label, color=colour)
    else:
        (line,) = axes.plot(curve.x, curve.value, label=label, color=colour)
    within: Literal["post"] | None = "post" if step else None
    axes.fill_between(curve.x, curve.low, curve.high, step=within, alpha=0.15, color=line.get_color(), linewidth=0)


def new_sheet(width_in: float, height_in: float) -> Figure:
    """Return an empty matplotlib figure of a size in inches.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def save_sheet(sheet: Figure, file: Path) -> None:
    """Write a figure as SVG or PNG, by the suffix of the file; the same figure gives the same bytes.

    Raises
    ------
    OutputError
        The system refused to write.
    """
    from matplotlib import rc_context

    # Without a date and with fixed identifiers, the same figure gives the same file.
    metadata: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {}
    with rc_context({"svg.hashsalt": "microcalc", "svg.fonttype": "none"}), writing(file) as temporary:
        sheet.savefig(temporary, metadata=metadata)


def require_matplotlib() -> None:
    """Refuse to draw without matplotlib, before any work is done.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib is not installed, expected for curves: pip install 'microcalc[evaluate]'")
