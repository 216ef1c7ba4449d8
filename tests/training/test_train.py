from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.logs import KilledError, logged
from tests.training import toy

from microcalc import extras
from microcalc.cnn import fit
from microcalc.cnn.precision import fast_precision
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import read_table
from microcalc.errors import InputError, MissingExtraError, OutputError, RecipeError, TableError
from microcalc.execution.executor import Processes
from microcalc.models.description import parse_pair_description
from microcalc.models.model import load_model
from microcalc.sample.store import open_stored
from microcalc.storage.lock import locked
from microcalc.storage.ownership import open_output_folder
from microcalc.training import train as training
from microcalc.training.card import write_card
from microcalc.training.curve import first_validation, second_validation
from microcalc.training.images import TrainingImage, images_of_split
from microcalc.training.normalised import NormalisedImages, with_hashes
from microcalc.training.recipe import Recipe
from microcalc.training.samples import draw_samples
from microcalc.training.split import split_by_patient
from microcalc.training.thresholds import default_point
from microcalc.training.train import train

_RESULTS = (
    "cnn1.onnx", "cnn1_dense.onnx", "cnn2.onnx", "cnn2_dense.onnx", "mined.npy", "manifest.json", "recipe.toml",
    "cnn1/metrics.jsonl", "cnn2/metrics.jsonl", "table/images.csv", "table/annotations.csv", "model/model.json",
    "model/cnn1.onnx", "model/cnn2.onnx", "model/recipe.toml", "model/MODEL_CARD.md",
)  # fmt: skip


def _results(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in _RESULTS}


