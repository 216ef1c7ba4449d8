"""Free-response ROC (FROC): sensitivity against the number of false marks.

LLF (lesion localisation fraction) is the fraction of lesions that were marked; NLF (non-lesion localisation fraction)
is the number of false marks *per image*, which may exceed one.

References
----------
D. P. Chakraborty, *Observer Performance Methods for Diagnostic Imaging*, CRC Press 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from microcalc.evaluation.bootstrap import Metric
from microcalc.evaluation.curves import Values, step_at


@dataclass(frozen=True, eq=False, slots=True)
class FrocCurve:
    """The operating points of every distinct rating, from the highest threshold to the lowest.

    Attributes
    ----------
    threshold
        (v,) +inf (no mark is shown), then each distinct rating; marks with at least this rating are shown.
    nlf
        (v,) false marks per image, or per cm².
    llf
        (v,) fraction of lesions hit.
    """

    threshold: Values
    nlf: Values
    llf: Values


def froc_curve(lesion_rating: ArrayLike, nl_rating: ArrayLike, n_images: float) -> FrocCurve:
    """Return the exact FROC curve, with one point for each distinct rating.

    Parameters
    ----------
    lesion_rating
        (n,) rating of the mark that hit each lesion; -inf where it was missed.
    nl_rating
        (m,) ratings of false marks.
    n_images
        Number of images, with or without marks; or the breast area in cm², for false marks per cm².

    Raises
    ------
    ValueError
        There is no lesion or no image, or a rating is not a number.
    """
    lesions = np.asarray(lesion_rating, dtype=np.float64).reshape(-1)
    false = np.asarray(nl_rating, dtype=np.float64).reshape(-1)
    if lesions.size == 0 or not n_images > 0:
        raise ValueError(f"{lesions.size} lesions on {n_images} images, expected at least one of each")
    if not np.isfinite(false).all() or np.isnan(lesions).any() or np.isposinf(lesions).any():
        raise ValueError("a rating is NaN or infinite, expected finite ratings (-inf: a missed lesion)")
    ratings = np.unique(np.concatenate([lesions[np.isfinite(lesions)], false]))[::-1]
    threshold = np.concatenate([[np.inf], ratings])
    return FrocCurve(threshold, _at_least(false, threshold) / n_images, _at_least(lesions, threshold) / lesions.size)


def sensitivity_metrics(nlf: Sequence[float], unit: str) -> dict[str, Metric]:
    """Return metrics for the bootstrap with names such as ``sensitivity at 1 false marks per image``."""
    return {f"sensitivity at {value:g} {unit}": partial(step_at, at=value) for value in nlf}


def _at_least(ratings: Values, threshold: Values) -> Values:
    """Return the number of ratings (v,) that reach each threshold."""
    ordered = np.sort(ratings)
    return (ordered.size - np.searchsorted(ordered, threshold, side="left")).astype(np.float64)
