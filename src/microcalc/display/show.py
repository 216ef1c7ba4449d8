"""A mammogram with its findings on matplotlib axes, for notebooks and figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from microcalc.detection.result import Calcification, Result
from microcalc.display.grey import whole_grey
from microcalc.display.places import FINDING, SET_APART, SINGLE, Colour
from microcalc.domain import Mammogram
from microcalc.errors import InputError
from microcalc.extras import require_modules

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show(mammogram: Mammogram, result: Result | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw a mammogram with the outlines of its findings and calcifications.

    A calcification without an outline is a circle; single calcifications have a colour of their own.

    Parameters
    ----------
    mammogram
        As ``read`` returns it. Grey levels follow the header's window; without one they follow the pixel values.
    result
        What ``detect`` found in it; None: the mammogram alone.
    ax
        The axes to draw on; None: those of a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        In pixels of the original image: x is the column, y the row. Set its limits to enlarge a part.

    Raises
    ------
    InputError
        The result is of an image of another size.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> mammogram = microcalc.read("view.dcm")
    >>> axes = microcalc.show(mammogram, microcalc.detect(mammogram))
    >>> axes.figure.savefig("view.png")
    """
    require_modules("matplotlib")
    if result is not None and result.image.shape not in (None, mammogram.pixels.shape):
        found, expected = result.image.shape, mammogram.pixels.shape
        raise InputError(f"a result of an image of {found} pixels (rows, columns), expected one of {expected} pixels")
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots()[1]
    rows_mm, columns_mm = mammogram.spacing_mm
    ax.imshow(whole_grey(mammogram), cmap="gray", vmin=0, vmax=255, aspect=rows_mm / columns_mm)
    if result is not None:
        for finding in result.findings:
            colour = SET_APART if finding.apart else FINDING
            if finding.outline:
                row, column = np.array(finding.outline).T
                ax.plot(column, row, color=_rgb(colour), linewidth=1.5)
            _draw(ax, finding.calcifications, colour)
        _draw(ax, result.singles, SINGLE)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def _draw(ax: Axes, calcifications: Iterable[Calcification], colour: Colour) -> None:
    """Draw outlines, and circles of one size on the screen where there is none."""
    for mark in calcifications:
        if mark.outline:
            row, column = np.array(mark.outline).T
            ax.plot(column, row, color=_rgb(colour), linewidth=0.6)
        else:
            ax.plot(
                mark.column,
                mark.row,
                "o",
                markersize=6,
                markerfacecolor="none",
                color=_rgb(colour),
                markeredgewidth=0.6,
            )


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255
