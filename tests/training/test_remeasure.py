"""The thresholds of a finished model, measured again on other images."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.training import toy

from microcalc import cli
from microcalc.datasets.open import open_table
from microcalc.datasets.table import ImageRow, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.errors import InputError
from microcalc.evaluation.detections import read_marks
from microcalc.evaluation.matched_images import Rules, match_images
from microcalc.models.model import describe_pair, load_model, shipped_model
from microcalc.training.card import with_operating_points
from microcalc.training.normalised import NormalisedImages
from microcalc.training.recipe import Recipe
from microcalc.training.remeasure import open_finished
from microcalc.training.seen import training_images
from microcalc.training.train import train

_ABOVE_PX = 12


def _recipe() -> Recipe:
    """Outlines of few false marks: their shapes take most of the time."""
    recipe = toy.recipe()
    shapes = recipe.shapes.model_copy(update={"false_marks_per_image": 1.0})
    return recipe.model_copy(update={"shapes": shapes})


def _smaller(image: ImageRow) -> ImageRow:
    """Cut the picture to its breast, for speed."""
    with Image.open(image.file) as picture:
        picture.crop((0, _ABOVE_PX, 215, 418)).save(image.file)
    return replace(image, split="train" if image.image in ("i0", "i1") else "validation")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures to learn from, and twenty others."""
    folder = tmp_path_factory.mktemp("all")
    table = toy.make_table(folder, patients=22)
    rows = tuple(replace(a, row=a.row - _ABOVE_PX) for a in table.annotations)
    write_table(Table(tuple(map(_smaller, table.images)), rows), folder / "split")
    return folder / "split"


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(_recipe(), open_table(data), tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def moved(model: Path, tmp_path: Path) -> Path:
    """The model outside its run folder, where its patients are not known."""
    return Path(shutil.copytree(model, tmp_path / "moved"))


def _measure(model: Path | str, data: Path, out: Path, *options: str) -> int:
    arguments = ["operating-points", str(model), "--data", str(data), "--out", str(out), "--workers", "1"]
    return cli.run([*arguments, *options])


def _written(folder: Path, table: Table, change: Callable[[ImageRow], ImageRow] = lambda image: image) -> Path:
    write_table(Table(tuple(map(change, table.images)), table.annotations), folder)
    return folder


def test_on_the_images_of_its_training_s_validation_a_model_keeps_every_threshold(
    model: Path, data: Path, tmp_path: Path
) -> None:
    assert _measure(model, data, tmp_path / "again") == 0
    for name in ("cnn1.onnx", "cnn2.onnx", "model.json", "training-images.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (model / name).read_bytes(), name


def test_what_an_operating_point_of_clusters_states_is_what_detection_finds(
    moved: Path, data: Path, tmp_path: Path
) -> None:
    recipe = (moved / "recipe.toml").read_text(encoding="utf-8")
    few = recipe.replace("false_marks_per_image = 100.0", "false_marks_per_image = 2.0")  # most are not listed
    assert few != recipe
    (moved / "recipe.toml").write_text(few, encoding="utf-8")
    table, truth, model = read_table(data).of_split("validation"), tmp_path / "truth", tmp_path / "model"
    write_table(table, truth)
    assert _measure(moved, truth, model) == 0
    detect = ["detect", str(truth), "--model", str(model), "--no-overlay", "--workers", "1"]
    assert cli.run([*detect, "--out", str(tmp_path / "out")]) == 0
    found = [m.clusters for m in match_images(read_marks([tmp_path / "out"], table), table, Rules())]
    ratings = [(m.lesion_rating, m.nl_rating) for m in found if m is not None]
    lesions, false = map(np.concatenate, zip(*ratings, strict=True))
    points = json.loads((model / "model.json").read_text())["operating_points"]
    assert len(ratings) == 20
    assert points[-1]["llf"] > 0.5
    for point in points:  # one cluster more or less: the points are measured on images stored with 16 bits a pixel
        assert np.mean(lesions >= point["threshold"]) == pytest.approx(point["llf"], abs=0.051)
        assert np.count_nonzero(false >= point["threshold"]) / 20 == pytest.approx(point["nlf"], abs=0.051)


def test_what_a_killed_call_has_normalised_is_used_by_the_next_and_then_removed(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as killed:  # nothing is tidied up
        killed.setattr("microcalc.training.remeasure._write", lambda *_: sys.exit("killed"))
        killed.setattr(NormalisedImages, "clear", lambda _: None)
        with pytest.raises(SystemExit, match="killed"):
            _measure(model, data, out)
    assert len(list(out.rglob("*.header.npy"))) == 20
    monkeypatch.setattr("microcalc.training.normalised.normalise", lambda *_, **__: sys.exit("normalised again"))
    monkeypatch.setattr("microcalc.training.remeasure._write", lambda *_: sys.exit("measured"))
    with pytest.raises(SystemExit, match="measured"):
        _measure(model, data, out)
    assert list(out.iterdir()) == []


def test_other_images_give_other_thresholds_to_the_same_networks_and_normal_ones_those_of_clusters_alone(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = read_table(data).of_split("validation"), tmp_path / "out"
    normals = ("--normals", str(_written(tmp_path / "normal", Table(table.images[10:]))))
    assert _measure(model, _written(tmp_path / "data", table.of_images(table.images[:10])), out, *normals) == 0
    assert "| clusters, 0.05 false per image |" in capsys.readouterr().out
    before, after = (json.loads((m / "model.json").read_text()) for m in (model, out))
    numbers = {name: number for name, number in after["measured_on"].items() if name != "sha256"}
    assert numbers == {
        "images": 20, "for_clusters_alone": 10, "patients": 20, "microcalcifications": 50, "clusters": 10,
    }  # fmt: skip
    assert before["measured_on"]["clusters"] == 20
    assert after["operating_points"] != before["operating_points"]
    assert [p["nlf"] * 10 % 1 for p in after["mark_operating_points"]] == pytest.approx([0] * 4)  # of 10 images
    assert after["operating_points"][0]["nlf"] in (0.0, 0.05)  # of 20
    for name in ("cnn1", "cnn2", "name", "recipe", "trained_on", "rejection_logit", "default_operating_point"):
        assert after[name] == before[name], name
    words = "20 images of 20 patients, with 50 microcalcifications and 10 clusters, of which 10 images for clusters "
    words += f"alone (SHA-256 of their table and files {after['measured_on']['sha256']})"
    assert words in (out / "MODEL_CARD.md").read_text()
    recipe = f"# The thresholds in model.json were measured again on {words}.\n" + (model / "recipe.toml").read_text()
    assert (out / "recipe.toml").read_text() == recipe
    assert load_model(out).sha256 != load_model(model).sha256


def test_a_default_at_the_threshold_of_an_earlier_model_is_chosen_anew(moved: Path, data: Path, tmp_path: Path) -> None:
    described = json.loads((moved / "model.json").read_text())
    described["operating_points"].insert(3, {"threshold": 0.9, "llf": 0.5, "nlf": 0.3})
    (moved / "model.json").write_text(json.dumps(described | {"default_operating_point": 3}))
    assert _measure(moved, data, tmp_path / "out") == 0
    after = json.loads((tmp_path / "out" / "model.json").read_text())
    assert (len(after["operating_points"]), after["default_operating_point"]) == (4, 2)  # 0.2 per image, of 20 images


def test_clusters_in_normal_images_are_refused(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_table(data).of_split("validation")
    clusters = str(_written(tmp_path / "clusters", table.of_images(table.images[10:])))
    annotated = _written(tmp_path / "data", table.of_images(table.images[:10]))
    assert _measure(model, annotated, tmp_path / "out", "--normals", clusters) == 2
    assert "10 clusters in normal images, expected none" in capsys.readouterr().err


def test_a_card_holds_one_table_of_operating_points_and_says_what_was_measured_before(model: Path) -> None:
    description = describe_pair(model)
    card = (model / "MODEL_CARD.md").read_text()
    assert with_operating_points(card, description) == card
    once = with_operating_points(card.replace("Nothing yet.", "0.9 at the default operating point."), description)
    assert with_operating_points(once, description) == once
    assert once.count("## Operating points") == 1
    assert once.count("Measured before the operating points were measured again") == 1
    assert once.index("Measured before") < once.index("0.9 at the default operating point.")


def test_images_of_the_training_are_refused_also_where_the_table_has_no_splits(
    moved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = _written(tmp_path / "free", read_table(data), lambda image: replace(image, split="", patient=""))
    assert _measure(moved, free, tmp_path / "out") == 2
    assert "2 images ('i0', 'i1') trained on by moved, expected images of patients" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_images_of_the_patients_of_the_training_are_refused(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def of_a_known_patient(image: ImageRow) -> ImageRow:
        return replace(image, patient="P1") if image.image == "i7" else image

    table = _written(tmp_path / "data", read_table(data).of_split("validation"), of_a_known_patient)
    assert _measure(model, table, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "1 image ('i7') of patients that model learned from" in error
    assert "P1" not in error


def test_images_to_learn_from_are_refused(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _measure(model, data, tmp_path / "out", "--split", "train") == 2
    assert _measure(model, data, tmp_path / "out", "--split", "all") == 2
    errors = capsys.readouterr().err
    assert "--split train: images to learn from, expected validation, test or all" in errors
    assert "2 images ('i0', 'i1') in split train" in errors


@pytest.mark.parametrize("lacking", ["images", "patients", "clusters", "images for marks"])
def test_too_few_images_patients_or_clusters_are_refused_with_the_numbers_that_are_needed(
    model: Path, data: Path, tmp_path: Path, lacking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_table(data).of_split("validation")
    normals: tuple[str, ...] = ()
    if lacking == "images":
        table, found = table.of_images(table.images[:19]), "19 images of 19 patients, with 95 microcalcifications"
    elif lacking == "patients":
        table = Table(tuple(replace(i, patient=f"P{n % 4}0") for n, i in enumerate(table.images)), table.annotations)
        found = "20 images of 4 patients"
    elif lacking == "clusters":
        table = Table(table.images, tuple(a for a in table.annotations if a.image in ("i2", "i3")))
        found = "10 microcalcifications and 2 clusters"
    else:
        normals = ("--normals", str(_written(tmp_path / "normal", Table(table.images[9:]))))
        table, found = table.of_images(table.images[:9]), "20 images of 20 patients"
    assert _measure(model, _written(tmp_path / "data", table), tmp_path / "out", *normals) == 2
    error = capsys.readouterr().err
    assert found in error
    assert "expected at least 20 images of 5 patients with 10 clusters" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ("raw", "raw: a model for raw images, but the table has no raw image"),
        ("log", "log: a filter without a folder"),
        ("nowhere", "nowhere: no such model"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    data: Path, tmp_path: Path, choice: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _measure(choice, data, tmp_path / "out") == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["recipe.toml", "MODEL_CARD.md"])
def test_a_model_without_recipe_or_card_is_refused(
    moved: Path, data: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (moved / name).unlink()
    assert _measure(moved, data, tmp_path / "out") == 2
    assert f"moved: no {name}, expected a folder as microcalc train writes it" in capsys.readouterr().err


def test_a_card_that_is_no_text_is_refused_before_any_work(
    moved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (moved / "MODEL_CARD.md").write_bytes(b"\xff\x00")
    assert _measure(moved, data, tmp_path / "out") == 2
    assert "moved/MODEL_CARD.md: not text in UTF-8, expected a model's card" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "found"), [(b"\xff", "not text in UTF-8"), (b"a.png\n", "found 'a.png'"), (b"0" * 65, "found '0")]
)
def test_what_does_not_state_the_images_of_the_training_is_not_taken_for_a_model_that_saw_none(
    tmp_path: Path, content: bytes, found: str
) -> None:
    (tmp_path / "training-images.txt").write_bytes(content)
    with pytest.raises(InputError, match=rf"/training-images.txt: {found}.*, expected the SHA-256 of an image in each"):
        training_images(tmp_path)


def test_a_recipe_of_another_spacing_is_refused(
    moved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = moved / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("spacing_mm = 0.1", "spacing_mm = 0.07", 1))
    assert _measure(moved, data, tmp_path / "out") == 2
    assert "moved: spacing_mm is 0.1, but 0.07 in its recipe.toml" in capsys.readouterr().err


def test_no_file_is_overwritten(moved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file.name: file.read_bytes() for file in moved.iterdir()}
    assert _measure(moved, data, moved) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert _measure(moved, data, tmp_path / "mine") == 2
    assert {file.name: file.read_bytes() for file in moved.iterdir()} == before
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_an_image_that_cannot_be_read_is_named_and_leaves_no_folder(
    moved: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_file(image: ImageRow) -> ImageRow:
        return replace(image, file=image.file.with_name("gone.png")) if image.image == "i9" else image

    table = _written(tmp_path / "data", read_table(data), without_file)
    assert _measure(moved, table, tmp_path / "out") == 2
    assert "gone.png: no such file, expected the image 'i9' of the table" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["raw", "processed", "cascade"])
def test_every_shipped_model_has_what_its_thresholds_are_measured_again_with(name: str) -> None:
    assert open_finished(name).description.intent == open_finished(name).recipe.data.intent


def test_the_shipped_model_for_processed_images_knows_the_28_images_that_its_insertions_were_made_of() -> None:
    assert len(training_images(shipped_model("processed"))) == 28
