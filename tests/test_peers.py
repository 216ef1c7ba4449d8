"""Places and likelihoods of the methods that the detector is compared with, and NetC's weights."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.compared.marks import candidates_of_points, far_apart, map_of_tiles, points_of_tiles
from benchmarks.compared.netc import NetC, find, with_breast
from benchmarks.compared.retinanet import boxes_of, centres_of
from benchmarks.compared.samples import PATCH_PX, Patch, TrainingImage, discs, draw_patch, training_images, turned
from benchmarks.compared.unet import loss
from benchmarks.peers import PEERS, installed_mb, main, train_peers
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.datasets.table import ImageRow, Table
from microcalc.domain import FloatImage, Mammogram, NormalisedMammogram
from microcalc.errors import InputError, TableError

_SIZES = st.integers(1, 40)
_FEW = settings(max_examples=25)  # each is an image


def _normalised(breast: NDArray[np.bool_], *, spacing_mm: float = 0.1) -> NormalisedMammogram:
    return NormalisedMammogram(breast.astype(np.float32), breast, spacing_mm, (0.0, 0.0), "1.2.3")


@_FEW
@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_of_close_points_the_first_stays_and_no_two_that_stay_are_close(seed: int, count: int) -> None:
    centres = np.random.default_rng(seed).uniform(0, 3, (count, 2))
    kept = far_apart(centres, min_distance=0.3)
    distance = np.hypot(*(centres[:, None] - centres[None]).T)
    assert (distance[np.ix_(kept, kept)] + np.eye(len(kept)) >= 0.3).all()
    dropped = np.setdiff1d(np.arange(count), kept)
    assert all((distance[index, kept[kept < index]] < 0.3).any() for index in dropped)


def test_points_outside_the_breast_and_the_image_are_no_candidates_and_the_likeliest_come_first() -> None:
    breast = np.zeros((20, 30), dtype=bool)
    breast[:, :15] = True
    places = np.array([[3.0, 4.0], [3.0, 20.0], [-2.0, 3.0], [19.6, 3.0], [10.25, 5.5], [10.0, 5.0]])
    found = candidates_of_points(_normalised(breast), places, np.array([0.2, 0.9, 0.9, 0.9, 0.7, 0.6]))
    np.testing.assert_allclose(found.centres, [[1.025, 0.55], [0.3, 0.4]])
    assert found.likelihood.tolist() == [0.7, 0.2]


@_FEW
@given(_SIZES, _SIZES, st.integers(1, 17), st.integers(1, 5))
def test_a_filter_by_tiles_is_that_of_the_whole_image_with_zeros_around_it(
    rows: int, columns: int, tile_px: int, overlap_px: int
) -> None:
    pixels = np.random.default_rng(rows).normal(size=(rows, columns)).astype(np.float32)

    def smooth(part: FloatImage) -> FloatImage:
        return np.asarray(ndimage.uniform_filter(part, 3, mode="constant"), dtype=np.float32)

    everywhere = np.ones(pixels.shape, dtype=bool)
    found = map_of_tiles(pixels, everywhere, smooth, tile_px=tile_px, overlap_px=overlap_px)
    np.testing.assert_allclose(found, smooth(pixels), atol=1e-5)


@_FEW
@given(_SIZES, _SIZES, st.integers(1, 17), st.integers(0, 5))
def test_a_point_in_the_overlap_of_tiles_is_found_once(rows: int, columns: int, tile_px: int, overlap_px: int) -> None:
    pixels = (np.random.default_rng(rows).random((rows, columns)) < 0.1).astype(np.float32)

    def bright(part: FloatImage) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        places = np.argwhere(part > 0).astype(np.float64)
        return places + 0.25, np.ones(len(places))

    everywhere = np.ones(pixels.shape, dtype=bool)
    places, ratings = points_of_tiles(pixels, everywhere, bright, tile_px=tile_px, overlap_px=overlap_px)
    assert sorted((places - 0.25).tolist()) == sorted(np.argwhere(pixels > 0).astype(float).tolist())
    assert len(ratings) == len(places)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_a_microcalcification_stays_where_its_pixel_is_when_a_patch_is_turned(turns: int, flip: bool) -> None:
    pixels = np.zeros((9, 9), dtype=np.float32)
    pixels[2, 7], pixels[5, 1] = 1, 2
    given = Patch(pixels, np.array([[2.0, 7.0]]), np.array([3.0]), np.array([[5.0, 1.0]]))
    patch = turned(given, turns=turns, flip=flip)
    assert np.argwhere(patch.pixels == 1).tolist() == patch.places.tolist()
    assert np.argwhere(patch.pixels == 2).tolist() == patch.unknown.tolist()


@_FEW
@given(st.integers(0, 2**32 - 1))
def test_a_patch_around_calcium_shows_its_microcalcifications_at_their_places(seed: int) -> None:
    places = np.array([[5, 7], [150, 160], [151, 160], [390, 300]])
    pixels = np.zeros((400, 310), dtype=np.float16)
    pixels[tuple(places.T)] = 1
    unknown = np.array([[20, 30], [155, 150]])
    pixels[tuple(unknown.T)] = 2
    none, breast = np.zeros((0, 2)), np.array([[200, 200]])
    shown = TrainingImage(pixels, places.astype(np.float64), np.full(4, 3.0), unknown.astype(np.float64), breast)
    without = TrainingImage(np.zeros_like(pixels), none, np.zeros(0), none, breast)
    patch = draw_patch([without, shown], np.random.default_rng(seed), around_calcium=True)
    assert patch.pixels.shape == (PATCH_PX, PATCH_PX)
    for found, value in ((patch.places, 1), (patch.unknown, 2)):
        assert sorted(found.tolist()) == np.argwhere(patch.pixels == value).tolist()
    assert len(patch.places) == len(patch.diameters_px) > 0


def test_a_disc_has_the_pixels_within_its_radius_and_at_least_the_nearest_one() -> None:
    places = np.array([[0.4, 8.0], [5.0, 4.0]])
    assert np.argwhere(discs(places, (8, 9), radius_px=0.1)).tolist() == [[0, 8], [5, 4]]
    assert np.argwhere(discs(places, (8, 9), radius_px=1.0)).tolist() == [
        [0, 8], [1, 8], [4, 4], [5, 3], [5, 4], [5, 5], [6, 4],
    ]  # fmt: skip


def test_of_a_logit_at_an_unknown_place_the_u_net_learns_nothing_unless_a_microcalcification_is_there() -> None:
    patch = Patch(
        np.zeros((40, 40), dtype=np.float32), np.array([[20.0, 20.0]]), np.array([3.0]), np.array([[20.0, 23.0]])
    )
    logits = torch.zeros(1, 1, 40, 40, requires_grad=True)
    mean: Any = loss(logits, [patch])
    mean.backward()
    assert logits.grad is not None
    gradient = logits.grad[0, 0].numpy()
    assert (gradient[20, 20], gradient[20, 5]) == pytest.approx((-20 / 2 / 1600, 1 / 2 / 1600))
    rows, columns = np.nonzero(gradient == 0)
    distance = np.hypot(rows - 20, columns - 23)
    assert distance.max() <= 5
    assert gradient[20, 23] == gradient[20, 28] == 0


def test_the_centre_of_a_box_is_the_microcalcification_that_it_was_drawn_around() -> None:
    places = np.array([[10.0, 20.0], [30.25, 40.5]])
    boxes = boxes_of(Patch(np.zeros((64, 64), dtype=np.float32), places, np.array([2.0, 9.0]), np.zeros((0, 2))))
    np.testing.assert_allclose(centres_of(boxes), places)
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], [[5, 5], [11, 11]])


def test_a_table_without_training_images_trains_nothing() -> None:
    row = ImageRow("a", Path("a.png"), "processed", (0.1, 0.1), split="validation")
    with pytest.raises(TableError, match="no image of split train"):
        training_images(Table((row,)))


def test_patients_to_judge_are_not_trained_on(tmp_path: Path) -> None:
    row = ImageRow("a", Path("a.png"), "processed", (0.1, 0.1), patient="p", split="train")
    judged = Table((replace(row, image="b", split="validation"),))
    with pytest.raises(InputError, match=r"found patients of the images to judge \(1\), expected others"):
        train_peers(["U-Net of MONAI"], Table((row,)), tmp_path, minutes=1.0, judged=judged)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--minutes", "3"], "expected --train as well"), (["--train", "TABLE", "--minutes", "0"], "a number above 0")],
)
def test_minutes_that_train_nothing_are_refused(tmp_path: Path, options: list[str], said: str) -> None:
    images = "image,file,intent,row_spacing_mm,column_spacing_mm\na,a.png,processed,0.1,0.1\n"
    (tmp_path / "images.csv").write_text(images, encoding="utf-8")
    given = [str(tmp_path) if option == "TABLE" else option for option in options]
    with pytest.raises(InputError, match=said):
        main([str(tmp_path), *given])


def test_where_no_method_can_be_measured_each_is_named_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = "image,file,intent,row_spacing_mm,column_spacing_mm\na,a.png,processed,0.1,0.1\n"
    (tmp_path / "images.csv").write_text(images, encoding="utf-8")
    table = [str(tmp_path), "--weights", str(tmp_path)]
    assert main([*table, "--only", "NetC", "--only", "RetinaNet of MONAI"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.partition(": not measured: ")[0] for line in printed.err.splitlines()] == [
        "NetC",
        "RetinaNet of MONAI",
    ]
    with pytest.raises(InputError, match=r"NetC: no C__00900.weights in the folder of weights"):
        main([*table, "--method", "NetC"])


def test_netc_has_as_many_weights_as_published_and_sees_45_pixels() -> None:
    network = NetC().eval()
    assert sum(value.numel() for value in network.parameters()) == 447_553
    assert {name.split(".")[0] for name in network.state_dict()} == {*(f"block{n}" for n in range(1, 6)), "pred"}
    for value in network.parameters():
        torch.nn.init.constant_(value, 0.01)
    pixels = torch.ones(1, 1, 61, 61, requires_grad=True)
    network(pixels)[0, 0, 30, 30].backward()
    assert pixels.grad is not None
    seen = np.argwhere(pixels.grad[0, 0].numpy() != 0)
    assert seen.min(axis=0).tolist() == [8, 8]
    assert seen.max(axis=0).tolist() == [52, 52]


def _centre_pixel_weights(path: Path) -> Path:
    """NetC's weights with which the logit of a pixel is its value above the mean."""
    network = NetC()
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.fill_(float(name.endswith("bn.weight")))
        for n in range(1, 6):
            network.get_parameter(f"block{n}.conv3.weight")[0, 0, 1, 1] = 1
        network.get_parameter("pred.weight")[0, 0, 2, 2] = 1
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("mirrored", [False, True])
def test_netc_marks_what_its_weights_rate_highest_at_the_images_own_spacing(tmp_path: Path, mirrored: bool) -> None:
    pixels = np.zeros((80, 100), dtype=np.float32)
    pixels[10:70, :60] = 100
    pixels[40, 30], pixels[55, 20], pixels[40, 90] = 255, 200, 255  # the last is outside the breast
    breast = np.zeros((40, 50), dtype=bool)
    breast[5:35, :30] = True
    if mirrored:
        pixels, breast = np.fliplr(pixels), np.fliplr(breast)
    mammogram = Mammogram(pixels, (0.05, 0.05), "processed", "1.2.3")
    found = find(_centre_pixel_weights(tmp_path / "own.weights"))(mammogram, _normalised(breast))
    columns = [99 - 30, 99 - 20] if mirrored else [30, 20]
    np.testing.assert_allclose(found.centres[:2], 0.05 * np.array([[40, columns[0]], [55, columns[1]]]), atol=1e-6)
    assert found.likelihood[0] > found.likelihood[1] > 0.5


