"""Twins: an image with inserted microcalcifications once more, without a random half of them.

Where one is left out, the same patch exists with and without the microcalcification at its centre: same background,
same neighbours, same processing and compression. Such pairs teach a network that calcium nearby is no evidence of
calcium here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from microcalc.datasets.table import AnnotationRow, ImageRow

LEFT_OUT: Final = "left out"
"""The judge of a place without calcium in a twin, where the other image of the pair has a microcalcification."""
TWIN: Final = "twin"
"""The tag of a twin in the table, and the end of its name."""


def is_twin(image: ImageRow) -> bool:
    """Return whether an image of a table is a twin."""
    return TWIN in image.tags.split()


def draw_left_out(clusters: Sequence[str], rng: np.random.Generator) -> frozenset[int]:
    """Return the indices of the microcalcifications that a twin leaves out.

    Parameters
    ----------
    clusters
        Name of the cluster of each microcalcification; empty for a single one.

    Returns
    -------
    frozenset
        Half of the members of each cluster, and half of the single ones, both rounded down.
    """
    chosen: list[int] = []
    for name in dict.fromkeys(clusters):
        members = [i for i, cluster in enumerate(clusters) if cluster == name]
        chosen += rng.permutation(members)[: len(members) // 2].tolist()
    return frozenset(chosen)


def as_left_out(annotation: AnnotationRow) -> AnnotationRow:
    """Return what a twin says of the place of a microcalcification that it lacks.

    The place has no d', since there is nothing to detect, and belongs to no cluster.
    """
    return replace(annotation, kind="no_calcium", judge=LEFT_OUT, cluster="", outline=(), d_prime=None)
