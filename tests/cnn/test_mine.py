from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from microcalc.cnn.export import export_dense
from microcalc.cnn.mine import as_normalised, mine_hard_negatives
from microcalc.cnn.network import Network
from microcalc.cnn.scorer import open_network
from microcalc.domain import Annotations, NormalisedMammogram
from microcalc.geometry import Grid
from microcalc.sample.draw import negative_mask
from microcalc.sample.store import open_stored, store

_PLANTED = [(30, 40, 9.0), (60, 20, 8.0), (62, 90, 7.0)]
_CALCIUM = (45, 70, 20.0)
_MICROCALCIFICATION = (80, 50, 15.0)


def _brightness(file: Path) -> None:
    """A network that rates a pixel by its own brightness."""
    network = Network([1], [1])
    with torch.no_grad():
        weights = network.state_dict()
        for tensor in weights.values():
            tensor.zero_()
        weights["convolutions.0.weight"][0, 0, 1, 1] = 1.0
        weights["head.weight"].fill_(1.0)
    export_dense(network, file)


def test_mining_returns_the_hardest_negatives_and_never_calcium_or_what_lies_near_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).normal(0, 0.1, (100, 110)).astype(np.float32)
    for row, column, height in (*_PLANTED, _CALCIUM, _MICROCALCIFICATION):
        pixels[row, column] = height
        pixels[row, column + 2] = height - 1.5  # a second peak in the neighbourhood; calcium's lies in its clearance
    breast = np.ones(pixels.shape, dtype=bool)
    breast[:, :5] = False
    pixels[50, 2] = 50.0
    store(NormalisedMammogram(pixels, breast, 0.1, (0.0, 0.0), ""), tmp_path / "a.npy", border_px=4)
    stored = open_stored(tmp_path / "a.npy")
    grid = Grid((0.1, 0.1))
    annotations = Annotations(
        centres=grid.to_mm(np.array([_CALCIUM[:2], _MICROCALCIFICATION[:2], _PLANTED[1][:2]])),
        diameter_mm=np.zeros(3),
        kind=np.array(["vascular", "microcalcification", "no_calcium"]),
        cluster=np.array(["", "", ""]),
    )
    negative = negative_mask(annotations, breast, grid, clearance_mm=0.5, unmeasured_clearance_mm=0.5)
    _brightness(tmp_path / "dense.onnx")
    session = open_network(tmp_path / "dense.onnx", threads=1)
    mined, logits = mine_hard_negatives(session, stored, negative, margin_px=1, n=3, min_distance_mm=0.5)
    assert mined.tolist() == [[0, row, column] for row, column, _ in _PLANTED]
    np.testing.assert_allclose(logits, np.arcsinh(np.array([9.0, 8.0, 7.0]) / 4), atol=2e-3)
    everything, _ = mine_hard_negatives(session, stored, negative, margin_px=1, n=10**6, min_distance_mm=0.2)
    assert negative[everything[:, 1], everything[:, 2]].all()


def test_a_stored_image_is_rated_where_it_lies(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).normal(size=(9, 7)).astype(np.float16).astype(np.float32)
    breast = pixels > 0
    store(NormalisedMammogram(pixels, breast, 0.1, (0.4, 0.5), ""), tmp_path / "a.npy", border_px=3)
    back = as_normalised(open_stored(tmp_path / "a.npy"))
    assert np.array_equal(back.pixels, pixels)
    assert np.array_equal(back.breast, breast)
    assert back.grid == Grid((0.1, 0.1), (0.4, 0.5))
