"""Measure time and peak memory of detection in one mammogram of 3328 x 4096 pixels, stage by stage.

``python -m benchmarks.detect [--model FOLDER] [--image FILE] [--threads N] [--repeats N]``

The stages run one after the other in a separate process; the shortest of the repeats is reported. Peak memory is the
largest resident size of the process during the stage, including earlier allocations. CNN2 alone, applied densely, is
measured for comparison with the pair.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from benchmarks import Parser, count, run

if TYPE_CHECKING:
    from microcalc.cnn.scorer import CnnPair
    from microcalc.detection.result import Result
    from microcalc.domain import Mammogram, NormalisedMammogram
    from microcalc.models.model import Model

T = TypeVar("T")

ROWS, COLUMNS = 4096, 3328


def main(arguments: Sequence[str]) -> int:
    """Simulate the mammogram unless one is given, and measure in a separate process."""
    from microcalc.models.model import describe_pair, model_folder

    options = _parser().parse_args(arguments)
    if options.measure:
        _measure(options)
        return 0
    if options.model:
        describe_pair(model_folder(options.model))  # one that cannot be measured is named before all else
    with tempfile.TemporaryDirectory() as folder:
        image = options.image or _simulated(Path(folder))
        command = [sys.executable, "-m", "benchmarks.detect", "--measure", "--image", str(image)]
        command += ["--threads", str(options.threads), "--repeats", str(options.repeats)]
        command += ["--model", str(options.model)] if options.model else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, check=False, env=environment).returncode


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.detect", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="a model's folder; by default the shipped one")
    parser.add_argument("--image", type=Path, help="a DICOM mammogram; by default a simulated one")
    parser.add_argument("--threads", type=count, default=2)
    parser.add_argument("--repeats", type=count, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser


def _simulated(folder: Path) -> Path:
    from microcalc.datasets.simulated import Settings, make_exam
    from microcalc.simulate.systems import system

    large = replace(system("hologic"), fields=((ROWS, COLUMNS),))
    settings = Settings(intents=("raw",), views=("CC",), lateralities=("L",))
    return make_exam(folder, large, 0, settings).images[0].file


def _measure(options: argparse.Namespace) -> None:
    """Run the stages and print one line for each."""
    from microcalc.batch.analyse import DetectedFile
    from microcalc.cnn.scorer import CnnPair
    from microcalc.detection.make_result import make_result
    from microcalc.detection.stages import find_clusters
    from microcalc.images.dicom.read import read_dicom
    from microcalc.models.model import load_model, shipped_model
    from microcalc.normalise.mammogram import normalise

    best = _BestOf(options.repeats)
    mammogram = best.of("read", lambda: read_dicom(options.image))
    folder = options.model or shipped_model(mammogram.intent)
    model = load_model(folder, threads=options.threads)
    scorer = model.scorer
    assert isinstance(scorer, CnnPair)
    normalised = best.of("normalise", lambda: normalise(mammogram, spacing_mm=scorer.spacing_mm))
    print(
        f"{mammogram.pixels.shape[1]} x {mammogram.pixels.shape[0]} px, breast {normalised.breast_area_cm2:.0f} cm², "
        f"model {model.name} {model.version}, {options.threads} threads, best of {options.repeats}"
    )
    _measure_scoring(best, normalised, scorer)
    with tempfile.TemporaryDirectory() as out:

        def all_but_read() -> Result:
            normalised = normalise(mammogram, spacing_mm=scorer.spacing_mm)
            detected = find_clusters(mammogram, normalised, scorer.score(normalised), model)
            result = make_result(mammogram, detected, model, breast_area_cm2=normalised.breast_area_cm2)
            DetectedFile(result, mammogram, normalised).write("image", Path(out))
            return result

        document = best.of("all but read", all_but_read)
        _measure_rest(best, mammogram, normalised, model, document, Path(out))
    with tempfile.TemporaryDirectory() as made:
        _measure_dense(best, normalised, _dense_form(folder, Path(made)), folder, threads=options.threads)


def _measure_scoring(best: _BestOf, normalised: NormalisedMammogram, scorer: CnnPair) -> None:
    logit1 = best.of("CNN1, dense", lambda: scorer.rate_all(normalised))
    survivors = scorer.survivors(logit1)
    best.of(f"CNN2, {survivors[0].size} survivors", lambda: scorer.rate_survivors(normalised, survivors))
    best.of("scoring by the pair", lambda: scorer.score(normalised))


def _measure_rest(
    best: _BestOf,
    mammogram: Mammogram,
    normalised: NormalisedMammogram,
    model: Model,
    document: Result,
    out: Path,
) -> None:
    from microcalc.detection.candidates import find_candidates
    from microcalc.detection.clusters import group
    from microcalc.detection.shapes import measure_shapes
    from microcalc.display.overlay import draw_overlay, write_overlay

    likelihood = model.scorer.score(normalised).likelihood
    rules = model.candidates.model_dump()
    candidates = best.of("candidates", lambda: find_candidates(normalised, likelihood, **rules))
    shapes = model.shapes.model_dump()
    outlined = best.of("outline and measure", lambda: measure_shapes(mammogram, candidates, **shapes))
    candidates, rules_of_clusters = outlined.candidates, model.clusters.model_dump()
    best.of(f"group {candidates.likelihood.size}", lambda: group(candidates, **rules_of_clusters))
    page = best.of("overlay, draw", lambda: draw_overlay(mammogram, normalised, document))
    best.of("overlay, write", lambda: write_overlay(page, out / "overlay.png"))


def _dense_form(model: Path, out: Path) -> Path:
    """Return CNN2 in dense form, with the same weights and dilations in place of the strides of the patch form."""
    import onnx

    from microcalc.training.recipe import load_recipe

    network = onnx.load(model / "cnn2.onnx")
    graph = network.graph
    # the network on patches as they lie comes first; then shapes, and the same again on turned patches
    own = list(takewhile(lambda node: node.op_type in ("Mul", "Asinh", "Conv", "Relu"), graph.node))
    own[0].input[0] = graph.input[0].name
    dilations = iter(load_recipe(model / "recipe.toml").cnn2.dilations)
    for node in own:
        for attribute in node.attribute:
            if attribute.name == "strides":
                attribute.ints[:] = [1, 1]
            if attribute.name == "dilations":
                attribute.ints[:] = [next(dilations)] * 2
    last = onnx.helper.make_node("Identity", [own[-1].output[0]], [graph.output[0].name])
    used = {name for node in own for name in node.input}
    weights = [weight for weight in graph.initializer if weight.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*own, last])
    graph.initializer.extend(weights)
    for value, sides in ((graph.input[0], ("rows", "columns")), (graph.output[0], ("out_r", "out_c"))):
        shape: list[str | int | None] = [1, 1, *sides]
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
    file = out / "cnn2_dense.onnx"
    onnx.save(network, file)
    return file


def _measure_dense(best: _BestOf, normalised: NormalisedMammogram, file: Path, model: Path, *, threads: int) -> None:
    """Measure what the pair replaces: CNN2 at every breast pixel."""
    from microcalc.cnn.scorer import apply_densely, open_network
    from microcalc.models.description import DESCRIPTION, parse_pair_description

    session = open_network(file, threads=threads)
    description = parse_pair_description((model / DESCRIPTION).read_bytes(), where=model.name)
    margin_px = description.cnn2.margin_px
    for tile_px in (128, 256):  # small tiles keep to the cache, large ones waste less on their margins
        dense = partial(apply_densely, session, normalised, margin_px=margin_px, tile_px=tile_px)
        best.of(f"CNN2 alone, tiles of {tile_px}", dense)


class _BestOf:
    """Runs a stage several times, and prints the shortest time and the largest resident size."""

    def __init__(self, repeats: int) -> None:
        self._repeats = repeats

    def of(self, name: str, stage: Callable[[], T]) -> T:
        _reset_peak()
        seconds = []
        for _ in range(self._repeats):
            start = perf_counter()
            result = stage()
            seconds.append(perf_counter() - start)
        print(f"{name:24} {min(seconds):7.3f} s {_peak_mb():8.0f} MB", flush=True)
        return result


def _reset_peak() -> None:
    """Reset the kernel's record of the largest resident size (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(run(main))
