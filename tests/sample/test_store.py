from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microcalc.domain import NormalisedMammogram
from microcalc.sample import store as module
from microcalc.sample.store import StoredImage, StoredImages, gather, open_stored, store


def _mammogram(seed: int, shape: tuple[int, int] = (23, 31)) -> NormalisedMammogram:
    rng = np.random.default_rng(seed)
    pixels = rng.normal(0, 3, shape).astype(np.float32)
    return NormalisedMammogram(pixels, rng.random(shape) < 0.7, 0.1, (0.02, -0.01), "uid")


def _stored(mammogram: NormalisedMammogram, file: Path, border_px: int = 6) -> StoredImage:
    store(mammogram, file, border_px=border_px)
    return open_stored(file)


def test_an_image_comes_back_as_it_was_stored_to_half_precision(tmp_path: Path) -> None:
    mammogram = _mammogram(1)
    mammogram.pixels[3, 4] = 1e6
    stored = _stored(mammogram, tmp_path / "a.npy")
    assert np.array_equal(stored.breast, mammogram.breast)
    assert (stored.spacing_mm, stored.origin_mm) == (mammogram.spacing_mm, mammogram.origin_mm)
    inside = stored.pixels[6:-6, 6:-6].astype(np.float32)
    np.testing.assert_allclose(inside, mammogram.pixels.clip(-1000, 1000), rtol=2**-10)
    assert isinstance(stored.pixels, np.memmap)
    assert not list(tmp_path.glob("*.part"))


def test_the_pixels_are_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace = Path.replace

    def noting(self: Path, target: Path) -> Path:
        written.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noting)
    store(_mammogram(1), tmp_path / "a.npy", border_px=2)
    assert written[-1] == "a.npy"
    assert len(written) == 3


@pytest.mark.parametrize("margin", [0, 2, 6])
def test_gathered_patches_are_the_image_around_each_sample_with_zeros_beyond_it(tmp_path: Path, margin: int) -> None:
    mammograms = [_mammogram(n, (20 + n, 31)) for n in range(3)]
    images = [_stored(m, tmp_path / f"{n}.npy") for n, m in enumerate(mammograms)]
    samples = np.array([[0, 0, 0], [2, 21, 30], [1, 10, 15], [2, 0, 30]], dtype=np.int32)
    patches = gather(images, samples, margin_px=margin)
    assert patches.dtype == np.float32
    for patch, (image, row, column) in zip(patches, samples, strict=True):
        wide = np.pad(mammograms[image].pixels.astype(np.float16), margin)
        assert np.array_equal(patch, wide[row : row + 2 * margin + 1, column : column + 2 * margin + 1])


def test_a_border_narrower_than_the_margin_is_refused(tmp_path: Path) -> None:
    image = _stored(_mammogram(1), tmp_path / "a.npy")
    with pytest.raises(ValueError, match="border 6 px, expected at least the margin 7 px"):
        gather([image], np.zeros((1, 3), dtype=np.int32), margin_px=7)


def test_of_any_number_of_images_few_are_mapped_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_MAPPED", 3)
    opened: list[str] = []

    def noting(file: Path) -> StoredImage:
        opened.append(file.name)
        return open_stored(file)

    monkeypatch.setattr(module, "open_stored", noting)
    files = [tmp_path / f"{n}.npy" for n in range(6)]
    mammograms = [_mammogram(n, (20 + n, 31)) for n in range(6)]
    for mammogram, file in zip(mammograms, files, strict=True):
        store(mammogram, file, border_px=6)
    images = StoredImages(files)
    samples = np.array([[n, 3, 4] for n in (0, 1, 0, 2, 0, 3, 0, 1)], dtype=np.int32)
    one_by_one = [gather([open_stored(file) for file in files], samples[i : i + 1], margin_px=2) for i in range(8)]
    assert np.array_equal(gather(images, samples, margin_px=2), np.concatenate(one_by_one))
    assert opened == ["0.npy", "1.npy", "2.npy", "3.npy", "1.npy"]  # 1 was not asked for the longest when 3 came
    assert [image.shape for image in images[4:]] == [(24, 31), (25, 31)]
    assert np.array_equal(images[-1].breast, mammograms[-1].breast)
    assert len(images) == len(list(images)) == 6


def test_breast_masks_are_not_held(tmp_path: Path) -> None:
    image = _stored(_mammogram(1), tmp_path / "a.npy")
    assert image.breast is not image.breast
    held = replace(image, mask=image.breast)
    assert held.breast is held.breast
    assert image.shape == held.breast.shape


def test_images_travel_to_other_processes_by_name(tmp_path: Path) -> None:
    stored = _stored(_mammogram(1), tmp_path / "a.npy")
    images = pickle.loads(pickle.dumps(StoredImages([tmp_path / "a.npy"])))
    assert np.array_equal(images[0].pixels, stored.pixels)
    assert len(pickle.dumps(images)) < 1000
