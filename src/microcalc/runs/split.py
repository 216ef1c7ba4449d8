"""Splits by patient, never by image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from microcalc.datasets.table import Table

_TUNE_SHARE = 0.2


def split_by_patient(table: Table, *, seed: int) -> Table:
    """The table with a split for every image: as it says, or where it says nothing 80 : 20 into train and tune."""
    if any(i.split for i in table.images):
        return table
    patients = sorted({i.patient_or_image for i in table.images})
    shuffled = np.random.default_rng(seed).permutation(len(patients))
    n_tune = max(1, round(_TUNE_SHARE * len(patients)))
    tune = {patients[i] for i in shuffled[:n_tune]}
    images = tuple(replace(i, split="tune" if i.patient_or_image in tune else "train") for i in table.images)
    return Table(images, table.annotations)