def test_the_breast_at_the_images_own_spacing_lies_where_it_does_in_the_normalised_image() -> None:
    breast = np.zeros((30, 20), dtype=bool)
    breast[10:, :5] = True
    native = with_breast(
        Mammogram(np.zeros((60, 40), np.float32), (0.05, 0.05), "processed", "1.2.3"), _normalised(breast)
    )
    rows, columns = np.nonzero(native.breast)
    assert native.spacing_mm == 0.05
    assert (rows.min() * 0.05, columns.max() * 0.05) == pytest.approx((1.0, 0.45), abs=0.06)


def test_netc_refuses_pixels_that_are_not_square() -> None:
    mammogram = Mammogram(np.zeros((4, 4), np.float32), (0.05, 0.06), "processed", "1.2.3", file="view.png")
    with pytest.raises(InputError, match=r"^view\.png: NetC expects square pixels, found 0.05 x 0.06 mm"):
        with_breast(mammogram, _normalised(np.ones((2, 2), dtype=bool)))


def test_a_file_that_does_not_hold_netcs_weights_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "C__00900.weights"
    for content in (b"", b"hello\n", b"<html>404</html>", b"PK\x03\x04", b"\x80\x02]q\x00.", b"\x00" * 99):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"^C__00900\.weights: expected weights saved by torch"):
            find(path)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match=r"^C__00900\.weights: expected 67 entries as NetC has them, found 0"):
        find(path)
    lacking = OrderedDict(NetC().state_dict())
    del lacking["pred.bias"]
    torch.save(lacking, path)
    with pytest.raises(InputError, match=r"found 66; 1 differ, such as pred\.bias: absent for \(1,\)"):
        find(path)


def test_every_network_is_trained_here_or_its_weights_come_from_its_authors() -> None:
    assert [name for name, peer in PEERS.items() if peer.weights and not peer.train] == ["NetC"]


def test_the_size_of_a_package_counts_what_it_requires_once_and_not_numpy() -> None:
    alone = installed_mb(["packaging"])
    assert 0 < alone == installed_mb(["packaging", "Packaging", "numpy", "no-such-package-here"])
    assert installed_mb(["hypothesis"]) >= installed_mb(["sortedcontainers"]) > 0
