"""The ROC of samples: what is left out is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from microcalc.datasets.table import ImageRow, Table
from microcalc.errors import InputError, UnreadableImageError
from microcalc.models.model import model_folder
from microcalc.training import sample_roc


def _rate(image: ImageRow, *_: object) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if image.image == "bad":
        raise UnreadableImageError("truncated, expected a whole image")
    ratings = np.linspace(0.5, 1, 4, dtype=np.float32), np.linspace(0, 0.4, 9, dtype=np.float32)
    return dict.fromkeys(("pair", "cnn1", "log"), ratings)


def test_an_image_that_cannot_be_used_is_named_and_the_others_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_roc, "_rate", _rate)
    images = [ImageRow(n, Path(f"{n}.png"), "processed", (0.1, 0.1)) for n in ("good", "bad", "fine")]
    table = Table((*images, ImageRow("raw", Path("raw.png"), "raw", (0.1, 0.1))))
    made = sample_roc.sample_roc(model_folder("processed"), table, tmp_path / "out", resamples=9)
    assert made.refused == ("bad.png: truncated, expected a whole image",)
    document = json.loads((tmp_path / "out" / "roc.json").read_text())
    assert (document["images"], document["samples"]) == (2, {"positive": 8, "negative": 18})
    assert document["left_out"] == {"could not be used": 1, "of another intent": 1}
    assert "**1 images could not be used, left out**" in made.text


def test_where_no_image_can_be_used_all_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_roc, "_rate", _rate)
    table = Table((ImageRow("bad", Path("bad.png"), "processed", (0.1, 0.1)),))
    with pytest.raises(InputError, match=r"^none of 1 images could be used: bad\.png: truncated"):
        sample_roc.sample_roc(model_folder("processed"), table, tmp_path / "out")
    assert not (tmp_path / "out").exists()
