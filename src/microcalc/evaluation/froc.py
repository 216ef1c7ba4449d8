"""Free-response ROC: how many lesions are found at how many false marks.

LLF is the fraction of lesions that were marked (lesion localisation fraction), NLF the
false marks *per image* (non-lesion localisations), which may exceed one.

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

from microcalc.evaluation.bootstrap import Figure
from microcalc.evaluation.curves import Values, step_at


@dataclass(frozen=True, eq=False, slots=True)
class FrocCurve:
    """The operating points of every distinct rating, strictest first.

    Attributes
    ----------
    threshold
        (v,) +inf (nothing is shown), then each distinct rating: marks rated so or higher are shown.
    nlf
        (v,) false marks per image, or per cm².
    llf
        (v,) fraction of lesions found.
    """

    threshold: Values
    nlf: Values
    llf: Values


def froc_curve(lesion_rating: ArrayLike, nl_rating: ArrayLike, n_images: float) -> FrocCurve:
    """The FROC curve, exact: one point per distinct rating, the loosest included.

    Parameters
    ----------
    lesion_rating
        (n,) rating of the mark that found each lesion, -inf where it was missed.
    nl_rating
        (m,) ratings of false marks.
    n_images
        Number of images, those without marks included; or the area of breast in cm², for
        false marks per cm².

    Raises
    ------
    ValueError
        There is no lesion or no image: the curve is not defined.
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


def sensitivity_figures(nlf: Sequence[float], unit: str) -> dict[str, Figure]:
    """Figures for the bootstrap, named as ``sensitivity at 1 false marks per image``."""
    return {f"sensitivity at {value:g} {unit}": partial(step_at, at=value) for value in nlf}


def _at_least(ratings: Values, threshold: Values) -> Values:
    """(v,) how many ratings reach each threshold."""
    ordered = np.sort(ratings)
    return (ordered.size - np.searchsorted(ordered, threshold, side="left")).astype(np.float64)
