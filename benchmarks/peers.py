"""Compare the detector with what can be installed beside it, on the same images: ``python -m benchmarks.peers TABLE``.

Every method gets the normalised image and the breast, which most of them would lack elsewhere, and gives marks; the
same rules count them. NetC alone gets the image as it is shown, because its weights were trained on that. Sensitivity
is that of the microcalcifications of one judge (``--lesions-by inserted``), with intervals by patient; seconds are of
the processor, for one image and one thread, without reading and normalising; memory is the peak of a process that runs
this method alone; size is that of the method's packages and all that they require, beyond numpy and scipy.

``--weights FOLDER`` holds the weights of the networks. ``--train TABLE --minutes M`` first trains those that are not
there yet, one after the other and each for so many minutes of the processor, on patches of 19 mm of the table's
training images; half of the patches lie around a microcalcification, the others anywhere in a breast. All of them
learn from the same images with the same kind of patches and in the same loop. At benign calcium and where the reader
was unsure the U-Net learns nothing, as our own networks do; the losses of the others can leave no place out, so that
these are background to them.

NetC's weights are its authors', so they are not trained here: the file ``C__00900.weights`` of their repository, put
into the folder of weights, is compared. A method that misses packages or weights is named and left out, and so is one
that fails (exit code 1). The packages belong in an environment of their own, never in that of the detector::

    pip install -e ".[cascade]" scikit-image opencv-python-headless monai spotiflow

nnU-Net installs (``pip install nnunetv2``), but is not compared: of the network that it plans for such images one step
takes 87 s of one core, and an epoch has 250. Ultralytics is not compared: it is licensed under the AGPL.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np
from packaging.requirements import Requirement

from benchmarks import Parser, amount, count, run
from benchmarks.compared.filters import blobs, opencv
from benchmarks.compared.marks import SPACING_MM, Find, candidates_of_map
from microcalc.datasets.open import open_row, open_table
from microcalc.datasets.table import Table
from microcalc.errors import InputError
from microcalc.evaluation.marks import Marks
from microcalc.evaluation.matched_images import MatchedImage, Rules, match_image
from microcalc.evaluation.metrics import estimate_metrics, metric_groups
from microcalc.models.model import load_model
from microcalc.normalise.mammogram import normalise

_ONE_THREAD: Final = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}


@dataclass(frozen=True, slots=True)
class Peer:
    """A method: what makes its marks of a folder of weights, and the packages that it needs.

    Attributes
    ----------
    modules
        Names under which the packages are imported.
    weights
        Name of its file in the folder of weights; empty if it needs none.
    train
        Name of the module of ``benchmarks.compared`` that trains it; empty if it is not trained here.
    """

    find: Callable[[Path], Find]
    modules: Sequence[str] = ()
    packages: Sequence[str] = ()
    weights: str = ""
    train: str = ""


def _by_model(name: str) -> Callable[[Path], Find]:
    def of(_folder: Path) -> Find:
        scorer = load_model(name, threads=1).scorer
        return lambda _mammogram, normalised: candidates_of_map(normalised, scorer.score(normalised).likelihood)

    return of


def _network(module: str, packages: Sequence[str], *, weights: str = "") -> Peer:
    file = weights or f"{module}.pt"

    def of(folder: Path) -> Find:
        found: Find = import_module(f"benchmarks.compared.{module}").find(folder / file)
        return found

    return Peer(of, packages, packages, weights=file, train="" if weights else module)


_SKIMAGE: Final = (["skimage"], ["scikit-image"])
_OPENCV: Final = (["cv2"], ["opencv-python-headless"])
PEERS: Final[Mapping[str, Peer]] = {
    "scikit-image blob_dog": Peer(lambda _: blobs("blob_dog", threshold=0.5), *_SKIMAGE),
    "scikit-image blob_log": Peer(lambda _: blobs("blob_log", threshold=0.5, num_sigma=5), *_SKIMAGE),
    "OpenCV difference of Gaussians": Peer(lambda _: opencv("difference of Gaussians"), *_OPENCV),
    "OpenCV top-hat": Peer(lambda _: opencv("top-hat"), *_OPENCV),
    "Laplacian of Gaussian (log)": Peer(_by_model("log")),
    "U-Net of MONAI": _network("unet", ["torch", "monai"]),
    "RetinaNet of MONAI": _network("retinanet", ["torch", "monai"]),
    "Spotiflow": _network("spotiflow", ["torch", "spotiflow"]),
    "NetC": _network("netc", ["torch"], weights="C__00900.weights"),
    "cascade (of raw images)": Peer(_by_model("cascade"), ["numba"], ["numba"]),
    "pair": Peer(_by_model("processed"), ["onnxruntime"], ["onnxruntime"]),
}


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="processed images with annotated microcalcifications")
    parser.add_argument("--lesions-by", help="count microcalcifications of this judge only, such as inserted")
    parser.add_argument("--images", type=count, help="the first so many images only")
    parser.add_argument(
        "--weights", type=Path, default=Path("build/peers"), help="folder of weights (default: %(default)s)"
    )
    parser.add_argument("--train", type=Path, help="table to train the networks on whose weights are not there")
    parser.add_argument("--minutes", type=amount, help="of the processor, to train each of them (default: 8)")
    parser.add_argument("--only", choices=list(PEERS), action="append", help="this method; may be repeated")
    parser.add_argument("--method", choices=list(PEERS), help="measure this method in this process, and print JSON")
    asked = parser.parse_args(arguments)
    table = open_table(asked.table)  # what is wrong with it is said once, and not by each method
    if asked.method is not None:
        reason = _why_not(PEERS[asked.method], asked.weights)
        if reason:
            raise InputError(f"{asked.method}: {reason}")
        print(json.dumps(_measure(asked)))
        return 0
    names = asked.only or list(PEERS)
    if asked.train is not None:
        train_peers(names, open_table(asked.train), asked.weights, minutes=asked.minutes or 8.0, judged=table)
    elif asked.minutes is not None:
        raise InputError("--minutes: expected --train as well, the table to train on")
    return _compare(asked, names, arguments)


def train_peers(names: Iterable[str], table: Table, weights: Path, *, minutes: float, judged: Table) -> None:
    """Train the networks whose packages are there and whose weights are not; note the minutes beside the weights.

    Raises
    ------
    InputError
        A patient to train on is to be judged, too.
    """
    both = {row.patient for row in table.images if row.split == "train"} & {row.patient for row in judged.images}
    if both - {""}:
        raise InputError(f"--train: found patients of the images to judge ({len(both - {''})}), expected others")
    missing = [
        peer for name in names if (peer := PEERS[name]).train and not _absent_modules(peer)
        and not (weights / peer.weights).exists()
    ]  # fmt: skip
    if not missing:
        return
    import torch

    from benchmarks.compared.samples import training_images

    torch.set_num_threads(1)
    images = training_images(table)
    weights.mkdir(parents=True, exist_ok=True)
    for peer in missing:
        print(f"training {peer.train} for {minutes:g} min of the processor", file=sys.stderr)
        path = weights / peer.weights
        unfinished = path.with_name(f"{path.name}.part")
        import_module(f"benchmarks.compared.{peer.train}").train(images, unfinished, minutes=minutes)
        unfinished.rename(path)
        path.with_suffix(".json").write_text(json.dumps({"minutes": minutes, "images": len(images)}))


def _compare(asked: argparse.Namespace, names: Iterable[str], arguments: Sequence[str]) -> int:
    """Print a line for each method; return 1 if one failed, and 2 if none can be measured here."""
    reasons = {name: _why_not(PEERS[name], asked.weights) for name in names}
    for name, reason in reasons.items():
        if reason:
            print(f"{name}: not measured: {reason}", file=sys.stderr)
    able = [name for name, reason in reasons.items() if not reason]
    if not able:
        return 2
    print(
        "| method | at 0.1 false marks per image | at 1 | at 10 | s per image | peak MB | trained, min | MB installed |"
    )
    print("|---" * 8 + "|")
    failed = False
    for name in able:
        command = [sys.executable, "-m", "benchmarks.peers", *arguments, "--method", name]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, check=False, text=True, env={**os.environ, **_ONE_THREAD}
        )
        if done.returncode:
            print(f"{name}: failed with exit code {done.returncode}", file=sys.stderr)
            failed = True
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        cells = [
            name, *found["sensitivity"], f"{found['seconds']:.2f}", f"{found['peak_mb']:.0f}",
            _minutes(asked.weights / PEERS[name].weights), f"{found['installed_mb']:.0f}",
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |", flush=True)
    return int(failed)


def _why_not(peer: Peer, weights: Path) -> str:
    """Return why a method cannot be measured here, or nothing."""
    absent = _absent_modules(peer)
    if absent:
        return f"{' and '.join(absent)} not installed, expected pip install {' '.join(peer.packages)}"
    if peer.weights and not (weights / peer.weights).is_file():
        how = "--train makes it" if peer.train else "its authors give it"
        return f"no {peer.weights} in the folder of weights ({how})"
    return ""


def _absent_modules(peer: Peer) -> list[str]:
    return [module for module in peer.modules if find_spec(module) is None]


def _minutes(weights: Path) -> str:
    noted = weights.with_suffix(".json")
    return f"{json.loads(noted.read_text())['minutes']:g}" if weights.suffix == ".pt" and noted.exists() else ""


def _measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one method on all images."""
    peer, table = PEERS[asked.method], open_table(asked.table)
    if peer.weights:
        import torch

        torch.set_num_threads(1)
    find, rules = peer.find(asked.weights), Rules(lesions_by=asked.lesions_by)
    images, seconds = [], []
    for row in table.images[: asked.images]:
        mammogram = open_row(row)
        normalised = normalise(mammogram, spacing_mm=SPACING_MM)
        began = process_time()
        found = find(mammogram, normalised)
        seconds.append(process_time() - began)
        marks = Marks(row.grid.to_pixels(found.centres), found.likelihood.astype(np.float64))
        images.append(match_image(marks, row, table.rows_of(row), rules))
    return {
        "sensitivity": _sensitivity(images, rules),
        "seconds": float(np.median(seconds)),
        "peak_mb": _peak_mb(),
        "installed_mb": installed_mb(peer.packages),
    }


def _peak_mb() -> float:
    """Return the largest resident size of this process (Linux only); that of getrusage includes its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def _sensitivity(images: Sequence[MatchedImage], rules: Rules) -> list[str]:
    (group, *_rest) = metric_groups(images, rules)
    values = estimate_metrics([group], resamples=1000, seed=0)
    return [
        f"{v.estimate.value:.3f} ({v.estimate.low:.3f} to {v.estimate.high:.3f})"
        for v in values
        if v.metric.startswith("sensitivity at")
    ]


def installed_mb(packages: Iterable[str]) -> float:
    """Return the size of packages and of all that they require, as far as it is installed, beyond numpy and scipy."""
    waiting, counted, size = list(packages), {"numpy", "scipy"}, 0
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in counted:
            continue
        counted.add(name)
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        places = [Path(str(file.locate())) for file in package.files or []]
        size += sum(place.stat().st_size for place in places if place.is_file())
        needs = [Requirement(line) for line in package.requires or []]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return size / 1e6


if __name__ == "__main__":
    sys.exit(run(main))
