"""Draw the curves of the study as SVG; the same figures give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from microcalc.evaluation.bootstrap import Estimate
from microcalc.evaluation.reporting.figures import Band, draw_band, new_sheet, save_sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"cascade": "#d55e00", "cnn1": "#56b4e9", "pair": "#0072b2", "log": "#8a8a8a"}
_LEFT_END = 0.0025  # of the linear axis; further left all curves fall steeply
# Okabe and Ito's, which the colour-blind can tell apart.
_OTHER_COLOURS = ("#009e73", "#cc79a7", "#e69f00", "#000000")


def draw_roc_curves(file: Path, groups: Mapping[str, Mapping[str, Band]], words: Mapping[str, str]) -> None:
    """Draw ROC curves in a column for each group: FPF on a logarithmic axis, and below from 0 to 0.1 on a linear one.

    The vertical axis of the linear panels begins below the lowest method except the LoG filter (``log``), which may
    lie outside.

    Parameters
    ----------
    file
        SVG or PNG file, by its suffix.
    groups
        Bands by group and method.
    words
        Names of groups and methods for the legend.
    """
    sheet = new_sheet(4.4 * len(groups), 8.0)
    lowest = _lowest_shown(groups.values())
    for i, (name, bands) in enumerate(groups.items()):
        above, below = (sheet.add_subplot(2, len(groups), row * len(groups) + i + 1) for row in (0, 1))
        for axes in (above, below):
            _draw_methods(axes, bands, words, step=False)
            axes.set(ylim=(0, 1.01), xlabel="false positive fraction", ylabel="sensitivity")
        above.set(xscale="log", xlim=(1e-6, 1), title=words.get(name, name))
        below.set(xlim=(0, 0.1), ylim=(lowest, 1.005))
    _legend(sheet)
    save_sheet(sheet, file)


def draw_froc_curves(file: Path, panels: Mapping[str, Mapping[str, Band]], words: Mapping[str, str]) -> None:
    """Draw FROC curves in a panel for each kind of lesion (microcalcifications, clusters)."""
    sheet = new_sheet(5.5 * len(panels), 4.2)
    for i, (lesions, bands) in enumerate(panels.items()):
        axes = sheet.add_subplot(1, len(panels), i + 1)
        _draw_methods(axes, bands, words, step=True)
        false = "false marks" if lesions == "microcalcifications" else f"false {lesions}"
        axes.set(xscale="log", ylim=(0, 1.01), xlabel=f"{false} per image", ylabel=f"sensitivity, {lesions}")
    _legend(sheet)
    save_sheet(sheet, file)


def draw_means(
    file: Path, panels: Mapping[str, Mapping[str, Mapping[str, Estimate]]], words: Mapping[str, str]
) -> None:
    """Draw mean sensitivities with intervals: a row for each group, a point for each method.

    Parameters
    ----------
    panels
        Estimates by title of the panel, group and method.
    """
    sheet = new_sheet(5.2 * len(panels), 4.0)
    for i, (title, groups) in enumerate(panels.items()):
        axes = sheet.add_subplot(1, len(panels), i + 1)
        methods = list(next(iter(groups.values())))
        for method, colour in _colours(methods).items():
            shift = 0.14 * (methods.index(method) - (len(methods) - 1) / 2)
            estimates = [of_group[method] for of_group in groups.values()]
            rows = [row + shift for row in range(len(groups))]
            axes.hlines(rows, [e.low for e in estimates], [e.high for e in estimates], color=colour)
            axes.plot([e.value for e in estimates], rows, "o", color=colour, label=words.get(method, method))
        axes.set_yticks(range(len(groups)), [words.get(g, g) for g in groups])
        axes.invert_yaxis()
        axes.set(title=title, xlabel="mean sensitivity (95 % interval)")
        axes.grid(visible=True, axis="x", alpha=0.3)
    _legend(sheet)
    save_sheet(sheet, file)


def _draw_methods(axes: Axes, bands: Mapping[str, Band], words: Mapping[str, str], *, step: bool) -> None:
    for method, colour in _colours(list(bands)).items():
        draw_band(axes, bands[method], words.get(method, method), step=step, colour=colour)
    axes.grid(visible=True, alpha=0.3)


def _lowest_shown(groups: Iterable[Mapping[str, Band]]) -> float:
    """Return where the vertical axis of the linear panels begins, in steps of 0.05."""
    lows = [
        band.low[(band.x >= _LEFT_END) & np.isfinite(band.low)]
        for bands in groups
        for method, band in bands.items()
        if method != "log" or len(bands) == 1
    ]
    lowest = min((float(low.min()) for low in lows if low.size), default=0.0)
    return min(math.floor(lowest * 20) / 20, 0.95)


def _legend(sheet: Figure) -> None:
    """Draw one legend for all panels, below them."""
    lines, labels = sheet.axes[0].get_legend_handles_labels()
    sheet.legend(lines, labels, loc="outside lower center", ncols=len(labels), frameon=False)


def _colours(methods: Sequence[str]) -> dict[str, str]:
    """Return the colours of the methods; those of the comparison always have the same ones."""
    others = [m for m in methods if m not in _COLOURS]
    return {m: _COLOURS[m] if m in _COLOURS else _OTHER_COLOURS[others.index(m) % len(_OTHER_COLOURS)] for m in methods}
