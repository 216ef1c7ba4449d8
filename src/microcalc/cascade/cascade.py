"""The cascade: nodes of boosted trees, each of which rejects most of what passes the nodes before it.

The place of a sample is the first node that it does not pass, or the last node; its score is that of this
node. Samples are rated by place first, later ones higher, and by score within a place.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.cascade.haar import WINDOW_PX, Features, Ints
from microcalc.errors import InputError
from microcalc.storage.write import writing

Floats = NDArray[np.float32]

SCHEMA: Final = "microcalc/cascade/1"
_STEEPNESS: Final = 8.0


@dataclass(frozen=True, eq=False, slots=True)
class Cascade:
    """A cascade: trees of one depth d, 1 (stumps) or 2, node by node. See ``boost.Tree``.

    Attributes
    ----------
    spacing_mm
        Pixel spacing that the cascade was trained at.
    features
        The feature of each split of each tree, (2^d - 1) t of them for t trees.
    threshold
        ((2^d - 1) t,): the threshold of each split.
    vote
        (t, 2^d) float32: the vote of each leaf.
    node_start
        (k + 1,): node j has the trees ``node_start[j]`` to ``node_start[j + 1] - 1``. Its score is that of the
        node before, plus their votes.
    pass_score
        (k,) float32: a sample whose score reaches it passes the node. The last node rejects nothing.
    """

    spacing_mm: float
    features: Features
    threshold: Ints
    vote: Floats
    node_start: Ints
    pass_score: Floats

    @property
    def n_nodes(self) -> int:
        """Return the number of nodes."""
        return len(self.pass_score)

    @property
    def bounds(self) -> Floats:
        """Return the largest magnitude (k,) that the score at each node can have."""
        largest = np.cumsum([0.0, *np.abs(self.vote.astype(np.float64)).max(axis=1)])
        return np.asarray(largest[self.node_start[1:]], dtype=np.float32)


def likelihood_of(place: NDArray[np.integer], score: Floats, bounds: Floats) -> Floats:
    """Return the rating as a likelihood in (0, 1): below 0.5 for rejected samples, above it for those at the last node.

    It rises strictly with place and score. The last node's score is divided by its bound, so that
    float32 can tell the values of the logistic function apart.
    """
    last = len(bounds) - 1
    relative = score / bounds[place]
    rejected = (place + 0.5 + 0.49 * relative) * (0.5 / max(last, 1))
    reached = 0.5 + 0.5 / (1.0 + np.exp(-_STEEPNESS * relative.astype(np.float64)))
    return np.asarray(np.where(place == last, reached, rejected), dtype=np.float32)


def save_cascade(cascade: Cascade, file: Path) -> None:
    """Write a cascade as an .npz file, without pickle."""
    with writing(file) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(
            handle,
            schema=np.array(SCHEMA),
            spacing_mm=np.float64(cascade.spacing_mm),
            corner_start=cascade.features.start,
            corner_row=cascade.features.row,
            corner_column=cascade.features.column,
            corner_weight=cascade.features.weight,
            **{name: getattr(cascade, name) for name in ("threshold", "vote", "node_start", "pass_score")},
        )


def load_cascade(file: Path) -> Cascade:
    """Read a cascade that ``save_cascade`` wrote, and check all of it.

    Raises
    ------
    InputError
        There is no such file, or its content is not a valid cascade.
    """
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            read = {name: arrays[name] for name in arrays.files}
        if read["schema"].shape != () or str(read["schema"]) != SCHEMA:
            raise InputError(f"{file.name}: schema {str(read['schema'])[:40]!r}, expected {SCHEMA!r}")
        cascade = Cascade(
            spacing_mm=float(read["spacing_mm"]),
            features=Features(*(_ints(read[f"corner_{part}"]) for part in ("start", "row", "column", "weight"))),
            threshold=_ints(read["threshold"]),
            vote=_floats(read["vote"], ndim=2),
            node_start=_ints(read["node_start"]),
            pass_score=_floats(read["pass_score"], ndim=1),
        )
    except FileNotFoundError:
        raise InputError(f"{file.name}: no such file, expected a cascade") from None
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file.name}: not a cascade ({type(error).__name__}), expected {SCHEMA!r}") from None
    _check(cascade, file.name)
    return cascade


def _ints(array: NDArray[np.generic]) -> Ints:
    if array.dtype != np.int32 or array.ndim != 1:
        raise TypeError(array.dtype)
    return np.ascontiguousarray(array.astype(np.int32))


def _floats(array: NDArray[np.generic], *, ndim: int) -> Floats:
    if array.dtype != np.float32 or array.ndim != ndim:
        raise TypeError(array.dtype)
    return np.ascontiguousarray(array.astype(np.float32))


def _check(cascade: Cascade, name: str) -> None:
    """Refuse indices outside their arrays, which compiled code does not check."""
    features, splits = cascade.features, len(cascade.threshold)
    trees, leaves = cascade.vote.shape
    faults = {
        "spacing_mm": not 0.02 <= cascade.spacing_mm <= 0.5,
        "vote": leaves not in (2, 4) or not np.isfinite(cascade.vote).all(),
        "threshold": splits != trees * (leaves - 1),
        "corner_start": not _partition(features.start, len(features.row)) or len(features) != splits,
        "corner_row": not _within(features.row, len(features.row)),
        "corner_column": not _within(features.column, len(features.row)),
        "corner_weight": len(features.weight) != len(features.row),
        "node_start": not _partition(cascade.node_start, trees) or len(cascade.node_start) != cascade.n_nodes + 1,
        "pass_score": cascade.n_nodes == 0 or np.isnan(cascade.pass_score).any(),
    }
    for entry, wrong in faults.items():
        if wrong:
            raise InputError(f"{name}: {entry} does not fit the other entries, expected a cascade")
    if not (cascade.bounds > 0).all():
        raise InputError(f"{name}: a node whose trees do not vote, expected a cascade")


def _partition(start: Ints, n: int) -> bool:
    return len(start) > 0 and start[0] == 0 and start[-1] == n and bool((np.diff(start) >= 0).all())


def _within(place: Ints, n: int) -> bool:
    return len(place) == n and bool(((place >= 0) & (place <= WINDOW_PX)).all())
