"""Read the weights of an exported network back into a network that is trained further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from microcalc.cnn.network import Network
from microcalc.errors import RecipeError


def load_weights(network: Network, file: Path, *, where: str) -> None:
    """Give a network the weights of a file that ``cnn.export`` wrote, in any of its forms.

    Parameters
    ----------
    where
        What messages call the file.

    Raises
    ------
    RecipeError
        The network in the file has other convolutions.
    """
    graph = onnx.load(file).graph
    found, expected = _layers(graph), _expected(network)
    if found not in expected:
        raise RecipeError(f"{where}: {_in_words(found)}, but the recipe has {_in_words(expected[0])}")
    weights = {w.name: numpy_helper.to_array(w) for w in graph.initializer if w.name in network.state_dict()}
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})


_Layer = tuple[int, int, int]
"""Output channels, stride and dilation of a convolution."""


def _layers(graph: onnx.GraphProto) -> list[_Layer]:
    """Return the convolutions of 3 x 3, first to last; each of a network that is applied twice is listed once."""
    channels = {w.name: w.dims[0] for w in graph.initializer if w.name.startswith("convolutions.")}
    layers: dict[str, _Layer] = {}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1] in channels:
            numbers = {a.name: a.ints[0] for a in node.attribute if a.name in ("strides", "dilations")}
            layers[node.input[1]] = (channels[node.input[1]], numbers.get("strides", 1), numbers.get("dilations", 1))
    return list(layers.values())


def _expected(network: Network) -> list[list[_Layer]]:
    """Return the convolutions of a network in its dense form and in that for patches."""
    ones = (1,) * len(network.dilations)
    return [
        list(zip(network.channels, ones, network.dilations, strict=True)),
        list(zip(network.channels, network.strides, network.patch_dilations, strict=True)),
    ]


def _in_words(layers: list[_Layer]) -> str:
    steps = np.cumprod([1, *(stride for _, stride, _ in layers[:-1])]).tolist()
    dilations = [step * dilation for step, (_, _, dilation) in zip(steps, layers, strict=True)]
    return f"channels {[channels for channels, _, _ in layers]} with dilations {dilations}"
