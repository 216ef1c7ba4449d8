"""Translate the categories of other programs to the kinds of the table, by their names or as the user states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from microcalc.errors import InputError, TableError

_Kind = TypeVar("_Kind", bound=str)
SKIP: Final = "skip"
"""The word that stands in place of a kind where the annotations of a category are left out."""


class Categories(Generic[_Kind]):
    """Find the kind of each category of a file.

    Parameters
    ----------
    said
        What the user states: ``"name=kind"`` for a category, or ``"name=skip"`` to leave its annotations out.
    kinds
        The kinds that a category may be of.

    Raises
    ------
    InputError
        A text is no such pair, its kind is not one of ``kinds``, or a name stands twice.
    """

    def __init__(self, said: Sequence[str], kinds: Sequence[_Kind]) -> None:
        self._kinds = tuple(kinds)
        self._kind_of: dict[str, str] = {}
        self._used: set[str] = set()
        for text in said:
            name, equals, kind = text.rpartition("=")
            if not equals or not name.strip() or _plain(kind) not in (*self._kinds, SKIP):
                raise InputError(f"--categories {text[:60]!r}, expected NAME=KIND, KIND one of {self._words()}")
            if self._kind_of.setdefault(_plain(name), _plain(kind)) != _plain(kind):
                raise InputError(f"--categories: {name.strip()[:40]!r} is given two kinds, expected one")

    def kind_of(self, name: str, where: str) -> _Kind | None:
        """Return the kind of a category; None: its annotations are left out.

        Raises
        ------
        TableError
            Its name is not that of a kind, and the user has not stated its kind.
        """
        plain = _plain(name)
        self._used.add(plain)
        said = self._kind_of.get(plain, plain)
        for kind in self._kinds:
            if kind == said:
                return kind
        if self._kind_of.get(plain) == SKIP:
            return None
        raise TableError(
            f"{where}: category {name[:40]!r}, expected one of {', '.join(self._kinds)}; "
            f"--categories '{name[:40]}=KIND' says which it is, KIND {SKIP} leaves its annotations out"
        )

    def check_used(self, where: str) -> None:
        """Refuse statements on a category that no annotation of the file belongs to.

        Raises
        ------
        InputError
            There is such a statement.
        """
        unused = sorted(self._kind_of.keys() - self._used)
        if unused:
            found = ", ".join(repr(name[:40]) for name in sorted(self._used)[:12])
            raise InputError(f"{where}: no annotation is of category {unused[0][:40]!r}, expected one of {found}")

    def _words(self) -> str:
        return ", ".join((*self._kinds, SKIP))


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
