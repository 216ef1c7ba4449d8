"""From a table of pictures to a model, and from the model to findings, by the two commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.logs import logged
from tests.training import toy

from microcalc import cli
from microcalc.detection.result import Result
from microcalc.evaluation.match import match
from microcalc.geometry import Grid

_STEPS = {"steps = 12\n": "steps = 120\n", "steps = 14\n": "steps = 150\n"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` and the finished ``run``, trained by the command."""
    folder = tmp_path_factory.mktemp("work")
    toy.make_table(folder / "data", patients=5)
    text = toy.RECIPE
    for short, long in _STEPS.items():
        text = text.replace(short, long)
    (folder / "toy.toml").write_text(text)
    assert _train(folder, folder / "run") == 0
    return folder


def _train(folder: Path, run: Path, *options: str) -> int:
    arguments = ["--recipe", str(folder / "toy.toml"), "--data", str(folder / "data"), "--out", str(run)]
    return cli.run(["train", *arguments, *options])


def _detect(image: Path, out: Path, *options: str) -> int:
    picture = ["--pixel-spacing", "0.1", "--intent", "processed", "--threads", "1"]
    return cli.run(["detect", str(image), "--out", str(out), *picture, *options])


def test_a_trained_model_finds_the_cluster_of_an_image_it_has_not_seen(trained: Path, tmp_path: Path) -> None:
    toy.make_table(tmp_path / "new", patients=9)
    image = tmp_path / "new" / "i8.png"
    assert _detect(image, tmp_path / "out", "--model", str(trained / "run" / "model")) == 0
    assert (tmp_path / "out" / "i8.png").is_file()
    found = Result.model_validate_json((tmp_path / "out" / "i8.json").read_text())
    assert found.model is not None
    assert found.model.name == "toy"
    grid = Grid((0.1, 0.1))
    marks = grid.to_mm(np.array([(c.row, c.column) for c in found.candidates[: len(toy.MEMBERS) + 3]]))
    rating = [c.likelihood for c in found.candidates[: len(toy.MEMBERS) + 3]]
    hits = match(marks, rating, grid.to_mm(np.array(toy.MEMBERS)), hit_mm=0.3)
    assert np.isfinite(hits.lesion_rating).all()
    findings = [c for c in found.clusters if c.finding]
    assert findings
    centre = np.mean([(found.candidates[m].row, found.candidates[m].column) for m in findings[0].members], axis=0)
    assert np.hypot(*(centre - np.mean(toy.MEMBERS, axis=0))) < 15  # 1.5 mm


def test_the_same_command_again_has_nothing_to_do(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained / "run" / "model"
    before = {f.name: f.read_bytes() for f in model.iterdir()}
    assert _train(trained, trained / "run") == 0
    captured = capsys.readouterr()
    first, terms = captured.out.splitlines()
    assert first == f"{model}: the trained model"
    assert terms.startswith("CDD-CESM: ")  # whose images it learnt from
    assert captured.err == "the run is finished: nothing to do\n"
    assert {f.name: f.read_bytes() for f in model.iterdir()} == before
    files = {"model.json", "cnn1.onnx", "cnn2.onnx", "recipe.toml", "MODEL_CARD.md", "training-images.txt"}
    assert set(before) == files


def test_another_recipe_in_the_same_folder_is_refused_in_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.toml").write_text(toy.RECIPE)
    arguments = ["--recipe", str(tmp_path / "toy.toml"), "--data", str(trained / "data"), "--out", str(trained / "run")]
    assert cli.run(["train", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ("microcalc: run: holds a run of another recipe, expected a new folder or the same run\n")


def test_a_model_is_not_used_on_images_of_the_other_intent(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(trained / "run" / "model"), "--intent", "raw", "--pixel-spacing", "0.1"]
    assert cli.run(["detect", str(trained / "data" / "i0.png"), "--out", str(tmp_path), *options]) == 2
    assert capsys.readouterr().err == "microcalc: toy: a model for processed images, expected one for raw images\n"


def test_a_training_interrupted_again_and_again_leaves_with_130_and_goes_on(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.toml").write_text(toy.RECIPE)
    (tmp_path / "data").symlink_to(trained / "data")
    places = {"normalising images: 2": "2", "cnn1 step": "1", "mining images: 1": "1", "cnn2 step": "1"}
    for line, workers in places.items():
        with logged(line, error=KeyboardInterrupt):
            assert _train(tmp_path, tmp_path / "run", "--workers", workers) == 130
        assert capsys.readouterr().err.splitlines()[-1] == "microcalc: interrupted"
    assert _train(tmp_path, tmp_path / "run") == 0
    assert (tmp_path / "run" / "model" / "MODEL_CARD.md").is_file()


def test_ctrl_c_while_training_leaves_with_130_and_one_line(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "toy.toml").write_text(toy.RECIPE.replace("steps = 12\n", "steps = 1000000\n"))
    command = [sys.executable, "-m", "microcalc", "train", "--workers", "1", "--recipe", "toy.toml"]
    process = subprocess.Popen(
        [*command, "--data", str(trained / "data"), "--out", "run"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("cnn1 step"):
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "microcalc: interrupted"
    assert "Traceback" not in errors
    lines = (tmp_path / "run" / "cnn1" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["step"] == 50


def test_what_cannot_be_trained_on_is_refused_in_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.make_table(tmp_path / "data")
    (tmp_path / "toy.toml").write_text(toy.RECIPE)
    (tmp_path / "data" / "i1.png").write_bytes(b"no picture")
    assert _train(tmp_path, tmp_path / "run") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("microcalc: ")]
    assert len(errors) == 1
    assert errors[0].startswith("microcalc: i1.png: ")


def test_an_image_without_a_breast_is_named(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((300, 200), dtype=np.uint8)).save(tmp_path / "air.png")
    assert _detect(tmp_path / "air.png", tmp_path / "out", "--model", str(trained / "run" / "model")) == 2
    assert capsys.readouterr().err.startswith("microcalc: air.png: ")
    assert not (tmp_path / "out").exists()
