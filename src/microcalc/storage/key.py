"""Content keys, which depend on what a result was made from and on the code that made it.

A key is the SHA-256 of plain values: the hash of the input (``file_sha256``), the settings, and the version of the
code (``code_version``). So a stored result is used again only if nothing on which it depends has changed.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType
from typing import Final

_PACKAGE: Final = "microcalc"
_ROOT: Final = Path(__file__).resolve().parents[1]
_DATA_SUFFIXES: Final = {".csv", ".toml", ".json"}


def key_of(value: object) -> str:
    """Return the SHA-256, in hexadecimal, of values that JSON can represent."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def key_of_lists(*lists: Iterable[object]) -> str:
    """Return ``key_of`` of a list of lists, whose elements are taken one by one and need not be held together."""
    digest = hashlib.sha256()
    for number, elements in enumerate(lists):
        digest.update(b", [" if number else b"[[")
        for place, element in enumerate(elements):
            digest.update(f"{', ' if place else ''}{json.dumps(element, sort_keys=True)}".encode())
        digest.update(b"]")
    digest.update(b"]" if lists else b"[]")
    return digest.hexdigest()


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; raise ``OSError`` if it cannot be read."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@functools.cache
def code_version(*modules: str) -> str:
    """Return a key of the code of modules of this package and of all they import, directly or indirectly.

    The key depends on everything but comments, layout and docstrings in all imported modules of the package, also
    those that are imported inside functions, and on the data files (CSV, TOML, JSON) in the folders of these
    modules.

    Parameters
    ----------
    modules
        Full names, such as ``"microcalc.normalise.mammogram"``.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    files = _imported_files(modules)
    parts = {name: _code_sha256(file) for name, file in files.items()}
    for folder in sorted({file.parent for file in files.values()}):
        for data in sorted(f for f in folder.rglob("*") if f.suffix in _DATA_SUFFIXES and f.is_file()):
            if not any((parent / "__init__.py").exists() for parent in _between(data, folder)):
                parts[f"{folder.name}/{data.relative_to(folder).as_posix()}"] = file_sha256(data)
    return key_of(parts)


def _between(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the folders between a file and ``folder``, which is not included."""
    for parent in file.parents:
        if parent == folder:
            return
        yield parent


def _imported_files(modules: tuple[str, ...]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in files:
            continue
        file = _file_of(name)
        if file is None:
            if name in modules:
                raise ModuleNotFoundError(f"no module {name}", name=name)
            continue
        files[name] = file
        todo += _imports(file)
    return dict(sorted(files.items()))


@functools.cache
def _file_of(name: str) -> Path | None:
    """Return the source file of a module of the package; None for other packages and names that are no module.

    Nothing is imported: the heavy libraries of a module must not be loaded to hash it.
    """
    package, *parts = name.split(".")
    if package != _PACKAGE:
        return None
    path = _ROOT.joinpath(*parts)
    for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imports(file: Path) -> Iterator[str]:
    """Yield the modules of the package that a file's code names in its imports, inside functions too."""
    for code in _code_objects(file):
        modules = [name for name in code.co_names if name.startswith(f"{_PACKAGE}.")]
        yield from modules
        # ``from package import module``: what is imported stands in a constant beside the package's name.
        members = {name for constant in code.co_consts if isinstance(constant, tuple) for name in constant}
        yield from (f"{module}.{name}" for module in modules for name in members if isinstance(name, str))


@functools.cache
def _code_sha256(file: Path) -> str:
    """Return a hash of what a file's code does: its instructions, names and constants, without lines and docstrings."""
    parts = [
        (code.co_name, code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, _plain(code.co_consts))
        for code in _code_objects(file)
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@functools.cache
def _code_objects(file: Path) -> tuple[CodeType, ...]:
    """Return the compiled code of a file, with that of its functions and classes; docstrings are left out."""
    todo = [compile(file.read_bytes(), "", "exec", dont_inherit=True, optimize=2)]
    for code in todo:
        todo += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return tuple(todo)


def _plain(constants: tuple[object, ...]) -> list[str]:
    """Return constants as text that is the same in every process: code is hashed by itself, sets have no order."""
    return [
        repr(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)
        for constant in constants
        if not isinstance(constant, CodeType)
    ]
