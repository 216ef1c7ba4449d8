"""Networks to ONNX, node by node: the same weights give the same bytes, and detecting needs no torch."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from microcalc.cnn.network import SOFT, Network

_OPSET = 17
_IR_VERSION = 8
_ORIENTATIONS = {
    1: ((False, False, False),),
    2: ((False, False, False), (False, True, True)),
    4: ((False, False, False), (True, True, False), (False, True, True), (True, False, True)),
    8: tuple(product((False, True), repeat=3)),
}
"""Transposed, upside down, mirrored."""


def export_dense(network: Network, file: Path) -> None:
    """Write the dense form: "patch" (1, 1, H, W) -> "logit" (1, 1, H - 2 m, W - 2 m)."""
    ones = [1] * len(network.dilations)
    nodes, weights, last = _graph(network, strides=ones, dilations=list(network.dilations))
    nodes.append(helper.make_node("Identity", [last], ["logit"]))
    _write(nodes, weights, [1, 1, "rows", "columns"], [1, 1, "rows_out", "columns_out"], file)


def export_patches(network: Network, file: Path) -> None:
    """Write the form for patches: "patch" (N, 1, side, side) -> "logit" (N,)."""
    nodes, weights, last = _graph(network, strides=list(network.strides), dilations=list(network.patch_dilations))
    weights.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), "flat"))
    nodes.append(helper.make_node("Reshape", [last, "flat"], ["logit"]))
    side = network.patch_px
    _write(nodes, weights, ["n", 1, side, side], ["n"], file)


def average_orientations(file: Path, out: Path, *, orientations: int) -> None:
    """Write what ``export_patches`` wrote such that a logit is the mean over orientations of the patch.

    Parameters
    ----------
    orientations
        1: the patch as it is; 2: a half turn besides; 4: all quarter turns; 8: their mirror images too.

    Notes
    -----
    What a network of limited training knows of one orientation it need not know of another: the
    mean errs less, at so many times the work.
    """
    model = onnx.load(file)
    side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    nodes, weights = [], []
    constants = {"ends": [-1], "stops": [-side - 1], "rows": [2], "columns": [3], "each": [orientations, -1]}
    for name, values in constants.items():
        weights.append(numpy_helper.from_array(np.array(values, dtype=np.int64), f"turn.{name}"))
    nodes.append(helper.make_node("Transpose", ["patch"], ["turn.transposed"], perm=[0, 1, 3, 2]))
    turned: list[str] = []
    for transposed, upside_down, mirrored in _ORIENTATIONS[orientations]:
        last = "turn.transposed" if transposed else "patch"
        for axis, flipped in (("rows", upside_down), ("columns", mirrored)):
            if flipped:
                name = f"turn.{len(turned)}.{axis}"
                slice_inputs = [last, "turn.ends", "turn.stops", f"turn.{axis}", "turn.ends"]
                nodes.append(helper.make_node("Slice", slice_inputs, [name]))
                last = name
        turned.append(last)
    nodes.append(helper.make_node("Concat", turned, ["turn.all"], axis=0))
    for node in model.graph.node:
        node.input[:] = ["turn.all" if name == "patch" else name for name in node.input]
        node.output[:] = ["turn.logits" if name == "logit" else name for name in node.output]
        nodes.append(node)
    nodes += [
        helper.make_node("Reshape", ["turn.logits", "turn.each"], ["turn.logit"]),
        helper.make_node("ReduceMean", ["turn.logit"], ["logit"], axes=[0], keepdims=0),
    ]
    weights += list(model.graph.initializer)
    _write(nodes, weights, ["n", 1, side, side], ["n"], out)


def _graph(
    network: Network, *, strides: list[int], dilations: list[int]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], str]:
    state = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    nodes = [
        helper.make_node("Mul", ["patch", "soft"], ["scaled"]),
        helper.make_node("Asinh", ["scaled"], ["x0"]),
    ]
    weights = [numpy_helper.from_array(np.array(1.0 / SOFT, dtype=np.float32), "soft")]
    last = "x0"
    for i, (stride, dilation) in enumerate(zip(strides, dilations, strict=True)):
        name = f"convolutions.{i}"
        weights += [numpy_helper.from_array(state[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias")]
        nodes += [
            helper.make_node(
                "Conv", [last, f"{name}.weight", f"{name}.bias"], [f"y{i}"],
                kernel_shape=[3, 3], strides=[stride, stride], dilations=[dilation, dilation],
            ),
            helper.make_node("Relu", [f"y{i}"], [f"x{i + 1}"]),
        ]  # fmt: skip
        last = f"x{i + 1}"
    weights += [numpy_helper.from_array(state[f"head.{part}"], f"head.{part}") for part in ("weight", "bias")]
    nodes.append(helper.make_node("Conv", [last, "head.weight", "head.bias"], ["rating"], kernel_shape=[1, 1]))
    return nodes, weights, "rating"


def _write(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    shape_in: list[int | str],
    shape_out: list[int | str],
    file: Path,
) -> None:
    graph = helper.make_graph(
        nodes,
        "microcalc",
        [helper.make_tensor_value_info("patch", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, shape_out)],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="microcalc"
    )
    onnx.checker.check_model(model)
    temporary = file.with_suffix(".part")
    temporary.write_bytes(model.SerializeToString(deterministic=True))
    temporary.replace(file)
