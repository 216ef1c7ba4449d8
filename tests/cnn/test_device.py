"""What runs on a GPU, run by torch on the processor: it gives what the processor's own way gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from microcalc.cnn.device import ImagesOnDevice, augmented_on_device
from microcalc.cnn.export import average_orientations, export_dense, export_patches
from microcalc.cnn.network import Network
from microcalc.cnn.scorer import CnnPair, NetworkFile
from microcalc.cnn.torch_engine import TorchSession
from microcalc.domain import NormalisedMammogram
from microcalc.errors import InputError
from microcalc.models.model import load_model, shipped_model
from microcalc.sample.store import StoredImage, gather, open_stored, store


def _stored(folder: Path, shape: tuple[int, int], border_px: int) -> StoredImage:
    pixels = np.random.default_rng(shape[0]).normal(size=shape).astype(np.float32)
    mammogram = NormalisedMammogram(pixels, np.ones(shape, dtype=bool), 0.1, (0.0, 0.0), "uid")
    store(mammogram, folder / f"{shape[0]}", border_px=border_px)
    return open_stored(folder / f"{shape[0]}")


def test_patches_cut_on_the_device_are_those_cut_by_the_processor(tmp_path: Path) -> None:
    images = [_stored(tmp_path, (30, 41), 6), _stored(tmp_path, (52, 23), 6)]
    rng = np.random.default_rng(1)
    image = rng.integers(2, size=200)
    rows, columns = (rng.integers(0, [images[i].breast.shape[axis] for i in image]) for axis in (0, 1))
    samples = np.column_stack([image, rows, columns]).astype(np.int32)
    held = ImagesOnDevice(images, "cpu")
    for margin in (0, 3, 6):
        np.testing.assert_array_equal(
            held.gather(samples, margin_px=margin).numpy(), gather(images, samples, margin_px=margin)
        )
    with pytest.raises(ValueError, match="border 6 px, expected at least the margin 7 px"):
        held.gather(samples, margin_px=7)


def test_patches_are_turned_in_eight_ways_alike_and_keep_their_values() -> None:
    patch = torch.arange(9.0).reshape(1, 3, 3)
    generator = torch.Generator().manual_seed(1)
    turned = augmented_on_device(patch.repeat(4000, 1, 1), generator, gain_range=(1.0, 1.0), noise=0.0, flips=True)
    kinds, counts = np.unique(turned.numpy().reshape(4000, 9), axis=0, return_counts=True)
    assert len(kinds) == 8
    assert counts.min() > 400
    assert all(sorted(kind) == list(range(9)) for kind in kinds.tolist())


def test_gain_and_noise_are_as_asked_for() -> None:
    patches, generator = torch.ones(3000, 5, 5), torch.Generator().manual_seed(2)
    gained = augmented_on_device(patches, generator, gain_range=(0.5, 2.0), noise=0.0, flips=False)
    assert (gained == gained[:, :1, :1]).all()
    assert 0.5 <= float(gained.min()) < 0.55
    assert 1.9 < float(gained.max()) <= 2.0
    assert float(gained.log().mean()) == pytest.approx(0.0, abs=0.05)
    noisy = augmented_on_device(patches, generator, gain_range=(1.0, 1.0), noise=0.1, flips=False)
    assert float(noisy.std()) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("orientations", [1, 2, 4, 8])
def test_torch_gives_the_logits_of_the_exported_network(tmp_path: Path, orientations: int) -> None:
    from microcalc.cnn.scorer import open_network

    torch.manual_seed(orientations)
    network = Network([4, 6, 5], [1, 2, 2])
    export_patches(network, tmp_path / "patches.onnx")
    average_orientations(tmp_path / "patches.onnx", tmp_path / "averaged.onnx", orientations=orientations, above=0.0)
    export_dense(network, tmp_path / "dense.onnx")
    rng = np.random.default_rng(3)
    patches = {"patch": rng.normal(size=(40, 1, network.patch_px, network.patch_px)).astype(np.float32) * 3}
    whole = {"patch": rng.normal(size=(1, 1, 40, 37)).astype(np.float32) * 3}
    for name, inputs in (("averaged", patches), ("dense", whole)):
        file = tmp_path / f"{name}.onnx"
        expected = open_network(file, threads=1).run(["logit"], inputs)[0]
        (found,) = TorchSession(file.read_bytes(), "cpu").run(["logit"], inputs)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("name", ["raw", "processed"])
def test_a_shipped_pair_rates_an_image_alike_on_both_engines(name: str) -> None:
    from microcalc.models.model import describe_pair

    rng = np.random.default_rng(5)
    pixels = rng.normal(size=(300, 260)).astype(np.float32)
    for row, column in rng.integers(20, 240, size=(12, 2)):
        pixels[row : row + 2, column : column + 2] += 12
    mammogram = NormalisedMammogram(pixels, np.ones(pixels.shape, dtype=bool), 0.1, (0.0, 0.0), "uid")
    expected = load_model(name, threads=1).scorer.score(mammogram).likelihood
    description, folder = describe_pair(shipped_model(name)), shipped_model(name)
    pair = CnnPair(
        NetworkFile(folder / description.cnn1.file, description.cnn1.margin_px),
        NetworkFile(folder / description.cnn2.file, description.cnn2.margin_px),
        rejection_logit=description.rejection_logit,
        most_survivors=description.most_survivors,
        spacing_mm=description.spacing_mm,
        device="cpu:0",  # torch on the processor, in place of ONNX Runtime
    )
    found = pair.score(mammogram).likelihood
    assert np.count_nonzero(expected > 0.5) > 20
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_device_that_is_not_there_is_refused_and_one_without_effect_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no CUDA device"):
        load_model("raw", device="cuda")
    with pytest.raises(InputError, match="log: a filter without networks, expected no --device cuda"):
        load_model("log", device="cuda")
    with pytest.raises(InputError, match="cascade: a cascade, expected no --device cuda"):
        load_model("cascade", device="cuda")


def test_a_training_on_a_device_resumes_as_it_would_have_gone_on(tmp_path: Path) -> None:
    from microcalc.cnn.fit import Augmentation, _patches_of

    images = [_stored(tmp_path, (30, 41), 6)]
    samples = np.array([[0, 5, 6], [0, 20, 30]], dtype=np.int32)
    cut = _patches_of(images, Augmentation((0.7, 1.4), 0.1, True), margin_px=3, device="cpu:0")
    again = _patches_of(images, Augmentation((0.7, 1.4), 0.1, True), margin_px=3, device="cpu:0")
    one, other = np.random.default_rng(4), np.random.default_rng(4)
    cut(samples, one), cut(samples, other)
    assert torch.equal(cut(samples, one), again(samples, other))


def test_detect_refuses_a_device_that_is_not_there_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    from microcalc.cli import run

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    Image.fromarray(np.full((80, 80), 9, dtype=np.uint16)).save(tmp_path / "a.png")
    arguments = ["--pixel-spacing", "0.1", "--intent", "processed", "--device", "cuda", "--model", "processed"]
    assert run(["detect", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
