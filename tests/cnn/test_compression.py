from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.detection.networks import write_dense_network

from microcalc.cnn.compression import SOFT, compressed, without_compression
from microcalc.cnn.engine import onnxruntime as ort
from microcalc.cnn.export import average_orientations, export_dense, export_patches
from microcalc.cnn.network import Network
from microcalc.domain import FloatImage


def _network() -> Network:
    return Network((4, 8, 8), (1, 1, 2))


def _logits(network: bytes, pixels: FloatImage) -> FloatImage:
    return np.asarray(ort.InferenceSession(network).run(["logit"], {"patch": pixels})[0], dtype=np.float32)


@pytest.mark.parametrize("form", ["dense", "patches", "orientations"])
def test_a_network_without_its_compression_rates_compressed_pixels_as_it_rates_pixels(
    tmp_path: Path, form: str
) -> None:
    file = tmp_path / "network.onnx"
    if form == "dense":
        export_dense(_network(), file)
    else:
        export_patches(_network(), file)
        if form == "orientations":
            average_orientations(file, file, orientations=8, above=-np.inf)
    pixels = 30 * np.random.default_rng(0).normal(size=(5 if form != "dense" else 1, 1, 9, 9)).astype(np.float32)
    network = file.read_bytes()
    expected = _logits(network, pixels)
    np.testing.assert_allclose(_logits(without_compression(network), compressed(pixels)), expected, atol=1e-5)


def test_a_network_without_compression_stays_as_it_is(tmp_path: Path) -> None:
    write_dense_network(tmp_path / "dense.onnx", margin_px=3, seed=0)
    network = (tmp_path / "dense.onnx").read_bytes()
    assert "Asinh" not in {node.op_type for node in onnx.load_from_string(network).graph.node}
    assert without_compression(network) == network


def test_compression_keeps_noise_and_shortens_what_is_far_above_it() -> None:
    noise, bright = np.array([[0.0, 0.1, -0.1]], dtype=np.float32), np.array([[100.0, 1000.0]], dtype=np.float32)
    np.testing.assert_allclose(compressed(noise), noise, rtol=1e-3)
    np.testing.assert_allclose(compressed(bright), SOFT * np.log(2 * bright / SOFT), rtol=1e-2)
