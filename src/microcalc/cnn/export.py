"""Export networks to ONNX node by node, so that the same weights give the same bytes.

Detection then needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from microcalc.cnn.compression import SOFT
from microcalc.cnn.network import Network
from microcalc.storage.write import write_whole

_OPSET = 17
_IR_VERSION = 8
_Orientation = tuple[bool, bool, bool]
ORIENTATIONS: dict[int, Sequence[_Orientation]] = {
    1: ((False, False, False),),
    2: ((False, False, False), (False, True, True)),
    4: ((False, False, False), (True, True, False), (False, True, True), (True, False, True)),
    8: [(t, u, m) for t, u, m in product((False, True), repeat=3)],
}
"""Whether a patch is transposed, turned upside down, and mirrored, by the number of orientations."""


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


def average_orientations(file: Path, out: Path, *, orientations: int, above: float) -> None:
    """Write the form for patches with test-time augmentation: a logit is the mean over orientations of the patch.

    Parameters
    ----------
    orientations
        1: the patch as it is; 2: also turned by half; 4: all quarter turns; 8: their mirror images, too.
    above
        Only patches whose own logit reaches this are rated in the other orientations; the others
        keep their own.

    Notes
    -----
    A network of limited training rates orientations differently, so the mean has a smaller error, at
    the cost of as many times the work. The mean hardly ever rates a patch high that is rated low as it is.
    """
    if orientations == 1:
        write_whole(out, file.read_bytes())
        return
    model = onnx.load(file)
    side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    turned, turns = _turned("chosen", ORIENTATIONS[orientations][1:], side)
    weights = [
        *model.graph.initializer,
        *turns,
        numpy_helper.from_array(np.array(above, dtype=np.float32), "above"),
        numpy_helper.from_array(np.array(1.0 / orientations, dtype=np.float32), "share"),
        numpy_helper.from_array(np.array([orientations - 1, -1], dtype=np.int64), "each"),
        numpy_helper.from_array(np.array([0], dtype=np.int64), "first_axis"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "second_axis"),
    ]
    nodes = [
        *_renamed(model.graph, {"logit": "first"}, prefix=""),
        helper.make_node("GreaterOrEqual", ["first", "above"], ["reaches"]),
        helper.make_node("NonZero", ["reaches"], ["places"]),
        helper.make_node("Reshape", ["places", "flat"], ["which"]),
        helper.make_node("Gather", ["patch", "which"], ["chosen"], axis=0),
        *turned,
        *_renamed(model.graph, {"patch": "turned", "logit": "others"}, prefix="turned."),
        helper.make_node("Reshape", ["others", "each"], ["by_orientation"]),
        helper.make_node("ReduceSum", ["by_orientation", "first_axis"], ["sum_of_others"], keepdims=0),
        helper.make_node("Gather", ["first", "which"], ["own"], axis=0),
        helper.make_node("Add", ["own", "sum_of_others"], ["sum"]),
        helper.make_node("Mul", ["sum", "share"], ["mean"]),
        helper.make_node("Unsqueeze", ["which", "second_axis"], ["where"]),
        helper.make_node("ScatterND", ["first", "where", "mean"], ["logit"]),
    ]
    _write(nodes, weights, ["n", 1, side, side], ["n"], out)


def _turned(
    patches: str, orientations: Sequence[_Orientation], side: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the nodes that make "turned", the patches in each orientation in turn, and their constants."""
    constants = {"ends": [-1], "stops": [-side - 1], "rows": [2], "columns": [3]}
    weights = [numpy_helper.from_array(np.array(v, dtype=np.int64), f"turn.{k}") for k, v in constants.items()]
    nodes = [helper.make_node("Transpose", [patches], ["turn.transposed"], perm=[0, 1, 3, 2])]
    turned: list[str] = []
    for transposed, upside_down, mirrored in orientations:
        last = "turn.transposed" if transposed else patches
        for axis, flipped in (("rows", upside_down), ("columns", mirrored)):
            if flipped:
                name = f"turn.{len(turned)}.{axis}"
                nodes.append(
                    helper.make_node("Slice", [last, "turn.ends", "turn.stops", f"turn.{axis}", "turn.ends"], [name])
                )
                last = name
        turned.append(last)
    nodes.append(helper.make_node("Concat", turned, ["turned"], axis=0))
    return nodes, weights


def _renamed(graph: onnx.GraphProto, names: Mapping[str, str], *, prefix: str) -> list[onnx.NodeProto]:
    """Return a network's nodes with other inputs, outputs and intermediate names; weights are shared."""
    shared = {w.name for w in graph.initializer}
    renamed = []
    for node in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for ends in (copy.input, copy.output):
            ends[:] = [name if name in shared else names.get(name, prefix + name) for name in ends]
        renamed.append(copy)
    return renamed


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
    write_whole(file, model.SerializeToString(deterministic=True))
