"""Networks to ONNX, node by node: the same weights give the same bytes, and detecting needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from microcalc.cnn.network import SOFT, Network

_OPSET = 17
_IR_VERSION = 8


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
