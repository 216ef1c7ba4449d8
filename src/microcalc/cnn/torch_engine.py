"""A second run-time engine, for a GPU: exported networks run by torch.

It takes the place of a session of ONNX Runtime in ``cnn.scorer``: the package for GPUs of that library replaces the one
for processors file by file, so that the two cannot be installed beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from microcalc.cnn.compression import SOFT
from microcalc.cnn.export import ORIENTATIONS

_THRESHOLD: Final = "above"
_SHARE: Final = "share"


@dataclass(frozen=True, slots=True)
class _Convolution:
    """A convolution of an exported network, with a ReLU after it or, for the last one, none."""

    weight: Tensor
    bias: Tensor
    stride: int
    dilation: int


class TorchSession:
    """An exported network on a device, with the part of a session's interface that the scorer uses.

    Parameters
    ----------
    network
        Content of a file that ``cnn.export`` wrote, dense or for patches, averaged over orientations or not.
    device
        As torch names it, such as ``"cuda"``.
    """

    def __init__(self, network: bytes, device: str) -> None:
        graph = onnx.load_from_string(network).graph
        values = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
        self._device = torch.device(device)
        self._convolutions = _convolutions(graph, values, self._device)
        self._compresses = any(node.op_type == "Asinh" for node in graph.node)
        self._is_dense = len(graph.output[0].type.tensor_type.shape.dim) == 4
        self._above = float(values[_THRESHOLD]) if _THRESHOLD in values else None
        self._orientations = 1 if self._above is None else round(1.0 / float(values[_SHARE]))

    def get_overridable_initializers(self) -> list[str]:
        """Return the names of constants that may be given at each run: the threshold of averaging, or none."""
        return [] if self._above is None else [_THRESHOLD]

    def run(self, _outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        """Return the logits of patches, as ONNX Runtime does, to rounding."""
        with torch.inference_mode():
            patches = torch.from_numpy(np.ascontiguousarray(inputs["patch"])).to(self._device)
            logits = self._rate(patches)
            if self._above is not None:
                logits = self._averaged(patches, logits, float(inputs.get(_THRESHOLD, self._above)))
            return [logits.cpu().numpy()]

    def _rate(self, patches: Tensor) -> Tensor:
        x = torch.asinh(patches / SOFT) if self._compresses else patches / SOFT
        *convolutions, head = self._convolutions
        for c in convolutions:
            x = torch.relu_(torch.nn.functional.conv2d(x, c.weight, c.bias, stride=c.stride, dilation=c.dilation))
        x = torch.nn.functional.conv2d(x, head.weight, head.bias)
        return x if self._is_dense else x.flatten()

    def _averaged(self, patches: Tensor, logits: Tensor, above: float) -> Tensor:
        """Return the logits, of which those that reach a threshold are means over orientations of the patch."""
        reaches = logits >= above
        if not bool(reaches.any()):
            return logits
        chosen, total = patches[reaches], logits[reaches].clone()
        for transposed, upside_down, mirrored in ORIENTATIONS[self._orientations][1:]:
            turned = chosen.transpose(2, 3) if transposed else chosen
            flipped = [axis for axis, flips in ((2, upside_down), (3, mirrored)) if flips]
            total += self._rate(turned.flip(flipped) if flipped else turned)
        logits[reaches] = total / self._orientations
        return logits


def _convolutions(
    graph: onnx.GraphProto, values: Mapping[str, np.ndarray[Any, Any]], device: torch.device
) -> list[_Convolution]:
    """Return the convolutions, first to last; each of a network that is applied twice is listed once."""
    found: dict[str, _Convolution] = {}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] not in found:
            numbers = {a.name: a.ints[0] for a in node.attribute if a.name in ("strides", "dilations")}
            weight, bias = (torch.from_numpy(np.array(values[name])).to(device) for name in node.input[1:3])
            found[node.input[1]] = _Convolution(weight, bias, numbers.get("strides", 1), numbers.get("dilations", 1))
    return list(found.values())