def _train_images(table: Table, run: Path) -> tuple[TrainingImage, ...]:
    return images_of_split(with_hashes(table), "train", NormalisedImages(run / "normalised", 0.1))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return toy.make_table(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(table: Table, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A finished run, and the messages that it logged."""
    run = tmp_path_factory.mktemp("runs") / "run"
    with logged() as messages:
        train(toy.recipe(), table, run)
    return run, messages


def test_a_run_says_what_it_does_and_how_far_it_is(finished: tuple[Path, list[str]]) -> None:
    text = "\n".join(finished[1])
    for line in (
        "normalising images: 1 of 4",
        "normalising images: 4 of 4",
        "mining images: 3 of 3",
        "1 validation image",
    ):
        assert line in text
    assert "cnn1 step 12 of 12: loss 0." in text
    assert "cnn2 step 14 of 14: loss 0." in text
    assert "random negative samples" in text
    assert f"training in float32 and {fast_precision('cpu')[0]}: " in text or "training in float32: " in text


def test_metrics_are_json_lines(finished: tuple[Path, list[str]]) -> None:
    for name, steps in (("cnn1", 12), ("cnn2", 14)):
        lines = [json.loads(line) for line in (finished[0] / name / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [steps]
        assert 0 < lines[-1]["loss"] < 2
        assert 0 < lines[-1]["validation_loss"] < 2
        assert 0 <= lines[-1]["sensitivity"] <= 1


def test_the_curve_is_measured_on_the_validation_images_alone(finished: tuple[Path, list[str]], table: Table) -> None:
    run, store = finished[0], NormalisedImages(finished[0] / "normalised", 0.1)
    validation = images_of_split(with_hashes(table), "validation", store)
    recipe = toy.recipe()
    first, second = first_validation(validation, recipe), second_validation(validation, recipe, run)
    assert first is not None
    assert second is not None
    for samples in (first, second):
        assert len(samples.images) == 1
        assert len(samples.positives) == len(toy.MEMBERS)
        negative = validation[0].negative_mask(validation[0].open(), recipe.sample)
        for _, row, column in np.concatenate([samples.places, *(pool for pool, _ in samples.negatives)]):
            assert negative[row, column]
    assert (first.at, second.at) == ("5 % of the breast passed on", "1 false mark per image")
    assert (first.most_false, second.most_false) == (round(0.05 * len(first.places)), 1)
    text = "\n".join(finished[1])
    assert "; validation: loss 0." in text
    assert "at 1 false mark per image" in text
    assert "of training left" in text
    assert "validation images: sensitivity " in text


def test_the_model_is_loaded_as_its_user_will_and_says_what_it_was_made_of(finished: tuple[Path, list[str]]) -> None:
    folder = finished[0] / "model"
    model = load_model(folder, threads=1)
    assert (model.name, model.intent, model.scorer.spacing_mm) == ("toy", "processed", 0.1)
    described = parse_pair_description((folder / "model.json").read_bytes(), where="model.json")
    assert (described.cnn1.margin_px, described.cnn2.margin_px) == (3, 5)
    assert described.trained_on.startswith("3 images; samples: 75 positive, ")
    assert [point.nlf for point in described.operating_points] == sorted(p.nlf for p in described.operating_points)
    assert described.default_operating_point == 3  # few validation images


def test_a_finished_run_does_nothing_new(finished: tuple[Path, list[str]], table: Table) -> None:
    run = finished[0]
    before = {f: f.stat().st_mtime_ns for f in run.rglob("*") if f.suffix in (".npy", ".onnx", ".pt", ".jsonl", ".md")}
    results = _results(run)
    with logged() as messages:
        assert train(toy.recipe(), table, run) == run / "model"
    assert messages == ["the run is finished: nothing to do"]
    assert {f: f.stat().st_mtime_ns for f in before} == before
    assert _results(run) == results


def test_a_run_killed_again_and_again_and_started_again_gives_the_same_files(
    finished: tuple[Path, list[str]], table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(fit, "_LOG_EVERY", 1)
    starts = []
    for killed_at in (
        "normalising images: 2",
        "75 positive samples",
        "cnn1 step 4 ",
        "cnn1 step 12 ",
        "mining images: 2",
        "cnn2: ",
        "cnn2 step 9 ",
        "choosing thresholds",
    ):
        monkeypatch.setattr(fit, "_SAVE_EVERY_S", -1.0 if "step 4" in killed_at else 1e9)
        with pytest.raises(KilledError), logged(kill_at=killed_at) as messages:
            train(toy.recipe(), table, run)
        starts.append(messages)
    train(toy.recipe(), table, run)
    results, expected = _results(run), _results(finished[0])
    for name in expected:
        if not name.endswith("metrics.jsonl") and not name.startswith(("table/", "manifest")):
            assert results[name] == expected[name], name
    steps = [json.loads(line)["step"] for line in (run / "cnn1" / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 13))
    assert not any(line.startswith("normalising images: 1") for line in starts[1])
    assert not list(run.rglob("*.part"))


def test_a_kill_between_description_and_card_leaves_the_run_unfinished(
    finished: tuple[Path, list[str]], table: Table, tmp_path: Path
) -> None:
    run = tmp_path.parent / f"{tmp_path.name}-run"
    shutil.copytree(finished[0], run)
    (run / "model" / "MODEL_CARD.md").unlink()
    (run / "model" / "model.json").write_text("{}")
    (run / "manifest.json").unlink()  # as is that of a run killed before it had claimed the folder
    train(toy.recipe(), table, run)
    results, expected = _results(run), _results(finished[0])
    for name in ("model/model.json", "model/MODEL_CARD.md", "mined.npy"):
        assert results[name] == expected[name]


def _other_seed(recipe: Recipe, table: Table) -> tuple[Recipe, Table]:
    return recipe.model_copy(update={"seed": 4}), table


def _fewer_annotations(recipe: Recipe, table: Table) -> tuple[Recipe, Table]:
    return recipe, Table(table.images, table.annotations[1:])


@pytest.mark.parametrize("other", [_other_seed, _fewer_annotations])
def test_the_folder_of_another_run_is_refused_and_left_as_it_is(
    finished: tuple[Path, list[str]], table: Table, other: Callable[[Recipe, Table], tuple[Recipe, Table]]
) -> None:
    before = _results(finished[0])
    with pytest.raises(InputError, match=r"run: holds a run of another (recipe|table and images), expected a new"):
        train(*other(toy.recipe(), table), finished[0])
    assert _results(finished[0]) == before
    assert not list(finished[0].rglob("*.part"))


def test_a_table_that_lies_where_the_run_would_put_its_own_is_left_as_it_is(table: Table, tmp_path: Path) -> None:
    mine = tmp_path / "project" / "table"
    mine.mkdir(parents=True)
    (mine / "annotations.csv").write_text("by hand")
    with pytest.raises(InputError, match="project: holds files that microcalc train did not make"):
        train(toy.recipe(), table, mine.parent)
    assert (mine / "annotations.csv").read_text() == "by hand"
    assert [f.name for f in mine.parent.iterdir()] == ["table"]


def test_a_model_changed_after_the_run_is_not_passed_off_as_its_result(
    finished: tuple[Path, list[str]], table: Table, tmp_path: Path
) -> None:
    run = tmp_path.parent / f"{tmp_path.name}-run"
    shutil.copytree(finished[0], run)
    (run / "manifest.json").unlink()
    (run / "model" / "cnn2.onnx").write_bytes(b"other")
    with pytest.raises(InputError, match=r"cnn2\.onnx: SHA-256"):
        train(toy.recipe(), table, run)


def test_samples_are_in_the_breast_clear_of_calcium_and_no_more_than_asked_for(
    finished: tuple[Path, list[str]], table: Table
) -> None:
    run, recipe = finished[0], toy.recipe()
    images = _train_images(table, run)
    few = recipe.model_copy(update={"sample": recipe.sample.model_copy(update={"max_positives_per_image": 7})})
    samples = draw_samples(images, few)
    positives, negatives = samples.positive, samples.random
    assert np.bincount(positives[:, 0]).tolist() == [7, 7, 7]
    assert np.bincount(negatives[:, 0]).tolist() == [200, 200, 200]
    members, coarse = np.array(toy.MEMBERS), np.array(toy.COARSE)
    for image, row, column in positives:
        assert images[image].open().breast[row, column]
        assert np.hypot(*(members - (row, column)).T).min() <= 1.01
    mined = np.load(run / "mined.npy")
    assert 0 < len(mined) <= 2 * 75
    for image, row, column in (*negatives, *mined):
        assert images[image].open().breast[row, column]
        assert np.hypot(*(members - (row, column)).T).min() >= 6 + 1.5 - 0.01
        assert np.hypot(*(coarse - (row, column))) >= 6 + 6 - 0.01


def test_microcalcifications_that_cannot_be_seen_are_neither_positive_nor_negative(
    finished: tuple[Path, list[str]], table: Table
) -> None:
    faint = Table(table.images, tuple(replace(a, d_prime=2.9 if a.d_prime else None) for a in table.annotations))
    seen = training._of_intent(faint, toy.recipe())
    assert {a.kind for a in seen.annotations} == {"unsure", "coarse"}
    images = _train_images(seen, finished[0])
    assert len(draw_samples(images, toy.recipe()).positive) == 0
    negative = images[0].negative_mask(images[0].open(), toy.recipe().sample)
    assert not any(negative[row, column] for row, column in toy.MEMBERS)


def test_images_are_stored_at_the_recipe_spacing_with_room_for_every_patch(finished: tuple[Path, list[str]]) -> None:
    files = [f for f in (finished[0] / "normalised").rglob("*.npy") if f.name.count(".") == 1]
    assert len(files) == 4
    for file in files:
        stored = open_stored(file)
        assert stored.breast.shape == toy.SHAPE
        assert stored.border_px >= 5


def test_a_table_without_splits_is_split_by_patient() -> None:
    images = tuple(
        ImageRow(f"i{n}", Path(f"i{n}.png"), "processed", (0.1, 0.1), patient=f"P{n // 3}" if n < 27 else "")
        for n in range(30)
    )
    table = split_by_patient(Table(images), seed=1)
    assert {i.split for i in table.images} == {"train", "validation"}
    split_of: dict[str, set[str]] = {}
    for image in table.images:
        split_of.setdefault(image.patient_or_image, set()).add(image.split)
    assert all(len(splits) == 1 for splits in split_of.values())
    assert len(split_of) == 12
    assert sum(splits == {"validation"} for splits in split_of.values()) == 2
    assert split_by_patient(Table(images), seed=1) == table
    assert split_by_patient(table, seed=2) == table


def _no_such_intent(table: Table) -> Table:
    return Table(tuple(replace(i, intent="raw") for i in table.images), table.annotations)


def _all_train(table: Table) -> Table:
    return Table(tuple(replace(i, split="train") for i in table.images), table.annotations)


def _all_validation(table: Table) -> Table:
    return Table(tuple(replace(i, split="validation") for i in table.images), table.annotations)


def _no_cluster(table: Table) -> Table:
    return Table(table.images, tuple(replace(a, cluster="") for a in table.annotations))


def _too_few_for_a_cluster(table: Table) -> Table:
    return Table(table.images, tuple(replace(a, cluster="") for a in table.annotations[:-4]))


def _no_annotation(table: Table) -> Table:
    return Table(table.images)


def _one_patient(table: Table) -> Table:
    return Table(tuple(replace(i, patient="P", split="") for i in table.images), table.annotations)


def _nothing_in_train(table: Table) -> Table:
    return Table(table.images, table.annotations[-6:])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_such_intent, "the table has no processed image, recipe toy needs them"),
        (_all_train, "no image in split validation"),
        (_all_validation, "no image in split train"),
        (_one_patient, "no image in split train"),
        (
            _too_few_for_a_cluster,
            r"no annotated cluster in split validation, .*: patients that have one: P0 \(in train\), P1",
        ),
        (_nothing_in_train, r"no annotated microcalcification in split train, .* that have one: P3 \(in validation\)$"),
        (_no_annotation, "no annotated microcalcification in split train, expected one: no patient of the table has"),
    ],
)
def test_a_table_that_cannot_train_a_model_is_refused_before_anything_is_trained(
    table: Table, tmp_path: Path, spoil: Callable[[Table], Table], message: str
) -> None:
    with logged() as messages, pytest.raises(InputError, match=message):
        train(toy.recipe(), spoil(table), tmp_path / "run")
    assert messages == []
    assert not (tmp_path / "run").exists()


def test_an_image_that_cannot_be_used_is_named(table: Table, tmp_path: Path) -> None:
    empty, torn = tmp_path / "empty.png", tmp_path / "torn.png"
    Image.fromarray(np.zeros(toy.SHAPE, dtype=np.uint8)).save(empty)
    torn.write_bytes(table.images[0].file.read_bytes()[:300])
    for file in (empty, torn, tmp_path / "missing.png"):
        images = (replace(table.images[0], file=file), *table.images[1:])
        with pytest.raises(InputError, match=f"^{file.name}: "):
            train(toy.recipe(), Table(images, table.annotations), tmp_path / file.stem)


def test_an_image_with_no_pixel_clear_of_calcium_gives_no_negatives(table: Table, tmp_path: Path) -> None:
    everywhere = [AnnotationRow(i.image, 180, 80, 90.0, kind="coarse") for i in table.images]
    with pytest.raises(InputError, match="no pixel clear of annotated calcium"):
        train(toy.recipe(), Table(table.images, (*table.annotations, *everywhere)), tmp_path / "r")


def test_a_network_larger_than_the_border_is_refused_at_once(table: Table, tmp_path: Path) -> None:
    recipe = toy.recipe()
    large = recipe.model_copy(update={"cnn2": recipe.cnn2.model_copy(update={"dilations": (1, 20, 20)})})
    with pytest.raises(RecipeError, match=r"recipe toy: cnn2.dilations sum to 41 px, expected at most 40"):
        train(large, table, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_number_of_workers_does_not_change_what_is_stored(
    finished: tuple[Path, list[str]], table: Table, tmp_path: Path
) -> None:
    NormalisedImages(tmp_path, 0.1).make(with_hashes(table).images, executor=Processes(2))
    made = [f for f in (finished[0] / "normalised").rglob("*") if f.is_file()]
    assert len(made) == 12
    for file in made:
        assert (tmp_path / file.parent.name / file.name).read_bytes() == file.read_bytes()


def test_the_card_says_what_a_stranger_needs_and_nothing_of_this_machine(
    finished: tuple[Path, list[str]], table: Table, tmp_path: Path
) -> None:
    folder = finished[0] / "model"
    card = (folder / "MODEL_CARD.md").read_text()
    described = parse_pair_description((folder / "model.json").read_bytes(), where="model.json")
    for words in (
        "# toy, version ",
        "For research use only",
        "`microcalc train --recipe toy --data TABLE --out RUN`",
        "| CNN1 | 4 4 | 1 2 | 7 px, 0.7 mm | 184 |",
        "| train | 3 | 3 | 15 | 3 |",
        "| validation | 1 | 1 | 5 | 1 |",
        "Systems of train and validation (images): Toy (4).",
        f"Trained on {described.trained_on}.",
        described.cnn1.sha256,
        described.cnn2.sha256,
        (folder / "recipe.toml").read_text().rstrip(),
        f'precision = "{fast_precision("cpu")[0]}"',
        "10.7937/29kw-ae92",
        f"Convolutions trained in float32 (CNN1) and {fast_precision('cpu')[0]} (CNN2)",
        "## Measured on test\n\nNothing yet.\n",
    ):
        assert words in card
    assert card.count(" | default |") == 1
    for path in (str(finished[0]), str(tmp_path.parent), "/tmp", str(Path.home())):
        assert path not in card


def test_figures_are_put_into_a_finished_model_card_and_change_nothing_else(
    finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    shutil.copytree(finished[0] / "model", tmp_path / "model")
    table = read_table(finished[0] / "table")
    write_card(tmp_path / "model", table, figures=["| a | b |", "|---|---|", "| 1 | 2 |"])
    before, after = ((f / "model" / "MODEL_CARD.md").read_text() for f in (finished[0], tmp_path))
    assert after == before.replace("Nothing yet.", "| a | b |\n|---|---|\n| 1 | 2 |")
    untagged = Table(tuple(replace(i, tags="") for i in table.images), table.annotations)
    write_card(tmp_path / "model", untagged)
    assert "Sources" not in (tmp_path / "model" / "MODEL_CARD.md").read_text()
    closed = replace(untagged.images[0], source="Closed Set", licence="No weights trained on it may be published.")
    write_card(tmp_path / "model", Table((closed, *untagged.images[1:]), table.annotations))
    expected = "## Sources and licences\n\n- Closed Set. No weights trained on it may be published.\n"
    assert expected in (tmp_path / "model" / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(("n_validation", "point"), [(1, 3), (8, 3), (19, 3), (20, 2), (200, 2)])
def test_a_default_threshold_rests_on_four_false_clusters_where_the_tune_set_allows(
    n_validation: int, point: int
) -> None:
    assert default_point(n_validation) == point


def _copied(table: Table, folder: Path) -> Table:
    """The table with files of its own, which a test may change."""
    shutil.copytree(table.images[0].file.parent, folder)
    return read_table(folder)


def test_the_run_of_an_image_that_has_changed_since_is_another_run(
    finished: tuple[Path, list[str]], table: Table, tmp_path: Path
) -> None:
    own, before = _copied(table, tmp_path / "data"), _results(finished[0])
    assert train(toy.recipe(), own, finished[0])  # elsewhere, but the same bytes
    with Image.open(own.images[0].file) as image:
        Image.fromarray(np.asarray(image) // 2).save(own.images[0].file)
    with pytest.raises(InputError, match="run: holds a run of another table and images"):
        train(toy.recipe(), own, finished[0])
    assert _results(finished[0]) == before


def test_the_run_of_other_code_is_another_run(
    finished: tuple[Path, list[str]], table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "code_version", lambda *_modules: "0" * 64)
    with pytest.raises(InputError, match="run: holds a run of another code of microcalc"):
        train(toy.recipe(), table, finished[0])


def test_a_bad_image_is_named_and_once_it_is_mended_the_same_command_goes_on(table: Table, tmp_path: Path) -> None:
    own, run = _copied(table, tmp_path / "data"), tmp_path / "run"
    good = [own.images[n].file.read_bytes() for n in (0, 2)]
    for n in (0, 2):
        own.images[n].file.write_bytes(good[0][: 300 + n])  # two files, not one twice
    with pytest.raises(InputError, match=r"^2 of 4 images cannot be used: i0\.png: .*; i2\.png: "):
        train(toy.recipe(), own, run)
    for n, content in zip((0, 2), good, strict=True):
        own.images[n].file.write_bytes(content)
    with pytest.raises(KilledError), logged(kill_at="normalising images: 4") as messages:
        train(toy.recipe(), own, run)
    assert [line[:25] for line in messages if "normalising" in line] == [
        "normalising images: 3 of ", "normalising images: 4 of ",
    ]  # fmt: skip


def test_a_table_without_clusters_is_grouped_by_the_rule_of_the_findings(table: Table) -> None:
    grouped = training._prepared(_no_cluster(table), toy.recipe())
    assert grouped.annotations == training._prepared(table, toy.recipe()).annotations
    some = Table(table.images, tuple(replace(a, cluster="") if a.image == "i0" else a for a in table.annotations))
    assert training._prepared(some, toy.recipe()).annotations == some.annotations  # what it leaves out are single ones


def test_patients_are_drawn_so_that_the_training_can_stand_on_the_splits(table: Table) -> None:
    unsplit = Table(tuple(replace(i, split="") for i in table.images), table.annotations)
    for patient in range(4):
        only = Table(unsplit.images, tuple(a for a in unsplit.annotations if a.image in ("i3", f"i{patient}")))
        single = tuple(a if a.image == "i3" else replace(a, cluster="") for a in only.annotations)
        split = split_by_patient(Table(unsplit.images, single), seed=3)
        if patient != 3:
            assert [i.image for i in split.images if i.split == "validation"] == ["i3"]


def test_two_starts_in_one_folder_do_not_work_at_once(table: Table, tmp_path: Path) -> None:
    run = tmp_path / "run"
    open_output_folder(run, "train")
    held = threading.Event()

    def hold(messages: list[str]) -> None:
        with locked(run / ".lock"):
            held.set()
            for _ in range(3000):  # a minute at most
                if messages:
                    break
                time.sleep(0.02)

    with pytest.raises(KilledError), logged(kill_at="training in") as messages:  # noqa: PT012
        other = threading.Thread(target=hold, args=(messages,))
        other.start()
        held.wait()
        train(toy.recipe(), table, run)
    other.join()
    assert messages[0] == "another process trains in this folder; waiting"


def test_a_missing_library_is_said_before_anything_is_done(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(MissingExtraError, match=r"^onnx is not installed, expected microcalc\[train\]$"):
        train(toy.recipe(), table, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_place_outside_its_image_is_named_and_not_dropped(table: Table, tmp_path: Path) -> None:
    beyond = AnnotationRow("i1", 470.0, 100.0, where="data/annotations.csv line 9")
    with pytest.raises(TableError, match=r"^data/annotations\.csv line 9: row 470, column 100 lies outside image 'i1'"):
        train(toy.recipe(), Table(table.images, (*table.annotations, beyond)), tmp_path / "r")
    corner = AnnotationRow("i1", 429.0, 299.0, kind="no_calcium")
    with pytest.raises(KilledError), logged(kill_at="75"):
        train(toy.recipe(), Table(table.images, (*table.annotations, corner)), tmp_path / "s")


def test_a_full_disk_is_said_with_the_run_that_it_ends_and_the_next_start_goes_on(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError("512 requested and 0 written")  # what numpy makes of it

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError, match=r"^run/normalised/.*npy cannot be written"):
        train(toy.recipe(), table, tmp_path / "run")
    monkeypatch.undo()
    assert not list((tmp_path / "run").rglob("*.part*"))
    with pytest.raises(KilledError), logged(kill_at="75 positive"):
        train(toy.recipe(), table, tmp_path / "run")
