"""Split a table into train and validation by patient, never by image."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from microcalc.datasets.table import Split, Table
from microcalc.errors import InputError

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
    patient_of = {i.image: i.patient_or_image for i in table.images}
    with_positives = {patient_of[image] for image in table.images_with("microcalcification")}
    with_clusters = {patient_of[image] for image in table.images_with("microcalcification", in_cluster=True)}
    patients = sorted(set(patient_of.values()))
    n_validation = max(1, round(_VALIDATION_SHARE * len(patients)))
    draws = ({patients[i] for i in rng.permutation(len(patients))[:n_validation]} for _ in range(_DRAWS))
    first = next(draws)
    carrying = (v for v in chain([first], draws) if with_positives - v and with_clusters & v)
    validation = next(carrying, first)
    images = (replace(i, split="validation" if i.patient_or_image in validation else "train") for i in table.images)
    return Table(tuple(images), table.annotations)


def folds_of_patients(table: Table, *, folds: int, seed: int) -> tuple[frozenset[str], ...]:
    """Return the patients of each fold; folds differ by one patient at most, and each patient is in one.

    Raises
    ------
    InputError
        There are fewer patients than folds, or fewer than three folds: train, validation and test need one each.
    """
    patients = sorted({i.patient_or_image for i in table.images})
    if not 3 <= folds <= len(patients):
        raise InputError(f"{folds} folds of {len(patients)} patients, expected 3 folds or more, and a patient for each")
    shuffled = [patients[i] for i in np.random.default_rng(seed).permutation(len(patients))]
    return tuple(frozenset(shuffled[fold::folds]) for fold in range(folds))


def split_by_fold(table: Table, folds: Sequence[frozenset[str]], *, test: int) -> Table:
    """Return the table with the patients of one fold as test, of the next as validation, of the others as train.

    Images of patients in no fold are left out.
    """
    named: dict[str, Split] = dict.fromkeys(folds[test], "test")
    named |= dict.fromkeys(folds[(test + 1) % len(folds)], "validation")
    judged = frozenset[str]().union(*folds)
    images = (
        replace(i, split=named.get(i.patient_or_image, "train")) for i in table.images if i.patient_or_image in judged
    )
    return table.of_images(images)


def halves_of_split(table: Table, first: Collection[str]) -> tuple[frozenset[str], ...]:
    """Return two halves of the patients of a split: those named, and all others.

    Parameters
    ----------
    first
        Patients of the first half, all of one split; an image without a patient is named by itself.

    Raises
    ------
    InputError
        A name is no patient of the table, the named ones are not of one split, or they are all of it.
    """
    split_of = {i.patient or i.image: i.split for i in table.images}
    if unknown := sorted(set(first) - set(split_of)):
        raise InputError(f"{', '.join(unknown)}: expected patients of the table, or images without a patient")
    splits = sorted({split_of[name] for name in first})
    if len(splits) != 1 or not splits[0]:
        raise InputError(f"half of the patients: of the splits {', '.join(s or 'none' for s in splits)}, expected one")
    named = {i.patient_or_image for i in table.images if (i.patient or i.image) in first}
    others = {i.patient_or_image for i in table.of_split(splits[0]).images} - named
    if not others:
        raise InputError(f"half of the patients: all of the split {splits[0]}, expected some of it")
    return frozenset(named), frozenset(others)


def split_by_half(table: Table, halves: Sequence[frozenset[str]], *, test: int) -> Table:
    """Return the table with one half as test and the other half in train; all other images keep their split.

    Images that are in no split are left out: they may show a patient of another split.
    """
    named: dict[str, Split] = dict.fromkeys(halves[test], "test")
    named |= dict.fromkeys(halves[1 - test], "train")
    images = (replace(i, split=named.get(i.patient_or_image, i.split)) for i in table.images if i.split)
    return table.of_images(images)
