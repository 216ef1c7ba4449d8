"""Annotations that stay in their file, of which a part is read when it is asked for: for tables of 10^8 of them.

In the file they stand in the order of the images, so that each image has one part of the rows. About 100 bytes for each
image are held, and the row groups read last: work that goes through the images in the order of the table reads each
group once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.columns import KINDS, AnnotationColumns, ImageFacts
from microcalc.datasets.read_columns import Chunk
from microcalc.datasets.table import MARGIN_PX, AnnotationRow, AnnotationRows
from microcalc.domain import Kind
from microcalc.errors import TableError
from microcalc.geometry import outside

HELD: Final = 10_000_000
"""How many annotations are held at most: a few hundred megabytes. A Parquet file of more is not read whole."""
LARGEST_GROUP: Final = 4_194_304
"""Rows of the largest row group, which is read whole for any of its rows. Other programs write up to some millions."""
_GROUPS_HELD: Final = 2  # an image may lie in two


class StoredAnnotations(AnnotationRows):
    """Annotations of the images of a table, in their order.

    Parameters
    ----------
    read
        Function that reads parts of the rows: those of an (n, 2) array, from the first to before the last of each.
    groups
        The first row of each row group, and the number of all rows.
    index_of
        The index of each image by its name.
    facts
        What is known of all images.
    chosen
        (images,) whether the annotations of each image are some of these; None: all are.
    """

    def __init__(
        self,
        read: Callable[[NDArray[np.int64]], AnnotationColumns],
        groups: NDArray[np.int64],
        index_of: Mapping[str, int],
        facts: ImageFacts,
        chosen: NDArray[np.bool_] | None = None,
    ) -> None:
        self._read, self._groups, self._index_of, self._facts = read, groups, index_of, facts
        ends = np.cumsum(facts.counts)
        self._parts = np.stack([ends - facts.counts, ends], axis=1)
        self._chosen = facts.counts > 0 if chosen is None else chosen & (facts.counts > 0)
        self._images = np.flatnonzero(self._chosen)
        self._ends = np.cumsum(facts.counts[self._images])  # as if there were no other images
        self._held: dict[int, AnnotationColumns] = {}

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, index: int) -> AnnotationRow: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[AnnotationRow, ...]: ...

    def __getitem__(self, index: int | slice) -> AnnotationRow | tuple[AnnotationRow, ...]:
        """Return one row, or several as a tuple."""
        if isinstance(index, slice):
            return tuple(self[n] for n in range(len(self))[index])
        number = range(len(self))[index]
        of_image = int(np.searchsorted(self._ends, number, side="right"))
        row = int(self._parts[self._images[of_image], 1] - self._ends[of_image]) + number
        return self._rows(row, row + 1)[0]

    def __iter__(self) -> Iterator[AnnotationRow]:
        for first, end in self._parts[self._images].tolist():
            yield from self._rows(first, end)

    def __repr__(self) -> str:
        return f"<{len(self)} annotations of {len(self._images)} images, in their file>"

    def of_image(self, image: str) -> tuple[AnnotationRow, ...]:
        """Return the annotations of one image, in the order of the table."""
        index = self._index_of.get(image)
        return () if index is None or not self._chosen[index] else self._rows(*self._parts[index].tolist())

    def of_images(self, images: Collection[str]) -> AnnotationRows:
        """Return the annotations of some images: read, if they are few enough to be held."""
        wanted = np.zeros(len(self._chosen), dtype=bool)
        wanted[[self._index_of[image] for image in images if image in self._index_of]] = True
        wanted &= self._chosen
        if self._facts.counts[wanted].sum() <= HELD:
            return self._read(self._parts[wanted])
        return StoredAnnotations(self._read, self._groups, self._index_of, self._facts, wanted)

    def images_with(self, kind: Kind, *, in_cluster: bool = False) -> set[str]:
        """Return the names of the images with an annotation of a kind; ``in_cluster``: with one that has a cluster."""
        kinds = self._facts.kinds_in_cluster if in_cluster else self._facts.kinds
        chosen = kinds[:, KINDS.index(kind)] & self._chosen
        return {image for image, is_chosen in zip(self._index_of, chosen.tolist(), strict=True) if is_chosen}

    def outside(self, sizes: Mapping[str, tuple[int, int]]) -> tuple[AnnotationRow, int] | None:
        """Return the first annotation outside its image and the number of all, or None; ``sizes`` are those known."""
        known = [image for image in sizes if image in self._index_of]
        shapes = np.array([sizes[image] for image in known], dtype=np.float64).reshape(-1, 2)
        indices = np.array([self._index_of[image] for image in known], dtype=np.intp)
        extremes = (self._facts.lowest[indices], self._facts.highest[indices])
        are_wrong = np.logical_or.reduce([outside(places, shapes, margin_px=MARGIN_PX) for places in extremes])
        first, count = None, 0
        for index in np.sort(indices[are_wrong & self._chosen[indices]]):
            rows = self._rows(*self._parts[index].tolist())
            places = np.array([(a.row, a.column) for a in rows])
            wrong = np.flatnonzero(outside(places, sizes[rows[0].image], margin_px=MARGIN_PX))
            first, count = first or rows[wrong[0]], count + len(wrong)
        return None if first is None else (first, count)

    def repeated_id(self, hashes: NDArray[np.int64]) -> tuple[AnnotationRow, AnnotationRow] | None:
        """Return the first annotation that has the id of an earlier one, and that one, or None.

        Parameters
        ----------
        hashes
            The hash of each id, in any order.
        """
        hashes = np.sort(hashes)
        alike = frozenset(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        first: dict[str, AnnotationRow] = {}
        for row in self if alike else ():
            if row.id and hash(row.id) in alike and first.setdefault(row.id, row) is not row:
                return row, first[row.id]
        return None

    def _rows(self, first: int, end: int) -> tuple[AnnotationRow, ...]:
        """Return the rows from one number in the file to before another."""
        rows: list[AnnotationRow] = []
        while first < end:
            group = int(np.searchsorted(self._groups, first, side="right")) - 1
            start, after = self._groups[group : group + 2].tolist()
            rows += self._group(group)[first - start : min(end, after) - start]
            first = after
        return tuple(rows)

    def _group(self, number: int) -> AnnotationColumns:
        """Return a row group, which is held until others have been read."""
        group = self._held.get(number)
        if group is None:
            group = self._read(self._groups[None, number : number + 2])
            self._held = dict([*list(self._held.items())[1 - _GROUPS_HELD :], (number, group)])
        return group


def open_stored(
    file: Path,
    index_of: Mapping[str, int],
    *,
    where: str,
    groups: NDArray[np.int64],
    chunks: Callable[..., Iterable[Chunk]],
    read: Callable[[Iterable[Chunk]], AnnotationColumns],
) -> tuple[StoredAnnotations, NDArray[np.int64]] | None:
    """Read annotations once, check them, and leave them in their file.

    Parameters
    ----------
    index_of
        The index of each image of the table by its name.
    where
        What messages call the file.
    groups
        The first row of each row group, and the number of all rows.
    chunks
        Function that yields the annotations: ``parquet.parquet_chunks`` with all but its options.
    read
        Function that makes columns of them, and refuses an image that has two at one place.

    Returns
    -------
    tuple or None
        The annotations, and the hashes of all ids; None where they are not in the order of the images, or in a row
        group of more than ``LARGEST_GROUP``.

    Raises
    ------
    TableError
        The first error of ``chunks`` and ``read``.
    """
    if np.diff(groups).max(initial=0) > LARGEST_GROUP:
        return None
    written = _written(file)
    facts, hashes, last = ImageFacts.of_none(len(index_of)), [np.zeros(0, dtype=np.int64)], -1
    for chunk in chunks(whole_images=True):
        part = read([chunk])
        indices = np.array([last, *(index_of[image] for image in part.images)], dtype=np.intp)
        if not part.is_grouped or (indices[1:] <= indices[:-1]).any():
            return None
        facts.put(indices[1:], part.facts())
        hashes.append(part.id_hashes())
        last = int(indices[-1])
    of_parts = partial(_read_parts, file=file, written=written, where=where, chunks=chunks, read=read)
    return StoredAnnotations(of_parts, groups, index_of, facts), np.concatenate(hashes)


def _read_parts(
    parts: NDArray[np.int64],
    *,
    file: Path,
    written: tuple[int, int] | None,
    where: str,
    chunks: Callable[..., Iterable[Chunk]],
    read: Callable[[Iterable[Chunk]], AnnotationColumns],
) -> AnnotationColumns:
    """Return parts of a file that is still the one that was checked."""
    if _written(file) != written:
        raise TableError(f"{where}: gone or changed since it was opened, expected the same file until the end")
    return read(chunks(only=parts))


def _written(file: Path) -> tuple[int, int] | None:
    """Return the size of a file and when it was written; None where there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
