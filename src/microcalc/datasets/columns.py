"""Annotations as columns, from which rows are made when they are asked for: 10^8 of them are a few gigabytes.

A text column holds each distinct text once, and a code of one to four bytes per annotation; a column of one value takes
no room. The annotations of an image are found by an index that is sorted by image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self, cast, get_args, overload

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.lines import outline_of
from microcalc.datasets.table import MARGIN_PX, AnnotationRow, AnnotationRows
from microcalc.domain import Kind
from microcalc.geometry import outside

TEXTS: Final = ("image", "kind", "cluster", "outline", "judge", "morphology", "id", "when")
NUMBERS: Final = ("row", "column", "diameter_mm", "d_prime")
"""Columns of numbers; a d_prime that is not known is NaN."""
BLOCK: Final = 65_536
"""How many annotations are worked on at once."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_Codes = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False, slots=True)
class Words:
    """A column of texts: the distinct ones, and for each annotation the index of its own."""

    values: list[str]
    codes: _Codes


@dataclass(frozen=True, eq=False, slots=True)
class ImageFacts:
    """What is known of the annotations of each of n images without their rows.

    Attributes
    ----------
    counts
        (n,) numbers of annotations.
    lowest, highest
        (n, 2) the smallest and the largest row and column; 0 of an image without annotations.
    kinds, kinds_in_cluster
        (n, kinds) whether there is an annotation of each of ``KINDS``, and one that has a cluster.
    """

    counts: NDArray[np.int64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    kinds: NDArray[np.bool_]
    kinds_in_cluster: NDArray[np.bool_]

    @classmethod
    def of_none(cls, images: int) -> Self:
        """Return the facts of images that have no annotations."""
        shape = (images, len(KINDS))
        return cls(
            counts=np.zeros(images, dtype=np.int64),
            lowest=np.zeros((images, 2)),
            highest=np.zeros((images, 2)),
            kinds=np.zeros(shape, dtype=bool),
            kinds_in_cluster=np.zeros(shape, dtype=bool),
        )

    def put(self, images: NDArray[np.intp], facts: ImageFacts) -> None:
        """Put the facts of some images in their places."""
        for field in fields(self):
            getattr(self, field.name)[images] = getattr(facts, field.name)


class AnnotationColumns(AnnotationRows):
    """Annotations in the order of their table.

    Parameters
    ----------
    texts, numbers
        Columns of ``TEXTS`` and ``NUMBERS``, all of one length.
    lines
        Number of each annotation's line in its file.
    where
        Function that returns what messages call the place of a line, by its number.
    """

    def __init__(
        self,
        texts: Mapping[str, Words],
        numbers: Mapping[str, NDArray[np.float64]],
        lines: NDArray[np.uint32],
        where: Callable[[int], str],
    ) -> None:
        self._texts, self._numbers, self._lines, self._where = texts, numbers, lines, where
        images = texts["image"]
        self._code_of = {image: code for code, image in enumerate(images.values)}
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(images.codes, minlength=len(images.values)))])
        is_sorted = not (images.codes[1:] < images.codes[:-1]).any()
        self._order = None if is_sorted else np.argsort(images.codes, kind="stable").astype(np.uint32)

    @property
    def images(self) -> Collection[str]:
        """Return the names of the images that have annotations, in the order of their first ones."""
        return self._code_of.keys()

    @property
    def is_grouped(self) -> bool:
        """Return whether the annotations of each image stand together."""
        return self._order is None

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> AnnotationRow: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[AnnotationRow, ...]: ...

    def __getitem__(self, index: int | slice) -> AnnotationRow | tuple[AnnotationRow, ...]:
        """Return one row, or several as a tuple."""
        if isinstance(index, slice):
            return self._rows(np.arange(len(self))[index])
        return self._rows(np.array([range(len(self))[index]]))[0]

    def __iter__(self) -> Iterator[AnnotationRow]:
        for start in range(0, len(self), BLOCK):
            yield from self._rows(np.arange(start, min(start + BLOCK, len(self))))

    def __repr__(self) -> str:
        return f"<{len(self)} annotations of {len(self._code_of)} images>"

    def of_image(self, image: str) -> tuple[AnnotationRow, ...]:
        """Return the annotations of one image, in the order of the table."""
        code = self._code_of.get(image)
        return () if code is None else self._rows(self._by_image(code, code + 1))

    def of_images(self, images: Collection[str]) -> Self:
        """Return the annotations of some images."""
        wanted = np.array([image in images for image in self._code_of], dtype=bool)
        chosen = wanted[self._texts["image"].codes]
        return type(self)(
            {name: Words(words.values, _taken(words.codes, chosen)) for name, words in self._texts.items()},
            {name: _taken(numbers, chosen) for name, numbers in self._numbers.items()},
            self._lines[chosen],
            self._where,
        )

    def images_with(self, kind: Kind, *, in_cluster: bool = False) -> set[str]:
        """Return the names of the images with an annotation of a kind; ``in_cluster``: with one that has a cluster."""
        chosen = np.zeros(len(self._code_of), dtype=bool)
        for start in range(0, len(self), BLOCK):
            block = slice(start, start + BLOCK)
            fits = self._is("kind", block, kind)
            if in_cluster:
                fits &= ~self._is("cluster", block, "")
            chosen[self._texts["image"].codes[block][fits]] = True
        return {image for image, is_chosen in zip(self._code_of, chosen.tolist(), strict=True) if is_chosen}

    def outside(self, sizes: Mapping[str, tuple[int, int]]) -> tuple[AnnotationRow, int] | None:
        """Return the first annotation outside its image and the number of all, or None; ``sizes`` are those known."""
        unknown = (np.inf, np.inf)
        shapes = np.array([sizes.get(image, unknown) for image in self._code_of], dtype=np.float64).reshape(-1, 2)
        known = np.isfinite(shapes[:, 0])
        if not known.any():
            return None
        wrong: list[NDArray[np.intp]] = []
        for start in range(0, len(self), BLOCK):
            codes = self._texts["image"].codes[start : start + BLOCK]
            places = np.stack([self._numbers[name][start : start + BLOCK] for name in ("row", "column")], axis=1)
            beyond = outside(places, shapes[codes], margin_px=MARGIN_PX) & known[codes]
            wrong.append(np.flatnonzero(beyond) + start)
        found = np.concatenate(wrong) if wrong else np.zeros(0, dtype=np.intp)
        return (self[int(found[0])], len(found)) if len(found) else None

    def repeated_place(self) -> tuple[AnnotationRow, AnnotationRow] | None:
        """Return the first annotation that has the image, place and judge of an earlier one, and that one; or None."""
        found: list[tuple[int, int]] = []
        first = 0
        while first < len(self._code_of):
            fitting = int(np.searchsorted(self._starts, self._starts[first] + BLOCK, side="right")) - 1
            last = max(first + 1, fitting)
            found += self._repeated_among(self._by_image(first, last))
            first = last
        if not found:
            return None
        later, earlier = min(found)
        return self[later], self[earlier]

    def _repeated_among(self, indices: NDArray[np.integer[Any]]) -> list[tuple[int, int]]:
        """Return the first of some annotations that is at the place of an earlier one, with that one's index."""
        keys = [
            self._texts["judge"].codes[indices],
            self._numbers["column"][indices],
            self._numbers["row"][indices],
            self._texts["image"].codes[indices],
        ]
        hashes = np.sort(_hashed(keys))
        if not (hashes[1:] == hashes[:-1]).any():
            return []  # in a tenth of the time
        order = np.lexsort(keys)  # of equal ones the earlier comes first
        same = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
        pairs = zip(indices[order[1:][same]].tolist(), indices[order[:-1][same]].tolist(), strict=True)
        return [min(pairs)] if same.any() else []

    def repeated_id(self) -> tuple[AnnotationRow, AnnotationRow] | None:
        """Return the first annotation that has the id of an earlier one, and that one; or None."""
        words = self._texts["id"]
        often = np.bincount(words.codes, minlength=len(words.values)) > 1
        often[[code for code, value in enumerate(words.values) if not value]] = False
        first: dict[int, int] = {}
        for index in np.flatnonzero(often[words.codes]).tolist() if often.any() else []:
            earlier = first.setdefault(int(words.codes[index]), index)
            if earlier != index:
                return self[index], self[earlier]
        return None

    def id_hashes(self) -> NDArray[np.int64]:
        """Return the hashes of all ids, one for each annotation that has one; those of equal texts are equal."""
        words = self._texts["id"]
        hashes = np.array([hash(value) for value in words.values], dtype=np.int64)
        has_id = np.array([bool(value) for value in words.values], dtype=bool)
        return np.asarray(hashes[words.codes[has_id[words.codes]]])

    def facts(self) -> ImageFacts:
        """Return what is known of each image without its rows; the annotations of each stand together."""
        texts, firsts = self._texts, self._starts[:-1]
        places = np.stack([self._numbers["row"], self._numbers["column"]], axis=1)
        number_of = np.array([KINDS.index(cast(Kind, value)) for value in texts["kind"].values], dtype=np.intp)
        facts = ImageFacts.of_none(len(firsts))
        if len(self):
            facts.counts[:] = np.diff(self._starts)
            annotated = np.flatnonzero(facts.counts)
            facts.lowest[annotated] = np.minimum.reduceat(places, firsts[annotated])
            facts.highest[annotated] = np.maximum.reduceat(places, firsts[annotated])
            images, kinds = texts["image"].codes, number_of[texts["kind"].codes]
            in_cluster = ~self._is("cluster", slice(None), "")
            facts.kinds[images, kinds] = True
            facts.kinds_in_cluster[images[in_cluster], kinds[in_cluster]] = True
        return facts

    def _by_image(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        """Return the indices of the annotations of images from one code up to another."""
        start, end = int(self._starts[first]), int(self._starts[last])
        return np.arange(start, end) if self._order is None else self._order[start:end]

    def _is(self, name: str, block: slice, value: str) -> NDArray[np.bool_]:
        """Return where a column of texts has a value."""
        words = self._texts[name]
        code = words.values.index(value) if value in words.values else -1
        return np.asarray(words.codes[block] == code)

    def _rows(self, indices: NDArray[np.integer[Any]]) -> tuple[AnnotationRow, ...]:
        texts = {n: [words.values[code] for code in words.codes[indices].tolist()] for n, words in self._texts.items()}
        numbers = {name: numbers[indices].tolist() for name, numbers in self._numbers.items()}
        wheres = [self._where(line) for line in self._lines[indices].tolist()]
        return tuple(
            AnnotationRow(
                image=texts["image"][n],
                row=numbers["row"][n],
                column=numbers["column"][n],
                diameter_mm=numbers["diameter_mm"][n],
                kind=cast(Kind, texts["kind"][n]),
                cluster=texts["cluster"][n],
                outline=outline_of(texts["outline"][n], where) if texts["outline"][n] else (),
                d_prime=None if math.isnan(numbers["d_prime"][n]) else numbers["d_prime"][n],
                judge=texts["judge"][n],
                morphology=texts["morphology"][n],
                id=texts["id"][n],
                when=texts["when"][n],
                where=where,
            )
            for n, where in enumerate(wheres)
        )


def _hashed(keys: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    """Return a hash of the values at each index; where all values are equal the hashes are, too."""
    hashes = np.zeros(len(keys[0]), dtype=np.uint64)
    for key in keys:
        bits = (key + 0.0).view(np.uint64)  # 0.0 for -0.0, which is equal to it
        hashes = (hashes ^ bits) * np.uint64(0x9E3779B97F4A7C15)  # an odd number, so that no bit is lost
        hashes ^= hashes >> np.uint64(32)
    return hashes


def _taken(column: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the chosen part of a column; one of a single value stays without room of its own."""
    if len(column) and column.strides == (0,):
        return np.broadcast_to(column[0].copy(), (int(np.count_nonzero(chosen)),))
    return np.asarray(column[chosen])
