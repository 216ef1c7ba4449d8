"""Settings in TOML files: read, checked entry by entry, and written; for recipes and for the scales of a study."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from microcalc.errors import RecipeError
from microcalc.wording import reading_fault

_Settings = TypeVar("_Settings", bound=BaseModel)


def names_in(folder: Traversable) -> list[str]:
    """Return the names of the TOML files in a folder of the package."""
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def read_toml(file: Traversable) -> dict[str, object]:
    """Read a TOML file.

    Raises
    ------
    RecipeError
        The file cannot be read, or is not TOML.
    """
    try:
        return parsed_toml(file.read_text(encoding="utf-8"), where=file.name)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file.name}: not readable ({reading_fault(error)}), expected a TOML file") from error


def parsed_toml(text: str, *, where: str) -> dict[str, object]:
    """Return a TOML document; raise ``RecipeError`` where the text is none. ``where`` names the file in errors."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where}: not TOML ({error})") from error


def validated(kind: type[_Settings], document: Mapping[str, object], *, where: str) -> _Settings:
    """Return settings made of a TOML document.

    Raises
    ------
    RecipeError
        An entry is unknown, missing or impossible; the first such entry is named.
    """
    try:
        return kind.model_validate(tuples_of(document))
    except ValidationError as error:
        raise RecipeError(f"{where}: {first_fault(error)}") from error


def dump_settings(settings: BaseModel) -> str:
    """Return settings as TOML, without the entries that are None."""
    return tomli_w.dumps(settings.model_dump(exclude_none=True))


def tuples_of(value: object) -> object:
    """Return a TOML document with arrays as tuples, which a frozen model can hold."""
    if isinstance(value, dict):
        return {k: tuples_of(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(tuples_of(v) for v in value)
    return value


def first_fault(error: ValidationError) -> str:
    """Return the first fault in one line, with the path of the entry; unknown and missing entries come first."""
    order = {"extra_forbidden": 0, "missing": 1}
    fault = min(error.errors(), key=lambda e: order.get(e["type"], 2))
    entry = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown entry {entry}"
    if fault["type"] == "missing":
        return f"missing entry {entry}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("\n", " ")
    given = "" if isinstance(fault["input"], dict) else f" is {fault['input']!r}"
    return f"{entry}{given}: {message}"
