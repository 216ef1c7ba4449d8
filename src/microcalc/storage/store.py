"""A store of results under content keys, in files named ``FOLDER/KEY[:2]/KEY.SUFFIX``.

An existing file is complete and belongs to its key, so several processes and several studies can share a store.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from microcalc.storage.write import is_temporary, saying_where, writing


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of results under content keys.

    Attributes
    ----------
    folder
        Folder of the store; it is created when the first result is written.
    suffix
        Suffix of the files with the dot, such as ``".npy"``.
    """

    folder: Path
    suffix: str

    def path(self, key: str) -> Path:
        """Return the path of a key's result, whether it exists or not; ``key`` is hexadecimal (``key_of``)."""
        return self.folder / key[:2] / f"{key}{self.suffix}"

    def has(self, key: str) -> bool:
        """Return whether the result of a key exists."""
        return self.path(key).is_file()

    def get(self, key: str, make: Callable[[Path], None]) -> Path:
        """Return the file of a key's result; if it does not exist, call ``make`` with the path to write it to.

        Raises
        ------
        OutputError
            The system refused to write. Errors of ``make`` are passed on.
        """
        path = self.path(key)
        if not path.is_file():
            with saying_where(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path) as temporary:
                make(temporary)
        return path

    def clear(self) -> None:
        """Remove all results, what killed processes left of some, and the folders that are then empty.

        No other process may work in the store. Other files stay.
        """
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            for file in folder.iterdir():
                if is_temporary(file.name) or (file.suffix == self.suffix and file.name.startswith(folder.name)):
                    file.unlink(missing_ok=True)
            with suppress(OSError):  # not empty
                folder.rmdir()
        with suppress(OSError):
            self.folder.rmdir()
