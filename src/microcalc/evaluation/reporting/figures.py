"""FROC and ROC curves as pictures, with intervals by patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from microcalc.errors import MissingExtraError
from microcalc.evaluation.bootstrap import Figure, bootstrap
from microcalc.evaluation.curves import Values, interpolate_at, step_at
from microcalc.evaluation.ratings import PatientRatings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FROC_GRID = np.geomspace(0.01, 100.0, 49)
# Even on a logarithmic axis, and from 0 to 0.1 on a linear one as well.
_ROC_GRID = np.union1d(np.geomspace(1e-6, 1.0, 49), np.linspace(0.0025, 0.1, 40))


@dataclass(frozen=True, eq=False, slots=True)
class Band:
    """A curve on a grid of false marks per image (or FPF), with its pointwise 95 % interval."""

    x: Values
    value: Values
    low: Values
    high: Values


def band(ratings: PatientRatings, *, resamples: int = 500, rng: np.random.Generator, roc: bool = False) -> Band:
    """A FROC curve from 0.01 to 100 false marks per exposure; or a ROC curve from FPF 1e-6.

    A FROC curve stops where it ends: beyond, nothing is known.
    """
    grid = _ROC_GRID if roc else _FROC_GRID
    if not roc:
        end = float(ratings.curve()[0][-1])
        grid = np.append(grid[grid < end], np.clip(end, grid[0], grid[-1]))
    height = interpolate_at if roc else step_at
    figures: dict[str, Figure] = {str(i): partial(height, at=float(x)) for i, x in enumerate(grid)}
    estimates = list(bootstrap(ratings, figures, resamples=resamples, rng=rng).values())
    value, low, high = np.array([(e.value, e.low, e.high) for e in estimates]).T
    return Band(grid, value, low, high)


def draw_froc(file: Path, panels: Mapping[str, Mapping[str, Band]], x_label: Mapping[str, str]) -> None:
    """One panel for each thing that is counted, one line for each detector; SVG or PNG by the name.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    _draw(file, panels, {name: (x_label[name], f"sensitivity, {name}") for name in panels}, step=True)


def require_matplotlib() -> None:
    """Refuse, before any work is done, to draw without matplotlib.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib is not installed, expected for curves: pip install 'microcalc[evaluate]'")


def _draw(
    file: Path, panels: Mapping[str, Mapping[str, Band]], labels: Mapping[str, tuple[str, str]], *, step: bool
) -> None:
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Sheet

    # Without a date and with fixed ids, the same figures give the same file.
    with rc_context({"svg.hashsalt": "microcalc", "svg.fonttype": "none"}):
        sheet = Sheet(figsize=(5.5 * max(1, len(panels)), 4.2), layout="constrained")
        for i, (name, bands) in enumerate(panels.items()):
            axes = sheet.add_subplot(1, len(panels), i + 1)
            for label, curve in bands.items():
                draw_band(axes, curve, label, step=step)
            axes.set(xscale="log", ylim=(0, 1.02), xlabel=labels[name][0], ylabel=labels[name][1])
            axes.grid(visible=True, alpha=0.3)
            axes.legend(loc="lower right", frameon=False)
        metadata: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {}
        sheet.savefig(file, metadata=metadata)


def draw_band(axes: Axes, curve: Band, label: str, *, step: bool, colour: str | None = None) -> None:
    """One curve with its interval; in steps where only its vertices can be attained (FROC)."""
    if step:
        (line,) = axes.step(curve.x, curve.value, where="post", label=label, color=colour)
    else:
        (line,) = axes.plot(curve.x, curve.value, label=label, color=colour)
    within: Literal["post"] | None = "post" if step else None
    axes.fill_between(curve.x, curve.low, curve.high, step=within, alpha=0.15, color=line.get_color(), linewidth=0)
