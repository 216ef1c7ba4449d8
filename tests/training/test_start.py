"""Training a model further: from its weights, by a recipe with the same networks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch
from tests.training import toy

from microcalc import cli
from microcalc.cnn.network import Network
from microcalc.datasets.table import Table
from microcalc.errors import InputError, RecipeError
from microcalc.models.description import parse_pair_description
from microcalc.models.model import shipped_model
from microcalc.training.networks import first_network
from microcalc.training.recipe import Recipe, StartRecipe, load_recipe
from microcalc.training.start import fine_tuning_recipe, start_from
from microcalc.training.train import train


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return toy.make_table(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def model(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(toy.recipe(), table, tmp_path_factory.mktemp("runs") / "first")


def _shorter(recipe: Recipe) -> Recipe:
    cnn1 = recipe.cnn1.model_copy(update={"steps": 1, "learning_rate": 1e-9})
    cnn2 = recipe.cnn2.model_copy(update={"steps": 1, "learning_rate": 1e-9})
    return recipe.model_copy(update={"name": "further", "cnn1": cnn1, "cnn2": cnn2})


def test_a_training_goes_on_from_the_weights_of_the_model(model: Path, table: Table, tmp_path: Path) -> None:
    recipe = _shorter(toy.recipe())
    further = train(recipe, table, tmp_path / "run", start=start_from(model, recipe))
    for name in ("cnn1", "cnn2"):
        before, after = (first_network(name, recipe, m / f"{name}.onnx").state_dict() for m in (model, further))
        for weight, value in before.items():
            assert torch.allclose(value, after[weight], atol=1e-6), f"one step at a rate of 1e-9 changes {weight}"
    assert "--from toy" in (further / "model.json").read_text()


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_model_has_the_mean_of_the_weights_before_and_after(
    model: Path, table: Table, tmp_path: Path, share: float
) -> None:
    recipe = toy.recipe().model_copy(update={"start": StartRecipe(share=share)})
    further = train(recipe, table, tmp_path / "run", start=start_from(model, recipe))
    names: tuple[Literal["cnn1", "cnn2"], ...] = ("cnn1", "cnn2")
    for name in names:
        files = (model / f"{name}.onnx", tmp_path / "run" / f"{name}.onnx", further / f"{name}.onnx")
        before, trained, made = (first_network(name, recipe, file).state_dict() for file in files)
        for weight, value in made.items():
            assert torch.allclose(value, share * before[weight] + (1 - share) * trained[weight], atol=1e-6), weight
        assert any((before[k] != trained[k]).any() for k in made)


@pytest.mark.parametrize("threshold", [0.0, 0.9999])
def test_on_few_validation_images_the_default_threshold_is_at_least_that_of_the_model(
    model: Path, table: Table, tmp_path: Path, threshold: float
) -> None:
    shutil.copytree(model, tmp_path / "model")
    description = json.loads((model / "model.json").read_text())
    for point in description["operating_points"]:
        point["threshold"] = threshold
    (tmp_path / "model" / "model.json").write_text(json.dumps(description))
    recipe = _shorter(toy.recipe())
    further = train(recipe, table, tmp_path / "run", start=start_from(tmp_path / "model", recipe))
    described = parse_pair_description((further / "model.json").read_bytes(), where="model.json")
    points = described.operating_points
    assert [p.nlf for p in points] == sorted(p.nlf for p in points)
    assert [p.threshold for p in points] == sorted((p.threshold for p in points), reverse=True)
    assert threshold in {p.threshold for p in points}
    measured = [p.threshold for p in points if p.threshold != threshold]
    assert points[described.default_operating_point].threshold == max(threshold, *measured[-1:])


def test_a_share_of_the_weights_of_no_model_is_refused(table: Table, tmp_path: Path) -> None:
    recipe = toy.recipe().model_copy(update={"start": StartRecipe(share=0.5)})
    with pytest.raises(RecipeError, match=r"recipe toy: start.share is 0.5, expected a model to start from"):
        train(recipe, table, tmp_path / "run")


def test_a_run_from_another_model_is_another_run(model: Path, table: Table, tmp_path: Path) -> None:
    recipe = _shorter(toy.recipe())
    train(recipe, table, tmp_path / "run", start=start_from(model, recipe))
    with pytest.raises(InputError, match="holds a run of another model to start from"):
        train(recipe, table, tmp_path / "run")


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_the_shipped_recipes_of_fine_tuning_fit_the_shipped_models(intent: str) -> None:
    recipe = load_recipe(fine_tuning_recipe(intent))
    start = start_from(intent, recipe)
    files: dict[Literal["cnn1", "cnn2"], Path] = {"cnn1": start.cnn1, "cnn2": start.cnn2}
    for name, file in files.items():
        network = first_network(name, recipe, file)
        random = first_network(name, recipe, None)
        assert isinstance(network, Network)
        assert all((network.state_dict()[k] != v).any() for k, v in random.state_dict().items() if "bias" not in k)


@pytest.mark.parametrize("change", [{"channels": (4, 6)}, {"dilations": (2, 2)}, {"channels": (4,), "dilations": (1,)}])
def test_a_recipe_with_other_convolutions_is_refused_before_any_work(
    model: Path, table: Table, tmp_path: Path, change: dict[str, tuple[int, ...]]
) -> None:
    recipe = toy.recipe()
    recipe = recipe.model_copy(update={"cnn1": recipe.cnn1.model_copy(update=change)})
    start = start_from(model, recipe)
    with pytest.raises(
        RecipeError, match=r"model/cnn1.onnx: channels \[4, 4\] with dilations \[1, 2\], but the recipe"
    ):
        train(recipe, table, tmp_path / "run", start=start)
    assert not (tmp_path / "run").exists()


def test_the_second_network_of_other_strides_is_refused_too(model: Path, table: Table, tmp_path: Path) -> None:
    recipe = toy.recipe()
    recipe = recipe.model_copy(update={"cnn2": recipe.cnn2.model_copy(update={"dilations": (1, 2, 4)})})
    with pytest.raises(RecipeError, match=r"model/cnn2.onnx: channels \[4, 4, 6\] with dilations \[1, 2, 2\]"):
        train(recipe, table, tmp_path / "run", start=start_from(model, recipe))


def test_a_model_of_another_intent_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match="model: intent is processed, but raw in the recipe raw"):
        start_from(model, load_recipe("raw"))


@pytest.mark.parametrize(
    ("choice", "why"),
    [("log", "log: a filter without networks"), ("cascade", "cascade: a cascade, expected a pair of networks")],
)
def test_a_model_without_two_networks_is_refused(choice: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        start_from(choice, load_recipe("raw"))


def test_a_model_whose_weights_were_changed_is_refused(tmp_path: Path) -> None:
    shutil.copytree(shipped_model("processed"), tmp_path / "mine")
    (tmp_path / "mine" / "cnn2.onnx").write_bytes(b"other")
    with pytest.raises(InputError, match=r"mine/cnn2\.onnx: SHA-256"):
        start_from(tmp_path / "mine", load_recipe("processed-fine-tune"))


def test_neither_recipe_nor_model_is_an_error_that_names_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["train", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "--recipe is missing, expected a recipe, or --from with a model" in capsys.readouterr().err
