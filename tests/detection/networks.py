"""Small untrained networks and a model's folder, made with onnx alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_dense_network(path: Path, *, margin_px: int, seed: int) -> None:
    """Two layers of random 3 x 3 and (2 margin - 1)-sided filters, valid; a CNN1."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(4, 1, 3, 3)).astype(np.float32)
    side = 2 * margin_px - 1
    second = rng.normal(scale=1 / side, size=(1, 4, side, side)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["patch", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["rectified"]),
        helper.make_node("Conv", ["rectified", "second"], ["logit"]),
    ]
    _write(path, nodes, {"first": first, "second": second}, [1, 1, "h", "w"], [1, 1, "oh", "ow"])


def write_patch_network(path: Path, *, margin_px: int, weights: np.ndarray[Any, Any]) -> None:
    """The logit is the patch's product with ``weights`` (S, S); a CNN2."""
    side = 2 * margin_px + 1
    nodes = [
        helper.make_node("Conv", ["patch", "weights"], ["product"]),
        helper.make_node("Reshape", ["product", "shape"], ["logit"]),
    ]
    tensors: dict[str, np.ndarray[Any, Any]] = {
        "weights": weights.reshape(1, 1, side, side).astype(np.float32),
        "shape": np.array([-1], dtype=np.int64),
    }
    _write(path, nodes, tensors, ["n", 1, side, side], ["n"])


def write_model(folder: Path, *, seed: int = 0, rejection_logit: float = 0.0, intent: str = "processed") -> Path:
    """A model's folder with a CNN1 of margin 3 and a CNN2 of margin 5."""
    folder.mkdir(parents=True, exist_ok=True)
    write_dense_network(folder / "cnn1.onnx", margin_px=3, seed=seed)
    weights = np.random.default_rng(seed + 1).normal(size=(11, 11)) / 11
    write_patch_network(folder / "cnn2.onnx", margin_px=5, weights=weights)
    (folder / "model.json").write_text(json.dumps(description(folder, rejection_logit=rejection_logit, intent=intent)))
    return folder


def description(folder: Path, *, rejection_logit: float = 0.0, intent: str = "processed") -> dict[str, Any]:
    """What ``model.json`` says of such a folder."""
    return {
        "schema": "microcalc/model/1",
        "name": "untrained",
        "version": "0",
        "intent": intent,
        "spacing_mm": 0.1,
        "cnn1": {"file": "cnn1.onnx", "margin_px": 3, "sha256": _sha256(folder / "cnn1.onnx")},
        "cnn2": {"file": "cnn2.onnx", "margin_px": 5, "sha256": _sha256(folder / "cnn2.onnx")},
        "rejection_logit": rejection_logit,
        "most_survivors": {"per_cm2": 1e5, "per_image": 10**6},
        "candidates": {"min_distance_mm": 0.5, "min_likelihood": 0.1, "max_count": 200},
        "shapes": {"min_likelihood": 0.5, "min_contrast_to_noise": 2.0, "min_dip": 0.3},
        "mark_operating_points": [
            {"threshold": 0.95, "llf": 0.3, "nlf": 0.1},
            {"threshold": 0.9, "llf": 0.5, "nlf": 1.0},
        ],
        "clusters": {
            "max_gap_mm": 5.0,
            "min_members": 3,
            "max_area_cm2": 1.0,
            "min_likelihood": 0.5,
            "member_likelihood": 0.6,
            "member_gap_mm": 6.0,
        },
        "operating_points": [
            {"threshold": 0.9, "llf": 0.5, "nlf": 0.05},
            {"threshold": 0.7, "llf": 0.8, "nlf": 0.2},
        ],
        "default_operating_point": 1,
        "recipe": "none",
        "trained_on": "nothing",
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write(
    path: Path,
    nodes: list[Any],
    tensors: dict[str, np.ndarray[Any, Any]],
    input_shape: list[int | str],
    output_shape: list[int | str],
) -> None:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("patch", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
