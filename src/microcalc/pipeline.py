"""The method on one page: normalise, rate, pick candidates, outline them, group them, and state what was found."""

from __future__ import annotations

from functools import cache

from microcalc.detection.make_result import make_result
from microcalc.detection.options import check_options
from microcalc.detection.result import Result
from microcalc.detection.stages import find_clusters
from microcalc.domain import BenignFindings, Mammogram
from microcalc.models.model import Model, Models
from microcalc.normalise.mammogram import normalise


def detect(
    mammogram: Mammogram,
    model: Model | None = None,
    *,
    whole_image: bool = False,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
    benign: BenignFindings = "show",
) -> Result:
    """Find clusters of microcalcifications in one mammogram.

    Parameters
    ----------
    mammogram
        As ``read`` returns it.
    model
        As ``load_model`` returns it; None: the shipped one for the mammogram's intent.
    whole_image
        Whether every pixel is searched, and not only the breast: for crops and specimens.
    min_likelihood
        Least likelihood of a candidate, in [0, 1]; None: the model's.
    max_candidates
        Largest number of candidates; None: the model's.
    benign
        ``show``: findings of vascular, coarse, rod-like, rim or skin calcifications are like all others; ``apart``:
        they are marked to be shown apart. They are findings in both cases.

    Returns
    -------
    Result
        Candidates, clusters and findings; positions are in pixels of the original image.

    Raises
    ------
    NoBreastError
        The breast cannot be told from the background.
    InputError
        The model is for images of the other intent, or an option is out of its range.

    Examples
    --------
    >>> mammogram = microcalc.read("view.dcm")
    >>> result = microcalc.detect(mammogram)
    >>> len(result.findings)
    1
    >>> result.operating_point.nlf  # false clusters per image, on the validation set of the model
    0.1875
    """
    check_options(min_likelihood=min_likelihood, max_candidates=max_candidates, benign=benign)
    if model is None:
        model = shipped_models().of(mammogram.intent)
    model.check_intent(mammogram.intent)
    normalised = normalise(mammogram, spacing_mm=model.spacing_mm, whole_image=whole_image)
    scores = model.scorer.score(normalised)
    detected = find_clusters(
        mammogram, normalised, scores, model, min_likelihood=min_likelihood, max_candidates=max_candidates
    )
    return make_result(mammogram, detected, model, breast_area_cm2=normalised.breast_area_cm2, benign=benign)


@cache
def shipped_models() -> Models:
    """Return the shipped models; each is loaded once in a process."""
    return Models()
