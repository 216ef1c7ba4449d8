"""Options that several commands have, and what is checked before a command begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from microcalc.errors import InputError

if TYPE_CHECKING:
    from microcalc.datasets.table import Table
    from microcalc.domain import Intent

_INTENTS: Final[dict[str, Intent]] = {
    "raw": "raw",
    "processing": "raw",
    "for-processing": "raw",
    "processed": "processed",
    "presentation": "processed",
    "for-presentation": "processed",
}


def _intent(_type: type, tokens: Sequence[Token]) -> Intent:
    word = tokens[0].value.lower().replace("_", "-").replace(" ", "-")
    if word not in _INTENTS:
        raise ValueError(f"{tokens[0].value!r}, expected raw (for processing) or processed (for presentation)")
    return _INTENTS[word]


def _intent_or_both(_type: type, tokens: Sequence[Token]) -> Intent | Literal["both"]:
    return "both" if tokens[0].value.lower() == "both" else _intent(_type, tokens)


def _split(_type: type, tokens: Sequence[Token]) -> Literal["train", "validation", "test", "all"]:
    word = "validation" if tokens[0].value == "tune" else tokens[0].value
    for split in get_args(Literal["train", "validation", "test", "all"]):
        if word == split:
            return split  # type: ignore[no-any-return]
    raise ValueError(f"{word!r}, expected train, validation, test or all")


# Several words mean an intent; the functions see only "raw" and "processed".
IntentOption = Annotated[Literal["raw", "processed"] | None, Parameter(converter=_intent, show_choices=False)]
SimulatedIntent = Annotated[
    Literal["raw", "processed", "both"], Parameter(converter=_intent_or_both, show_choices=False)
]
LateralityOption = Literal["L", "R"]
SplitOption = Annotated[Literal["train", "validation", "test", "all"], Parameter(converter=_split)]
"""``tune`` is taken for ``validation``, as it was called before."""
SpacingOption = Annotated[float, Parameter(validator=Number(gte=0.02, lte=0.2))]
"""mm, of a mammogram."""
PatchSpacing = Annotated[float, Parameter(validator=Number(gte=0.05, lte=2))]
JpegQuality = Annotated[int, Parameter(validator=Number(gte=10, lte=100))]
Length = Annotated[float, Parameter(validator=Number(gt=0, lt=1000))]
Factor = Annotated[float, Parameter(validator=Number(gte=0.05, lte=5))]
Amount = Annotated[float, Parameter(validator=Number(gte=0, lte=100))]
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]
DPrime = Annotated[float, Parameter(validator=Number(gte=0, lt=100))]
Count = Annotated[int, Parameter(validator=Number(gte=1))]
Workers = Annotated[int, Parameter(validator=Number(gte=1, lte=1024))]
"""Processes."""
Threads = Annotated[int, Parameter(validator=Number(gte=0, lte=1024))]
"""Threads; 0: as many as there are cores."""
Resamples = Annotated[int, Parameter(validator=Number(gte=1, lte=100_000))]
"""Of a bootstrap; all of them are held at once."""
CountOrNone = Annotated[int, Parameter(validator=Number(gte=0))]


def refuse_beside(what: str, **options: object) -> None:
    """Refuse options that were given, that is are not None, and have no effect beside something else.

    Raises
    ------
    InputError
        The first of them.
    """
    for option, value in options.items():
        if value is not None:
            name = f"--{option.replace('_', '-')}"
            raise InputError(f"{name}: has no effect beside {what}, expected no {name}")


def table_of(path: Path, split: SplitOption, tag: str | None = None) -> Table:
    """Read a table, or the part of it that is asked for.

    Raises
    ------
    TableError
        It breaks its format.
    InputError
        No image is left.
    """
    from microcalc.datasets.open import open_table

    table = open_table(path)
    if split != "all":
        table = table.of_split(split)
    if tag is not None:
        table = table.of_images(i for i in table.images if tag in i.tags.split())
    if not table.images:
        asked = [f"in split {split}"] * (split != "all") + [f"with tag {tag!r}"] * (tag is not None)
        raise InputError(" ".join([f"{path.name}: no image", *asked]) + ", expected some")
    return table
