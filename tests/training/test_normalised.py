"""Normalised images lie under a key of all that they are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from microcalc.datasets.table import ImageRow, Table
from microcalc.errors import InputError
from microcalc.training import normalised
from microcalc.training.normalised import NormalisedImages, with_hashes

_ROW = ImageRow("a", Path("a.png"), "processed", (0.1, 0.1), "P", "GE", "CC", "L", "train", "0" * 64, "tag")


def test_the_key_follows_everything_that_an_image_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = NormalisedImages(tmp_path, 0.1)
    others = [
        replace(_ROW, sha256="1" * 64),
        replace(_ROW, intent="raw"),
        replace(_ROW, spacing_mm=(0.1, 0.11)),
        replace(_ROW, system="Hologic"),
        replace(_ROW, view="MLO"),
        replace(_ROW, laterality="R"),
    ]
    files = [images.file(_ROW), *(images.file(row) for row in others)]
    files += [NormalisedImages(tmp_path, 0.07).file(_ROW), NormalisedImages(tmp_path, 0.1, equalised=False).file(_ROW)]
    monkeypatch.setattr(normalised, "code_version", lambda *_modules: "other code")
    files.append(images.file(_ROW))
    assert len(set(files)) == len(files)


def test_the_key_does_not_follow_what_the_pixels_do_not_depend_on(tmp_path: Path) -> None:
    images = NormalisedImages(tmp_path, 0.1)
    others = [
        replace(_ROW, image="b", file=Path("elsewhere/b.png")),
        replace(_ROW, patient="Q", split="test", tags=""),
    ]
    assert {images.file(row) for row in others} == {images.file(_ROW)}


def test_a_file_that_is_not_the_one_that_the_table_was_made_of_is_refused_by_name(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    rows = [replace(_ROW, image=name, file=tmp_path / f"{name}.png", sha256="") for name in "abc"]
    hashed = with_hashes(Table(tuple(rows)))
    assert with_hashes(hashed) == hashed
    upper = Table(tuple(replace(i, sha256=i.sha256.upper()) for i in hashed.images))
    assert with_hashes(upper) == hashed
    (tmp_path / "a.png").write_bytes(b"other")
    with pytest.raises(InputError, match=r"^a\.png: SHA-256 [0-9a-f]{12}…, expected [0-9a-f]{12}… as in the table$"):
        with_hashes(hashed)
    (tmp_path / "c.png").unlink()
    with pytest.raises(InputError, match=r"^2 of 3 images cannot be used: a\.png: SHA-256 .*; c\.png: no such file"):
        with_hashes(hashed)
