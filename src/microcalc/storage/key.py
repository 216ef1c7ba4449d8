"""Keys of content: what a result was made from, and by which code.

A key is the SHA-256 of plain values. The values are the bytes that went in (``file_sha256``), the
settings, and the version of the code that did the work (``code_version``). So a result is found again
only where nothing that it depends on has changed.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PACKAGE: Final = "microcalc"
_DATA_SUFFIXES: Final = {".csv", ".toml", ".json"}


def key_of(value: object) -> str:
    """Return the SHA-256, in hexadecimal, of plain values (as JSON can hold them)."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; raises ``OSError`` where it cannot be read."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@functools.cache
def code_version(*modules: str) -> str:
    """Return a key of the code that modules of this package consist of and import, directly or not.

    Comments, layout and docstrings do not count; everything else does, in every module of the package
    that is imported, also inside functions; and so do the tables (CSV, TOML, JSON) that lie in the folders
    of these modules.

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
    """Yield the folders from a file's own up to, and without, ``folder``."""
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
    """Return the source file of a module of the package; None for other packages, and for names that are none."""
    if name != _PACKAGE and not name.startswith(f"{_PACKAGE}."):
        return None
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None  # a name in a module, not a module
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


@functools.cache
def _imports(file: Path) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if name.startswith(f"{_PACKAGE}."))


@functools.cache
def _code_sha256(file: Path) -> str:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
