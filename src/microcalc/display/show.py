"""A mammogram with its findings on matplotlib axes, for notebooks and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from microcalc.detection.result import Result
from microcalc.display.grey import whole_grey
from microcalc.display.overlay import FINDING
from microcalc.domain import Mammogram
from microcalc.errors import InputError
from microcalc.extras import require_modules

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def show(mammogram: Mammogram, result: Result | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw a mammogram with its findings outlined and their calcifications marked.

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
    colour = np.array(FINDING) / 255
    for finding in () if result is None else result.findings:
        if finding.outline:
            row, column = np.array(finding.outline).T
            ax.plot(column, row, color=colour, linewidth=1.5)
        marks = np.array([(mark.row, mark.column) for mark in finding.calcifications])
        ax.plot(marks[:, 1], marks[:, 0], "o", markersize=6, markerfacecolor="none", color=colour, markeredgewidth=0.6)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax
