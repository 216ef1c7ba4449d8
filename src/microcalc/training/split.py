"""Split a table into train and validation by patient, never by image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from microcalc.datasets.table import Table

_VALIDATION_SHARE = 0.2
_DRAWS = 200


def split_by_patient(table: Table, *, seed: int) -> Table:
    """Return the table as it is if an image has a split, else with its patients split 80 : 20 at random.

    Splits are drawn until train has a microcalcification and validation has a cluster. Where no draw of many has
    both, the first draw is returned.
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
    n_validation = max(1, round(_VALIDATION_SHARE * len(patients)))
    validation = {patients[i] for i in shuffled[:n_validation]}
    images = tuple(
        replace(i, split="validation" if i.patient_or_image in validation else "train") for i in table.images
    )
    return Table(images, table.annotations)


def _carries(table: Table) -> bool:
    """Return whether the splits have what a training needs: positives in train, a cluster in validation."""
    split_of = {i.image: i.split for i in table.images}
    real = [a for a in table.annotations if a.kind == "microcalcification"]
    return any(split_of[a.image] == "train" for a in real) and any(
        split_of[a.image] == "validation" for a in real if a.cluster
    )
