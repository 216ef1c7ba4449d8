from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from microcalc.cnn.export import average_orientations, export_dense, export_patches
from microcalc.cnn.network import Network
from microcalc.cnn.scorer import apply_densely, open_network
from microcalc.domain import NormalisedMammogram
from microcalc.training.recipe import load_recipe, shipped_recipes

_DILATIONS = [
    (1,),
    (3,),
    (1, 1, 2, 2),
    (1, 2, 2, 4, 4, 8),
    (1, 1, 2, 2, 3, 3),
    (4, 2, 1),
    (2, 4, 2, 6),
    (3, 6, 2, 4, 8),
    (1, 4, 6, 12),
]


def _network(dilations: tuple[int, ...], seed: int = 1) -> Network:
    torch.manual_seed(seed)
    network = Network([3 + i % 3 for i in range(len(dilations))], dilations).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return network


def _pixels(side: int, seed: int = 2) -> torch.Tensor:
    return 5 * torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dilations", _DILATIONS)
def test_dense_and_patch_forms_give_one_logit_in_torch_and_in_onnx(dilations: tuple[int, ...], tmp_path: Path) -> None:
    network = _network(dilations)
    side = network.patch_px
    pixels = _pixels(side + 4)
    patches = pixels.unfold(2, side, 1).unfold(3, side, 1).reshape(25, 1, side, side).contiguous()
    with torch.no_grad():
        dense = network(pixels).flatten().numpy()
        single = network.rate_patches(patches).numpy()
    export_dense(network, tmp_path / "dense.onnx")
    export_patches(network, tmp_path / "patches.onnx")
    onnx_dense, onnx_single = (
        open_network(tmp_path / name, threads=1).run(["logit"], {"patch": given.numpy()})[0]
        for name, given in (("dense.onnx", pixels), ("patches.onnx", patches))
    )
    assert onnx_dense.shape == (1, 1, 5, 5)
    assert onnx_single.shape == single.shape == (25,)
    scale = max(1.0, float(np.abs(dense).max()))
    for other in (single, onnx_dense.ravel(), onnx_single):
        np.testing.assert_allclose(other, dense, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("dilations", _DILATIONS)
def test_the_margin_is_how_far_a_pixel_is_felt(dilations: tuple[int, ...]) -> None:
    network = _network(dilations)
    margin, side = network.margin_px, network.patch_px
    pixels = _pixels(side + 8)
    pixels.requires_grad = True
    rows = torch.zeros(side + 8, dtype=torch.bool)
    for seed in range(4):  # a dead ReLU of one network is alive in another
        (slope,) = torch.autograd.grad(_network(dilations, seed)(pixels)[0, 0, 4, 4], pixels)
        rows |= (slope[0, 0] != 0).any(dim=1)
        assert not slope[0, 0, :, :4].any()
        assert not slope[0, 0, :, -4:].any()
    assert torch.nonzero(rows).min() == 4
    assert torch.nonzero(rows).max() == 4 + 2 * margin


def test_only_pixels_inside_the_receptive_field_change_a_rating() -> None:
    network = _network((1, 2, 2))
    margin = network.margin_px
    pixels = _pixels(31)
    with torch.no_grad():
        before = network(pixels)[0, 0]
        pixels[0, 0, 15, 15] += 30.0
        changed = torch.nonzero(network(pixels)[0, 0] != before)
    centre = 15 - margin
    assert (changed - centre).abs().max() <= margin
    assert [centre, centre] in changed.tolist()


def test_the_dense_form_applied_in_tiles_equals_patches_cut_from_the_image(tmp_path: Path) -> None:
    network = _network((2, 1))
    export_dense(network, tmp_path / "dense.onnx")
    pixels = _pixels(40).numpy()[0, 0]
    mammogram = NormalisedMammogram(pixels, np.ones(pixels.shape, dtype=bool), 0.1, (0.0, 0.0), "")
    logits = apply_densely(open_network(tmp_path / "dense.onnx", threads=1), mammogram, margin_px=3, tile_px=16)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(pixels, 3), (7, 7)).reshape(-1, 1, 7, 7)
    with torch.no_grad():
        patches = network.rate_patches(torch.from_numpy(windows.copy())).numpy()
    np.testing.assert_allclose(logits.ravel(), patches, atol=1e-4)


