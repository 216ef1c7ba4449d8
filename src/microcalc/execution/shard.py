"""A part of a work that is divided among processes which know nothing of each other."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from microcalc.errors import InputError

_FORM: Final = re.compile(r"([0-9]{1,7})/([0-9]{1,7})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Shard ``number`` of ``count``: the items whose names hash to its number.

    Which shard an item belongs to depends on its name and on the number of shards alone, so each item is in
    exactly one shard, on every machine and in every version.

    Attributes
    ----------
    number
        From 0 to ``count - 1``.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard that a text such as ``"0/16"`` names.

        Raises
        ------
        InputError
            The text has another form, or the number is not below the count.
        """
        match = _FORM.fullmatch(text)
        if match is None or int(match[1]) >= int(match[2]):
            raise InputError(f"--shard {text}: expected I/N with I from 0 to N-1, such as 0/16 to 15/16")
        return cls(int(match[1]), int(match[2]))

    def has(self, name: str) -> bool:
        """Return whether an item of this name belongs to the shard."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number

    def __str__(self) -> str:
        """Return ``"0/16"``."""
        return f"{self.number}/{self.count}"
