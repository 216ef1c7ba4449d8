from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w
from pydantic import ValidationError

from microcalc.errors import RecipeError
from microcalc.training.recipe import dump_recipe, load_recipe, parse_recipe, shipped_recipes

_TOML = dump_recipe(load_recipe("processed"))


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
    document = tomllib.loads(_TOML)
    places = [[name] for name in document]
    places += [[table, name] for table, entries in document.items() if isinstance(entries, dict) for name in entries]
    assert len(places) > 40
    for place in places:
        document = tomllib.loads(_TOML)
        del (document if len(place) == 1 else document[place[0]])[place[-1]]
        with pytest.raises(RecipeError, match=f"missing entry {'.'.join(place)}$"):
            parse_recipe(tomli_w.dumps(document))


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
        ("member_gap_mm = 6.0", "member_gap_mm = 4.9", "member_gap_mm 4.9 is below max_gap_mm 5.0"),
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
        RecipeError,
        match="no recipe 'proccessed', expected one of mordang2016, processed, processed-fine-tune, raw, "
        "raw-fine-tune, or a TOML file",
    ):
        load_recipe("proccessed")


def test_a_recipe_cannot_be_changed_once_read() -> None:
    recipe = load_recipe("raw")
    with pytest.raises(ValidationError):
        recipe.seed = 2


def _write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def test_a_recipe_of_only_what_it_changes_is_its_base_with_the_changes(tmp_path: Path) -> None:
    base = load_recipe("processed")
    _write(tmp_path, own='base = "processed"\nname = "own"\n[cnn2]\nsteps = 7\n[augment]\ngain_range = [0.9, 1.1]\n')
    recipe = load_recipe(tmp_path / "own.toml")
    changed = {
        "name": "own",
        "cnn2": base.cnn2.model_copy(update={"steps": 7}),
        "augment": base.augment.model_copy(update={"gain_range": (0.9, 1.1)}),
    }
    assert recipe == base.model_copy(update=changed)
    whole = dump_recipe(recipe)
    assert "base" not in whole
    assert parse_recipe(whole) == recipe


def test_a_base_may_be_a_file_and_have_a_base_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    _write(tmp_path, mine='base = "raw"\nname = "mine"\nseed = 5\n')
    _write(tmp_path / "sub", finer='base = "../mine.toml"\n[data]\nspacing_mm = 0.07\n')
    monkeypatch.chdir(tmp_path.parent)  # paths are seen from the file that names them
    recipe = load_recipe(tmp_path / "sub" / "finer.toml")
    assert (recipe.name, recipe.seed, recipe.data.spacing_mm, recipe.data.intent) == ("mine", 5, 0.07, "raw")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "processed"\n[cnn2]\nstepz = 7\n', "own.toml: unknown entry cnn2.stepz"),
        ('base = "processed"\nstepz = 7\n', "own.toml: unknown entry stepz"),
        ('base = "processed"\n[cnn2]\nsteps = 0\n', "own.toml: cnn2.steps is 0"),
        ('base = "processed"\ncnn2 = 3\n', "own.toml: cnn2 is 3"),
        ('base = "processd"\n', "own.toml: base: no recipe 'processd', expected one of mordang2016, processed, "),
        ("base = 3\n", "own.toml: base is 3, expected the name of a recipe or a TOML file"),
        ('base = "own.toml"\n', "own.toml: base refers back to itself (own.toml → own.toml)"),
        ('base = "./b.toml"\n', "b.toml: base refers back to itself (own.toml → b.toml → own.toml)"),
        ("[cnn2]\nsteps = 7\n", "own.toml: missing entry"),
    ],
)
def test_a_base_or_change_that_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    _write(tmp_path, own=text, b='base = "own.toml"\n')
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "own.toml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
