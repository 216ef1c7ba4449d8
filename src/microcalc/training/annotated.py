"""Prepare the annotations of a training: visibility, clusters, positions inside the images, and splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table, check_places
from microcalc.datasets.twins import is_twin
from microcalc.detection.clusters import group
from microcalc.domain import Candidates
from microcalc.errors import InputError
from microcalc.sample.store import stored_size
from microcalc.storage.key import key_of_lists
from microcalc.training.recipe import Clusters

_NAMED = 8  # patients in a message
_CLUSTERS_IN: Final[Split] = "validation"


def ignore_invisible(table: Table, *, min_d_prime: float) -> Table:
    """Return the table with every annotation of a lower d' than ``min_d_prime`` as ``unsure``.

    A microcalcification that cannot be seen teaches nothing: it is neither positive nor negative.
    """
    if all(_is_visible(a, min_d_prime) for a in table.annotations):
        return table
    rows = (a if _is_visible(a, min_d_prime) else replace(a, kind="unsure") for a in table.annotations)
    return Table(table.images, tuple(rows))


def _is_visible(annotation: AnnotationRow, min_d_prime: float) -> bool:
    return annotation.d_prime is None or annotation.d_prime >= min_d_prime


def with_clusters(table: Table, rules: Clusters, *, min_d_prime: float) -> Table:
    """Return the table with its microcalcifications grouped into clusters, unless it names a cluster itself.

    The rules are those of the recipe's findings: neighbours lie at most ``max_gap_mm`` apart, and at least
    ``min_members`` of them on ``max_area_cm2``. In a table that names some clusters, all other microcalcifications
    are single ones.

    Parameters
    ----------
    min_d_prime
        Microcalcifications of a lower d' are not members of clusters.
    """
    if table.images_with("microcalcification", in_cluster=True):
        return table
    visible: dict[str, list[tuple[int, float, float]]] = {}
    for number, a in enumerate(table.annotations):
        if a.kind == "microcalcification" and _is_visible(a, min_d_prime):
            visible.setdefault(a.image, []).append((number, a.row, a.column))
    limits = rules.rules(min_likelihood=0.5, member_likelihood=0.5).model_dump()
    named: dict[int, str] = {}
    for image in table.images:
        own = visible.get(image.image, [])
        centres = image.grid.to_mm(np.array([place for _, *place in own], dtype=np.float64).reshape(-1, 2))
        clusters = group(Candidates(centres, np.full(len(own), 0.9)), **limits)
        for name, cluster in enumerate(sorted(clusters, key=lambda c: int(c.members.min())), 1):
            named |= {own[member][0]: f"c{name}" for member in cluster.members.tolist()}
    rows = (replace(a, cluster=named[n]) if n in named else a for n, a in enumerate(table.annotations))
    return Table(table.images, tuple(rows))


def without_twins(table: Table, split: Split) -> Table:
    """Return the table without the twins of a split.

    Twins are made to learn from. Their clusters have lost half of their members, so thresholds chosen on them would be
    those of clusters that nobody has.
    """
    return table.of_images(i for i in table.images if i.split != split or not is_twin(i))


def key_of_table(table: Table) -> str:
    """Return a key of a table from ``with_hashes``: of its lines and the bytes of its images, not of their paths.

    The terms of use are no part of it, since nothing that is computed depends on them.
    """
    images = (
        {name: value for name, value in {**asdict(i), "file": ""}.items() if name not in ("source", "licence")}
        for i in table.images
    )
    annotations = (
        {**asdict(a), "where": "", "id": "", "when": "", "row": float(a.row), "column": float(a.column)}
        for a in table.annotations
    )
    return key_of_lists(images, annotations)


def check_inside(table: Table, file_of: Callable[[ImageRow], Path]) -> None:
    """Refuse annotations outside their images, also where the table does not state the sizes of the images.

    Parameters
    ----------
    file_of
        Function that returns the normalised file of an image; its size in mm is that of the image to within two
        pixels.

    Raises
    ------
    TableError
        An annotation lies outside its image; the message names the first and its line, and the number of others.
    """
    check_places(Table(tuple(_sized(row, file_of(row)) for row in table.images), table.annotations))


def _sized(row: ImageRow, file: Path) -> ImageRow:
    shape, spacing_mm = stored_size(file)
    rows, columns = (ceil((n + 1) * spacing_mm / s) for n, s in zip(shape, row.spacing_mm, strict=True))
    return replace(row, rows=rows, columns=columns) if row.shape is None else row


def check_splits_carry(table: Table, *, positives_in: Sequence[Split]) -> None:
    """Refuse, before any work, splits that lack what a training needs, and name patients that have it.

    Parameters
    ----------
    table
        Table with invisible annotations as ``unsure``, and with clusters.
    positives_in
        Splits that need a microcalcification; the validation split needs a cluster as well, to choose thresholds on.

    Raises
    ------
    InputError
        A split has no image, or lacks what it needs.
    """
    needed = tuple(dict.fromkeys((*positives_in, _CLUSTERS_IN)))
    for split in needed:
        if not any(i.split == split for i in table.images):
            raise InputError(
                f"no image in split {split}, expected some in each of {', '.join(needed)}, "
                "with no patient in two splits"
            )
    for split in positives_in:
        _check(table, split, "annotated microcalcification", "", table.images_with("microcalcification"))
    clustered = table.images_with("microcalcification", in_cluster=True)
    _check(table, _CLUSTERS_IN, "annotated cluster", " to choose thresholds on", clustered)


def _check(table: Table, split: Split, what: str, purpose: str, fitting: set[str]) -> None:
    split_of = {i.image: i.split for i in table.images}
    if any(split_of.get(image) == split for image in fitting):
        return
    elsewhere = {i.patient_or_image: i.split for i in table.images if i.image in fitting}
    raise InputError(f"no {what} in split {split}, expected one{purpose}: {_who(elsewhere.items(), what)}")


def _who(patients: Iterable[tuple[str, str]], what: str) -> str:
    listed = [f"{patient} (in {split or 'no split'})" for patient, split in sorted(patients)]
    if not listed:
        return f"no patient of the table has one (kind microcalcification{', grouped' * ('cluster' in what)})"
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return f"patients that have one: {', '.join(listed[:_NAMED])}{more}"
