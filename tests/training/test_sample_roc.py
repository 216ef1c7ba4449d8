"""The ROC of samples: what is left out is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microcalc.datasets.table import ImageRow, Table
from microcalc.errors import InputError, UnreadableImageError
from microcalc.execution.executor import SERIAL
from microcalc.execution.shard import Shard
from microcalc.models.model import model_folder
from microcalc.training import sample_roc


def _rate(image: ImageRow, *_: object) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if image.image == "bad":
        raise UnreadableImageError("truncated, expected a whole image")
    ratings = np.linspace(0.5, 1, 4, dtype=np.float32), np.linspace(0, 0.4, 9, dtype=np.float32)
    return dict.fromkeys(("pair", "cnn1", "log"), ratings)


def _image(folder: Path, name: str) -> ImageRow:
    Image.fromarray(np.zeros((80, 60), np.uint8)).save(folder / f"{name}.png")
    return ImageRow(name, folder / f"{name}.png", "processed", (0.1, 0.1))


def test_an_image_that_cannot_be_used_is_named_and_the_others_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_roc, "_rate", _rate)
    images = [_image(tmp_path, name) for name in ("good", "bad", "fine")]
    table = Table((*images, ImageRow("raw", Path("raw.png"), "raw", (0.1, 0.1))))
    made = sample_roc.sample_roc(model_folder("processed"), table, tmp_path / "out", resamples=9)
    assert made.refused == ("bad.png: truncated, expected a whole image",)
    document = json.loads((tmp_path / "out" / "roc.json").read_text())
    assert (document["images"], document["samples"]) == (2, {"positive": 8, "negative": 18})
    assert document["left_out"] == {"could not be used": 1, "of another intent": 1}
    assert "**1 image excluded: could not be used**" in made.text


def test_a_file_that_is_missing_or_does_not_fit_is_named_before_any_image_is_rated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    named_before: list[str] = []

    def rate(image: ImageRow, *arguments: object) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        named_before.extend(caplog.messages)
        return _rate(image, *arguments)

    monkeypatch.setattr(sample_roc, "_rate", rate)
    good, other = _image(tmp_path, "good"), replace(_image(tmp_path, "other"), rows=79, columns=60)
    missing = ImageRow("missing", tmp_path / "missing.png", "processed", (0.1, 0.1))
    with caplog.at_level("WARNING"):
        sample_roc.sample_roc(model_folder("processed"), Table((good, missing, other)), tmp_path / "out", resamples=9)
    assert named_before == [
        "missing.png: no such file, expected a DICOM, PNG, TIFF, JPEG or PGM file",
        "other.png: 80 x 60 pixels, expected 79 x 60 as in the table",
    ]


def test_where_no_image_can_be_used_all_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_roc, "_rate", _rate)
    table = Table((_image(tmp_path, "bad"),))
    with pytest.raises(InputError, match=r"^none of 1 image could be used: bad\.png: truncated"):
        sample_roc.sample_roc(model_folder("processed"), table, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shards_give_the_figures_of_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(tuple(_image(tmp_path, name) for name in ("a", "b", "c", "d")))
    rated: list[str] = []

    def rate(image: ImageRow, *arguments: object) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        rated.append(image.image)
        return _rate(image, *arguments)

    monkeypatch.setattr(sample_roc, "_rate", rate)
    model = model_folder("processed")
    whole = sample_roc.sample_roc(model, table, tmp_path / "whole", resamples=9)
    for number in range(3):
        sample_roc.rate_shard(model, table, tmp_path / "out", executor=SERIAL, shard=Shard(number, 3))
    assert sorted(rated) == sorted("abcd" * 2)
    assert sample_roc.sample_roc(model, table, tmp_path / "out", resamples=9) == whole
    assert sorted(rated) == sorted("abcd" * 2)  # what the shards rated was taken
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["roc.json", "roc.md"]
