"""The options of a call that detection cannot use, refused before any work."""

from __future__ import annotations

from typing import get_args

import numpy as np

from microcalc.domain import BenignFindings
from microcalc.errors import InputError


def check_options(*, min_likelihood: float | None, max_candidates: int | None, benign: BenignFindings) -> None:
    """Refuse values that no image can be searched with; see ``pipeline.detect``.

    Raises
    ------
    InputError
        A likelihood outside [0, 1], a number of candidates below 1, or an unknown word.
    """
    if min_likelihood is not None and not 0 <= min_likelihood <= 1:
        raise InputError(f"min_likelihood {min_likelihood}, expected a number from 0 to 1")
    if max_candidates is not None and not (isinstance(max_candidates, int | np.integer) and max_candidates >= 1):
        raise InputError(f"max_candidates {max_candidates}, expected a whole number of at least 1")
    if benign not in get_args(BenignFindings):
        raise InputError(f"benign {benign!r}, expected {' or '.join(get_args(BenignFindings))}")