def test_exporting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for number in range(2):
        export_dense(_network((1, 2, 4)), tmp_path / f"dense{number}.onnx")
        export_patches(_network((1, 2, 4)), tmp_path / f"patches{number}.onnx")
    for name in ("dense", "patches"):
        assert (tmp_path / f"{name}0.onnx").read_bytes() == (tmp_path / f"{name}1.onnx").read_bytes()
    export_dense(_network((1, 2, 4), seed=5), tmp_path / "other.onnx")
    assert (tmp_path / "other.onnx").read_bytes() != (tmp_path / "dense0.onnx").read_bytes()


_TURNS = {  # quarter turns, and whether mirrored
    1: [(0, False)],
    2: [(0, False), (2, False)],
    4: [(k, False) for k in range(4)],
    8: [(k, mirrored) for k in range(4) for mirrored in (False, True)],
}


def _turned_means(network: Network, patches: torch.Tensor, orientations: int) -> NDArray[np.float32]:
    with torch.no_grad():
        turned = [patches.rot90(k, (2, 3)) for k, _ in _TURNS[orientations]]
        turned = [p.flip(3) if m else p for p, (_, m) in zip(turned, _TURNS[orientations], strict=True)]
        means: NDArray[np.float32] = torch.stack([network.rate_patches(p.contiguous()) for p in turned]).mean(0).numpy()
    return means


@pytest.mark.parametrize("orientations", [1, 2, 4, 8])
def test_an_average_over_orientations_is_that_of_the_turned_patches(orientations: int, tmp_path: Path) -> None:
    network = _network((1, 2, 2))
    side = network.patch_px
    patches = 5 * torch.randn(7, 1, side, side, generator=torch.Generator().manual_seed(4))
    export_patches(network, tmp_path / "one.onnx")
    average_orientations(tmp_path / "one.onnx", tmp_path / "all.onnx", orientations=orientations, above=-np.inf)
    session = open_network(tmp_path / "all.onnx", threads=1)
    found = session.run(["logit"], {"patch": patches.numpy()})[0]
    np.testing.assert_allclose(found, _turned_means(network, patches, orientations), atol=1e-4)
    if orientations == 8:
        mirrored = np.ascontiguousarray(patches.numpy()[:, :, ::-1])
        np.testing.assert_allclose(session.run(["logit"], {"patch": mirrored})[0], found, atol=1e-4)
        quarter = np.ascontiguousarray(np.rot90(patches.numpy(), axes=(2, 3)))
        np.testing.assert_allclose(session.run(["logit"], {"patch": quarter})[0], found, atol=1e-4)


@pytest.mark.parametrize("n_above", [0, 1, 4, 9])
def test_patches_rated_low_as_they_are_keep_that_rating(n_above: int, tmp_path: Path) -> None:
    network = _network((1, 2, 2))
    patches = 5 * torch.randn(9, 1, network.patch_px, network.patch_px, generator=torch.Generator().manual_seed(5))
    export_patches(network, tmp_path / "one.onnx")
    with torch.no_grad():
        single = network.rate_patches(patches).numpy()
    limits = np.concatenate([[np.inf], (np.sort(single)[::-1][:-1] + np.sort(single)[::-1][1:]) / 2, [-np.inf]])
    above = float(limits[n_above])
    average_orientations(tmp_path / "one.onnx", tmp_path / "all.onnx", orientations=8, above=above)
    session = open_network(tmp_path / "all.onnx", threads=1)
    found = session.run(["logit"], {"patch": patches.numpy()})[0]
    expected = np.where(single >= above, _turned_means(network, patches, 8), single)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    each = [session.run(["logit"], {"patch": patches.numpy()[i : i + 1]})[0][0] for i in range(9)]
    np.testing.assert_allclose(each, found, atol=1e-5)  # whatever else is in the batch


def test_multiply_adds_count_every_product() -> None:
    network = Network([2, 3], [1, 1])  # 5 x 5 patch: 3 x 3 then 1 x 1 positions
    assert network.multiply_adds() == (9 * 2 + 9 * 6 + 3, 9 * 2 * 9 + 9 * 6 * 1 + 3)
    widening = Network([2, 3], [1, 2])  # 7 x 7 patch: the first layer is needed at every other of 5 x 5
    assert widening.multiply_adds() == (9 * 2 + 9 * 6 + 3, 9 * 2 * 9 + 9 * 6 * 1 + 3)


@pytest.mark.parametrize("name", shipped_recipes())
def test_the_shipped_recipes_rate_a_patch_with_less_work_than_its_dense_form(name: str) -> None:
    settings = load_recipe(name).cnn2
    network = Network(settings.channels, settings.dilations)
    dense, patch = network.multiply_adds()
    assert dense < patch < dense * network.patch_px**2
