"""Splits by patient, never by image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from microcalc.datasets.table import Table

_TUNE_SHARE = 0.2
_DRAWS = 200


def split_by_patient(table: Table, *, seed: int) -> Table:
    """Return the table with a split for every image: as it says, or where it says nothing 80 : 20 into train and tune.

    The first draw of the seed that leaves microcalcifications to train and a cluster to tune is taken; where none
    of many does, the first.
    """
    if any(i.split for i in table.images):
        return table
    rng = np.random.default_rng(seed)
    drawn = [_drawn(table, rng)]
    while not _carries(drawn[-1]) and len(drawn) < _DRAWS:
        drawn.append(_drawn(table, rng))
    return drawn[-1] if _carries(drawn[-1]) else drawn[0]


def _drawn(table: Table, rng: np.random.Generator) -> Table:
    patients = sorted({i.patient_or_image for i in table.images})
    shuffled = rng.permutation(len(patients))
    n_tune = max(1, round(_TUNE_SHARE * len(patients)))
    tune = {patients[i] for i in shuffled[:n_tune]}
    images = tuple(replace(i, split="tune" if i.patient_or_image in tune else "train") for i in table.images)
    return Table(images, table.annotations)


def _carries(table: Table) -> bool:
    """Return whether a training can stand on the splits: positives to learn from, clusters to choose thresholds on."""
    split_of = {i.image: i.split for i in table.images}
    real = [a for a in table.annotations if a.kind == "microcalcification"]
    return any(split_of[a.image] == "train" for a in real) and any(
        split_of[a.image] == "tune" for a in real if a.cluster
    )
