from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.logs import KilledError, logged
from tests.study import small
from tests.training import toy

from microcalc import cli, extras
from microcalc.cnn import fit
from microcalc.cnn.mine import as_normalised
from microcalc.datasets.table_files import read_table, write_table
from microcalc.errors import InputError, MissingExtraError
from microcalc.execution.executor import executor_of
from microcalc.models.model import load_model, open_pair
from microcalc.sample.store import open_stored
from microcalc.study.models import Raters
from microcalc.study.options import Options, command_line, study_recipe
from microcalc.study.run import run_study
from microcalc.study.scale import Scale, load_scale

_METHODS = {"cascade", "cnn1", "pair", "log", "no_mining"}
_STAGES = [
    "exams", "normalise", "samples", "cascade", "cnn1", "mining", "cnn2", "no_mining", "models", "scoring",
    "evaluation",
]  # fmt: skip


pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    small.make_table(folder / "data")
    return folder


@pytest.fixture(scope="module")
def scale(folder: Path) -> Scale:
    return load_scale(small.scale_file(folder))


@pytest.fixture(scope="module")
def study(folder: Path, scale: Scale) -> Callable[..., list[str]]:
    """Return a function that runs the small study into a folder and returns the messages that it logged."""

    def run(
        out: Path,
        *,
        data: tuple[str, ...] = ("data",),
        kill_at: str | None = None,
        normalising: bool = True,
        workers: int = 1,
    ) -> list[str]:
        chosen = Options(intent="processed", recipe=str(toy.recipe_file(folder)), normalising=normalising)
        with logged(kill_at) as messages, executor_of(workers) as executor:
            run_study(scale, out, options=chosen, data=[folder / name for name in data], executor=executor)
        return messages

    return run


@pytest.fixture(scope="module")
def finished(folder: Path, study: Callable[..., list[str]]) -> Path:
    study(folder / "run")
    return folder / "run"


def _hashes(run: Path) -> dict[str, str]:
    """Of everything that a stage made, but for clocks, checkpoints and what the time stands in."""
    files = [f for f in run.rglob("*") if f.suffix in (".npy", ".npz", ".onnx") or f.name == "model.json"]
    return {str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _summary(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "report" / "summary.json").read_text())
    return summary


def test_the_study_says_what_it_found_of_all_methods_on_the_same_samples(finished: Path) -> None:
    summary = _summary(finished)
    assert set(summary["mean_sensitivity"]["pooled"]) == _METHODS - {"no_mining"} | {"unmined"}
    assert set(summary["mean_sensitivity"]) == {"pooled", "ge"}
    assert summary["samples"] == {
        "train": {"positive": 10, "negative": pytest.approx(3000, abs=1)},
        "test": {"positive": 10, "negative": pytest.approx(2000, abs=1)},
    }
    assert list(summary["seconds"]) == ["unmined" if s == "no_mining" else s for s in _STAGES]
    assert {f.name for f in (finished / "report").iterdir()} >= {"report.html", "report.md", "summary.json"}


def test_a_second_start_runs_nothing(finished: Path, study: Callable[..., list[str]]) -> None:
    before = {f: f.stat().st_mtime_ns for f in finished.glob("*-*/**/*") if f.is_file() and f.name != "lock"}
    said = study(finished)
    assert [line.split(":")[0] for line in said if "already done" in line] == [
        "exams", "normalise", "samples", "cnn1", "cascade", "mining", "cnn2", "no_mining", "models", "scoring",
        "evaluation",
    ]  # fmt: skip
    assert {f: f.stat().st_mtime_ns for f in before} == before


def test_several_tables_are_the_one_that_they_make(
    folder: Path, finished: Path, study: Callable[..., list[str]]
) -> None:
    whole = read_table(folder / "data")
    write_table(whole.of_images(whole.images[:3]), folder / "first")
    write_table(whole.of_images(whole.images[3:]), folder / "second")
    said = study(finished, data=("first", "second"))
    assert {line.split(":")[0] for line in said if "already done" in line} == {*_STAGES}


