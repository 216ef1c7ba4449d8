from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from microcalc.errors import RecipeError
from microcalc.runs.recipe import dump_recipe, load_recipe, parse_recipe, shipped_recipes

_TOML = dump_recipe(load_recipe("processed"))


def _without(entry: str) -> str:
    return "\n".join(line for line in _TOML.splitlines() if not line.startswith(f"{entry} ="))


@pytest.mark.parametrize("name", ["raw", "processed"])
def test_each_intent_has_a_recipe_that_survives_writing_and_reading(name: str) -> None:
    recipe = load_recipe(name)
    assert name in shipped_recipes()
    assert recipe.data.intent == name
    assert parse_recipe(dump_recipe(recipe)) == recipe


def test_a_recipe_of_ones_own_is_read_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(_TOML.replace('name = "processed"', 'name = "own"'))
    assert load_recipe(tmp_path / "own.toml").name == "own"


def test_every_entry_is_required() -> None:
    table = ""
    for line in _TOML.splitlines():
        if line.startswith("["):
            table = line.strip("[]") + "."
        elif "=" in line:
            entry = line.split(" =")[0]
            text = _TOML.replace(f"\n{line}\n", "\n", 1) if table else _without(entry)
            if table:
                before, after = _TOML.split(f"[{table[:-1]}]\n")
                text = f"{before}[{table[:-1]}]\n" + f"\n{after}".replace(f"\n{line}\n", "\n", 1)
            with pytest.raises(RecipeError, match=f"missing entry {table}{entry}$"):
                parse_recipe(text)


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("[cnn1]\n", "[cnn1]\nstepz = 3\n", "unknown entry cnn1.stepz"),
        ("[cnn1]\n", "[cnn3]\n", "unknown entry cnn3"),
        ('intent = "processed"', 'intent = "log"', "data.intent is 'log': should be 'raw' or 'processed'"),
        ("seed = ", "seed = -", "seed is -"),
        ("flips = true", "flips = 1", "augment.flips is 1"),
        ("flips = true", "flips = ", "not TOML"),
        ("max_gap_mm = ", "max_gap_mm = -", "clusters.max_gap_mm is -"),
        ("max_gap_mm = ", "max_gap_mm = nan #", "clusters.max_gap_mm is nan"),
        ("[clusters]\nmin_likelihood = 0.1", "[clusters]\nmin_likelihood = 0.0", "clusters.min_likelihood is 0.0"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_path(found: str, instead: str, message: str) -> None:
    assert found in _TOML
    with pytest.raises(RecipeError) as caught:
        parse_recipe(_TOML.replace(found, instead, 1), where="own.toml")
    assert str(caught.value).startswith("own.toml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(
        RecipeError, match="no recipe 'proccessed', expected one of mordang2016, processed, raw, or a TOML file"
    ):
        load_recipe("proccessed")


def test_a_recipe_cannot_be_changed_once_read() -> None:
    recipe = load_recipe("raw")
    with pytest.raises(ValidationError):
        recipe.seed = 2
