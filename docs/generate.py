"""Write the reference pages that the code itself says: the command line and the recipes.

``docs/conf.py`` calls ``main`` before each build, so the pages cannot fall behind the code. They are not committed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from microcalc.cli import app
from microcalc.training.recipe import Recipe, load_recipe, shipped_recipes

_REFERENCE: Final = Path(__file__).resolve().parent / "reference"
_UNITS: Final[Mapping[str, str]] = {"_mm": "mm", "_cm2": "cm²", "_px": "pixels"}
_COMMAND_LINE: Final = """# Command line

`microcalc COMMAND --help` shows the same. Exit codes: 0 done; 1 done in part (some of several files cannot be used, and
are named); 2 the input cannot be used; 130 interrupted. An error is one line on standard error.

"""
_RECIPES: Final = """# Recipes

A recipe is a TOML file with every number that a training and its detection use. `--recipe` takes the name of a shipped
recipe ({names}) or a file. A file may hold only what it changes:

```toml
base = "processed"
name = "mine"

[cnn2]
steps = 20000
```

An entry that is unknown, missing or impossible is an error that names it. All numbers are our own choices. Normalised
images are in units of their noise; a share or fraction is between 0 and 1.

`name` names the model, in small letters, digits, `-` and `_`. `seed` seeds the drawing of samples, the first weights
and the order of the batches.
"""


def main() -> None:
    """Write both pages."""
    for name, text in (("command-line.md", command_line()), ("recipes.md", recipes())):
        file = _REFERENCE / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:  # Sphinx builds changed pages alone
            file.write_text(text, encoding="utf-8")


def command_line() -> str:
    """Return the page of all commands and options, in the words of ``--help``."""
    generated = app.generate_docs(output_format="markdown")
    commands = generated[generated.index("\n**") :].strip()  # without its title and table of contents
    commands = re.sub(
        r"^(microcalc(?: [a-z-]+)*) -m \S+", r"\1", commands, flags=re.MULTILINE
    )  # how Python was started
    return f"{_COMMAND_LINE}{commands}\n"


def recipes() -> str:
    """Return the page of all recipe entries, with unit, meaning and the values of the shipped recipes."""
    names = shipped_recipes()
    shipped = [load_recipe(name).model_dump() for name in names]
    lines = [_RECIPES.format(names=", ".join(f"`{name}`" for name in names))]
    for part, field in Recipe.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        lines += [f"## `[{part}]`", "", str(model.__doc__).strip().splitlines()[0], ""]
        lines += [f"| entry | unit | {' | '.join(names)} | meaning |", f"|---|---|{'---|' * len(names)}---|"]
        meaning = entries(model)
        for entry in model.model_fields:
            values = " | ".join(_shown(recipe[part][entry]) for recipe in shipped)
            lines.append(f"| `{entry}` | {_unit(entry)} | {values} | {meaning[entry]} |")
        lines.append("")
    return "\n".join(lines)


def entries(model: type[BaseModel]) -> dict[str, str]:
    """Return the meaning of each entry from the docstrings' Attributes sections, those of its base classes included."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        section = (kind.__doc__ or "").partition("----------\n")[2]
        for names, text in re.findall(r"^ {4}(\w[\w, ]*)\n((?: {8}.*\n?|\n)+)", section + "\n", re.MULTILINE):
            for name in names.split(", "):
                found[name] = " ".join(text.split()).replace("``", "`")
    return found


def _unit(entry: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if entry.endswith(ending)), "")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