def test_a_study_killed_again_and_again_ends_with_the_same_bytes(
    finished: Path, study: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_LOG_EVERY", 1)
    monkeypatch.setattr(fit, "_SAVE_EVERY_S", -1.0)
    out = tmp_path / "run"
    for place in (
        "normalising images: 2",
        "drawing samples: 3",
        "cnn1 step 4 ",
        "cascade: node 1",
        "mining images: 1",
        "cnn2 step 3 ",
        "making models: 1",
        "making models: 3",
        "rating images: 1",
        "evaluation: ",
    ):
        with pytest.raises(KilledError):
            study(out, kill_at=place)
    study(out)
    assert _hashes(out) == _hashes(finished)
    there, expected = _summary(out), _summary(finished)
    del there["seconds"], expected["seconds"]
    assert there == expected
    assert not list(out.rglob("*.part*"))


def test_the_number_of_workers_does_not_change_the_results(
    finished: Path, study: Callable[..., list[str]], tmp_path: Path
) -> None:
    messages = study(tmp_path / "run", workers=2)
    assert any(line.startswith("cnn1 step 8 of 8: loss ") for line in messages)  # logged by a worker
    assert _hashes(tmp_path / "run") == _hashes(finished)


def test_a_model_of_the_study_detects(finished: Path) -> None:
    for folder, name in (("pair", "toy"), ("no_mining", "toy"), ("cascade", "toy-cascade")):
        model = load_model(finished / "models" / folder, threads=1)
        assert (model.name, model.intent, model.scorer.spacing_mm) == (name, "processed", 0.1)
        assert model.operating_point.threshold <= 1.0


def test_studies_in_one_folder_share_what_they_have_in_common(finished: Path, study: Callable[..., list[str]]) -> None:
    exams = list(finished.glob("exams-*"))
    said = study(finished, normalising=False)
    assert said[0].startswith("training in ")
    assert said[1].startswith("exams: already done")
    assert list(finished.glob("exams-*")) == exams
    assert len(list(finished.glob("normalise-*"))) == 2
    study(finished)  # the report shown is that of the last start
    assert "mean 0" not in (finished / "report" / "report.md").read_text()


def test_all_methods_are_rated_at_the_same_samples(finished: Path) -> None:
    pieces = sorted(next(finished.glob("scoring-*")).glob("images/*.npz"))
    assert len(pieces) == 2
    for file in pieces:
        with np.load(file, allow_pickle=False) as piece:
            for kind, n in (("positive", {5}), ("negative", {1000, 1001})):
                lengths = {len(piece[f"{name}_{kind}"]) for name in _METHODS}
                assert len(lengths) == 1
                assert lengths <= n
                for name in _METHODS - {"log"}:
                    rating = piece[f"{name}_{kind}"]
                    assert rating.dtype == np.float32
                    assert ((rating > 0) & (rating < 1)).all()


def test_a_first_network_that_runs_once_changes_no_rating(finished: Path) -> None:
    models = finished / "models"
    pairs = {
        "cnn1": open_pair(models / "pair", stage="cnn1"),
        "pair": open_pair(models / "pair"),
        "no_mining": open_pair(models / "no_mining"),
    }
    mammogram = as_normalised(open_stored(next(finished.glob(f"normalised/*/{'?' * 64}.npy"))))
    rated = dict(Raters({}, pairs).rate(mammogram))
    assert list(rated) == list(pairs)
    for name, pair in pairs.items():
        np.testing.assert_array_equal(rated[name], pair.score(mammogram).likelihood)


def test_images_without_our_normalisation_get_no_noise_for_want_of_its_unit(scale: Scale) -> None:
    assert study_recipe(scale, Options()).augment.noise > 0
    assert study_recipe(scale, Options(normalising=False)).augment.noise == 0


def test_the_recipe_is_the_intents_with_the_steps_of_the_scale(scale: Scale) -> None:
    recipe = study_recipe(scale, Options(intent="raw", spacing_mm=0.07, seed=5))
    assert (recipe.name, recipe.seed, recipe.data.spacing_mm) == ("raw", 5, 0.07)
    assert (recipe.cnn1.steps, recipe.cnn2.steps) == (8, 6)
    with pytest.raises(InputError, match="recipe processed: for processed images, expected one for raw images"):
        study_recipe(scale, Options(intent="raw", recipe="processed"))


def test_the_command_in_the_report_holds_every_option_and_no_path(scale: Scale) -> None:
    options = Options("raw", "ge", False, 0.07, "/somewhere/mine.toml", 3)
    assert command_line(scale, options, own_tables=2) == (
        "microcalc study --scale small --intent raw --data TABLE --data TABLE --leave-out ge --spacing 0.07 "
        "--recipe mine.toml --no-normalising --seed 3 --out RUN"
    )
    assert (
        command_line(scale, Options(), own_tables=0) == "microcalc study --scale small --intent raw --seed 1 --out RUN"
    )


def test_another_table_of_the_same_names_is_normalised_from_its_own_files(
    folder: Path, study: Callable[..., list[str]], tmp_path: Path
) -> None:
    shutil.copytree(folder / "data", folder / "other")
    for file in (folder / "other").glob("*.png"):
        with Image.open(file) as image:
            Image.fromarray(np.asarray(image)[::-1].copy()).save(file)
    shown = []
    for name in ("data", "other"):
        with pytest.raises(KilledError):
            study(tmp_path / "run", data=(name,), kill_at="samples")
        shown.append(len(list((tmp_path / "run" / "normalised").glob(f"*/{'?' * 64}.npy"))))
    assert shown == [5, 10]


def _tree(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_folder_that_no_study_made_is_refused_before_any_work(
    study: Callable[..., list[str]], tmp_path: Path
) -> None:
    mine = tmp_path / "thesis"
    (mine / "report").mkdir(parents=True)
    (mine / "report" / "report.html").write_text("mine")
    before = _tree(mine)
    with pytest.raises(InputError, match=r"^thesis: holds files that microcalc study did not make"):
        study(mine)
    assert _tree(mine) == before


@pytest.mark.parametrize("name", ["report/notes.txt", "models/pair/model.json", "report/report.md"])
def test_what_a_user_puts_among_the_results_is_never_lost(
    finished: Path, study: Callable[..., list[str]], tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / name).write_text("by hand")
    before = _tree(run)
    with pytest.raises(InputError, match=f"{Path(name).parts[0]}: .*{Path(name).name} was not made by microcalc study"):
        study(run)
    assert _tree(run) == before


def test_splits_that_cannot_carry_a_study_are_refused_before_any_work(
    folder: Path, study: Callable[..., list[str]], tmp_path: Path
) -> None:
    whole = read_table(folder / "data")
    kept = tuple(a for a in whole.annotations if a.image not in ("i3", "i4"))
    write_table(replace(whole, annotations=kept), folder / "bare")
    with pytest.raises(InputError, match=r"no annotated microcalcification in split test, .*: P0 \(in train\), P1"):
        study(tmp_path / "run", data=("bare",))
    assert not (tmp_path / "run").exists()


def test_a_missing_library_is_said_before_any_work(
    study: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in ("torch", "numba") else object())
    with pytest.raises(MissingExtraError, match=r"torch and numba are not installed, .* microcalc\[train,cascade\]"):
        study(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "huge"], "no scale 'huge'"),
        (["--scale", "smoke", "--spacing", "0.01"], "--spacing"),
        (["--scale", "smoke", "--intent", "log"], "--intent"),
        (["--scale", "smoke", "--recipe", "processed"], "expected one for raw images"),
        (["--scale", "smoke", "--data", "nowhere"], "nowhere: no images.csv"),
        (["--scale", "smoke", "--leave-out", "hologc"], "no image of hologc, expected one of ge, hologic, siemens"),
        (["--scale", "smoke", "--recipe", "rawer"], "no recipe 'rawer'"),
    ],
)
def test_what_makes_no_study_is_said_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.run(["study", "--out", "run", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_smoke_scale_runs_from_simulated_exams_to_the_report(tmp_path: Path) -> None:
    assert cli.run(["study", "--scale", "smoke", "--out", str(tmp_path / "run"), "--workers", "1"]) == 0
    summary = _summary(tmp_path / "run")
    wanted = load_scale("smoke").samples
    assert (summary["scale"], summary["intent"]) == ("smoke", "raw")
    assert set(summary["mean_sensitivity"]) == {"hologic", "ge", "siemens", "pooled"}
    for split, positive, negative in (
        ("train", wanted.train_positive, wanted.train_negative),
        ("test", wanted.test_positive, wanted.test_negative),
    ):
        assert summary["samples"][split]["positive"] >= positive
        assert summary["samples"][split]["negative"] >= negative
    assert "Its figures mean nothing" in (tmp_path / "run" / "report" / "report.md").read_text()
    for group in summary["mean_sensitivity"].values():
        for axes in group.values():
            for figure in axes.values():
                assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
