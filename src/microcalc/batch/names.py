"""The names of an image's results: short, different for each image, and the same in every call.

Results are named ``STEM.json``, ``STEM.png``, ``STEM.sr.dcm`` and so on. The stem is that of the image's file
if it is unique; otherwise twelve digits follow it, a hash of the image's UID. So archives in which every file
is called ``1-1.dcm`` can be processed, in one call or several, and names do not grow with the depth of the folders.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from microcalc.images.open import printable
from microcalc.storage.index import INDEX

_MOST_BYTES: Final = 100  # the shortest limit of a file system in use is 143 bytes; suffixes follow
_DIGITS: Final = 12  # ten thousand files of one name: two in a million that two stems are the same
_TAKEN: Final = re.compile(rf"{INDEX.removesuffix('.json')}(\.shard-.*)?")


class Identity(NamedTuple):
    """The identity of an image, which is the same in every call.

    Attributes
    ----------
    uid
        As in ``Mammogram``; empty where the file cannot be read.
    place
        Hash of the file's path: a file whose content has changed is still that image.
    """

    uid: str
    place: str


def place_of(file: Path) -> str:
    """Return a hash of a file's path, from which the path cannot be read."""
    return hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:32]


def result_stems(images: Sequence[tuple[str, Identity]], taken: Mapping[str, Identity]) -> list[str]:
    """Return a stem for each image, in their order.

    Parameters
    ----------
    images
        (stem of the file's name, identity) of each image; identities are unique.
    taken
        Maps stems to the identities of images that have results already. An image keeps its stem, by its UID or else
        by its place.

    Returns
    -------
    list of str
        Stems that differ only in case, or in how Unicode encodes a letter, count as equal, as on some file systems.
    """
    kept = _kept([identity for _, identity in images], taken)
    short = [_short(name, identity) for name, identity in images]
    count = Counter(map(_folded, short))  # of all images: it does not depend on which have results already
    used = {_folded(stem) for stem in taken}
    fresh = {n: stem for n, stem in enumerate(short) if n not in kept}
    for n, stem in fresh.items():
        if count[_folded(stem)] > 1 or _folded(stem) in used or _TAKEN.fullmatch(_folded(stem)):
            fresh[n] = _with_digits(stem, images[n][1])
    return [kept[n] if n in kept else fresh[n] for n in range(len(images))]


def _kept(identities: Sequence[Identity], taken: Mapping[str, Identity]) -> dict[int, str]:
    """Return a map from the index of an image to its stem in an earlier call."""
    by_uid = {identity.uid: stem for stem, identity in taken.items() if identity.uid}
    by_place = {identity.place: stem for stem, identity in taken.items()}
    kept = {n: by_uid[identity.uid] for n, identity in enumerate(identities) if identity.uid in by_uid}
    claimed = set(kept.values())
    for n, identity in enumerate(identities):
        stem = by_place.get(identity.place)
        if n not in kept and stem is not None and stem not in claimed:
            kept[n] = stem
    return kept


def _short(name: str, identity: Identity) -> str:
    """Return the name if every file system accepts it, otherwise a shortened name with digits."""
    clean = printable(name)
    if clean.startswith("."):
        clean = f"_{clean[1:]}"
    return name if clean == name and len(name.encode()) <= _MOST_BYTES else _with_digits(clean, identity)


def _with_digits(stem: str, identity: Identity) -> str:
    room = _MOST_BYTES - _DIGITS - 1
    cut = stem.encode()[:room].decode(errors="ignore")
    return f"{cut}-{hashlib.sha256((identity.uid or identity.place).encode()).hexdigest()[:_DIGITS]}"


def _folded(stem: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())
