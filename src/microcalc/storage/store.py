"""A store of results, each under the key of what it was made from.

``FOLDER/KEY[:2]/KEY.SUFFIX``: a result that is there is whole, and is what its key says; so several
processes, and several studies, can share a store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microcalc.storage.write import saying_where, writing


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of results.

    Attributes
    ----------
    folder
        Made when the first result is written.
    suffix
        Of the files, with the dot, such as ``".npy"``.
    """

    folder: Path
    suffix: str

    def path(self, key: str) -> Path:
        """Return where the result of a key lies, or would lie; ``key`` is hexadecimal (``key_of``)."""
        return self.folder / key[:2] / f"{key}{self.suffix}"

    def has(self, key: str) -> bool:
        """Return whether the result of a key is there."""
        return self.path(key).is_file()

    def get(self, key: str, make: Callable[[Path], None]) -> Path:
        """Return the file of a key's result, which ``make`` writes to the path that it is given if it is not there.

        Raises
        ------
        OutputError
            The system refused to write. What ``make`` raises is passed on.
        """
        path = self.path(key)
        if not path.is_file():
            with saying_where(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path) as temporary:
                make(temporary)
        return path
