"""Compare the detector with what can be installed beside it, on the same images: ``python -m benchmarks.peers TABLE``.

Every method gets the normalised image and the breast, which most of them would lack elsewhere, and gives marks; the
same rules count them. Sensitivity is that of the microcalcifications of one judge (``--lesions-by inserted``), with
intervals by patient; seconds are of the processor, for one image and one thread, without reading and normalising;
memory is the peak of a process that runs this method alone; size is that of the packages beyond numpy and scipy.

``--train TABLE --minutes M --unet FILE`` trains a U-Net of MONAI on a table's training images for so many minutes of
the processor, on patches of 19 mm with the microcalcifications as discs, and writes its weights; ``--unet FILE``
compares it. A method whose packages are missing is named and left out: pip install scikit-image
opencv-python-headless monai.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import count, run
from microcalc.datasets.open import open_row, open_table
from microcalc.datasets.table import Table
from microcalc.detection.candidates import find_candidates
from microcalc.domain import Candidates, NormalisedMammogram
from microcalc.errors import InputError
from microcalc.evaluation.marks import Marks
from microcalc.evaluation.matched_images import MatchedImage, Rules, match_image
from microcalc.evaluation.metrics import estimate_metrics, metric_groups
from microcalc.models.model import load_model
from microcalc.normalise.mammogram import normalise
from microcalc.sample.draw import positive_pixels

_SPACING_MM: Final = 0.1
_SIGMAS_PX: Final = (0.7, 2.5)
"""Standard deviations of the blobs that are searched for: diameters of 0.2 to 0.7 mm."""
_MARKS: Final = 1000
_PATCH_PX: Final = 192
_TILE_PX, _OVERLAP_PX = 768, 64
Pixels = NDArray[np.float32]
Find = Callable[[NormalisedMammogram], Candidates]


@dataclass(frozen=True, slots=True)
class Peer:
    """A method: what makes its marks, the modules that it imports, and the packages that it needs."""

    find: Callable[[argparse.Namespace], Find]
    modules: Sequence[str]
    packages: Sequence[str]


def _of_blobs(function: str, **options: Any) -> Callable[[argparse.Namespace], Find]:
    """Return a detector of blobs of scikit-image: places with the response of a difference of Gaussians there."""

    def find(mammogram: NormalisedMammogram) -> Candidates:
        from skimage import feature

        blobs = getattr(feature, function)(
            mammogram.pixels, min_sigma=_SIGMAS_PX[0], max_sigma=_SIGMAS_PX[1], **options
        )
        rows, columns = blobs[:, :2].astype(int).T
        inside = mammogram.breast[rows, columns]
        rating = _difference_of_gaussians(mammogram.pixels)[rows, columns][inside]
        order = np.argsort(-rating, kind="stable")[:_MARKS]
        places = np.column_stack([rows, columns])[inside][order].astype(np.float64)
        return Candidates(mammogram.grid.to_mm(places), _as_likelihood(rating[order]).astype(np.float64))

    return lambda _asked: find


def _difference_of_gaussians(pixels: Pixels) -> Pixels:
    low = ndimage.gaussian_filter(pixels, _SIGMAS_PX[1])
    return np.asarray(ndimage.gaussian_filter(pixels, _SIGMAS_PX[0]) - low, dtype=np.float32)


def _by_opencv(response: Callable[[Pixels], Pixels]) -> Callable[[argparse.Namespace], Find]:
    return lambda _asked: partial(_peaks_of, response)


def _opencv_dog(pixels: Pixels) -> Pixels:
    import cv2

    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), _SIGMAS_PX[0]) - cv2.GaussianBlur(pixels, (0, 0), _SIGMAS_PX[1]))


def _opencv_top_hat(pixels: Pixels) -> Pixels:
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
    return np.asarray(cv2.morphologyEx(cv2.GaussianBlur(pixels, (0, 0), _SIGMAS_PX[0]), cv2.MORPH_TOPHAT, disc))


def _peaks_of(response: Callable[[Pixels], Pixels], mammogram: NormalisedMammogram) -> Candidates:
    return _candidates(mammogram, _as_likelihood(response(mammogram.pixels)))


def _as_likelihood(rating: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a rating in (0, 1) that rises with another, of which values from -10 to 100 differ."""
    return np.asarray(0.5 + np.arctan(rating / 10.0) / np.pi, dtype=np.float32)


def _candidates(mammogram: NormalisedMammogram, likelihood: Pixels) -> Candidates:
    inside = np.where(mammogram.breast, likelihood, np.float32(0))
    return find_candidates(mammogram, inside, min_likelihood=0.0, min_distance_mm=0.3, max_count=_MARKS)


def _by_model(name: str) -> Callable[[argparse.Namespace], Find]:
    def of(_asked: argparse.Namespace) -> Find:
        scorer = load_model(name, threads=1).scorer
        return lambda mammogram: _candidates(mammogram, scorer.score(mammogram).likelihood)

    return of


def _by_unet(asked: argparse.Namespace) -> Find:
    import torch

    network = _unet()
    network.load_state_dict(torch.load(asked.unet, weights_only=True))
    network.eval()

    def find(mammogram: NormalisedMammogram) -> Candidates:
        likelihood: Pixels = np.zeros(mammogram.breast.shape, dtype=np.float32)
        height, width = mammogram.breast.shape
        padded = np.pad(np.arcsinh(mammogram.pixels / 4), _OVERLAP_PX)
        side = _TILE_PX + 2 * _OVERLAP_PX
        for top in range(0, height, _TILE_PX):
            for left in range(0, width, _TILE_PX):
                inside = (slice(top, top + _TILE_PX), slice(left, left + _TILE_PX))
                if not mammogram.breast[inside].any():
                    continue
                tile = np.zeros((side, side), dtype=np.float32)
                cut = padded[top : top + side, left : left + side]
                tile[: cut.shape[0], : cut.shape[1]] = cut
                with torch.inference_mode():
                    logits = network(torch.from_numpy(tile)[None, None])[0, 0].numpy()
                rows, columns = likelihood[inside].shape
                middle = logits[_OVERLAP_PX : _OVERLAP_PX + rows, _OVERLAP_PX : _OVERLAP_PX + columns]
                likelihood[inside] = 1 / (1 + np.exp(-middle / 4))
        return _candidates(mammogram, likelihood)

    return find


_PEERS: Final[Mapping[str, Peer]] = {
    "scikit-image blob_dog": Peer(_of_blobs("blob_dog", threshold=0.5), ["skimage"], ["scikit-image"]),
    "scikit-image blob_log": Peer(_of_blobs("blob_log", threshold=0.5, num_sigma=5), ["skimage"], ["scikit-image"]),
    "OpenCV difference of Gaussians": Peer(_by_opencv(_opencv_dog), ["cv2"], ["opencv-python-headless"]),
    "OpenCV top-hat": Peer(_by_opencv(_opencv_top_hat), ["cv2"], ["opencv-python-headless"]),
    "Laplacian of Gaussian (log)": Peer(_by_model("log"), [], []),
    "U-Net of MONAI": Peer(_by_unet, ["monai", "torch"], ["monai", "torch"]),
    "cascade (of raw images)": Peer(_by_model("cascade"), ["numba"], ["numba", "llvmlite"]),
    "pair": Peer(_by_model("processed"), [], ["onnxruntime"]),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="processed images with annotated microcalcifications")
    parser.add_argument("--lesions-by", help="count microcalcifications of this judge only, such as inserted")
    parser.add_argument("--images", type=count, help="the first so many images only")
    parser.add_argument("--unet", type=Path, help="weights of the U-Net")
    parser.add_argument("--train", type=Path, help="table to train the U-Net on")
    parser.add_argument("--minutes", type=float, default=60.0, help="of the processor, to train the U-Net")
    parser.add_argument("--method", choices=list(_PEERS), help="measure this method in this process, and print JSON")
    asked = parser.parse_args(arguments)
    open_table(asked.table)
    if asked.train is not None:
        if asked.unet is None:
            raise InputError("--train: expected --unet as well, the file for the weights")
        _train_unet(asked.train, asked.unet, minutes=asked.minutes)
    elif asked.unet is not None and not asked.unet.is_file():
        raise InputError(f"{asked.unet.name}: no such file, expected the weights of the U-Net, or --train")
    if asked.method is not None:
        print(json.dumps(_measure(asked)))
        return 0
    print("| method | at 0.1 false marks per image | at 1 | at 10 | s per image | peak MB | MB installed |")
    print("|---" * 7 + "|")
    for name, peer in _PEERS.items():
        missing = [m for m in peer.modules if find_spec(m) is None]
        if missing or (name.startswith("U-Net") and asked.unet is None):
            print(
                f"{name}: not measured, {'no weights' if not missing else ', '.join(missing) + ' not installed'}",
                file=sys.stderr,
            )
            continue
        command = [sys.executable, "-m", "benchmarks.peers", *arguments, "--method", name]
        for option in ("--train", "--minutes"):
            if option in command:
                del command[command.index(option) : command.index(option) + 2]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
        figures = " | ".join(found["sensitivity"])
        print(f"| {name} | {figures} | {found['seconds']:.2f} | {found['peak_mb']:.0f} | {found['installed_mb']:.0f} |")
    return 0


def _measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one method on all images."""
    peer, table = _PEERS[asked.method], open_table(asked.table)
    find, rules = peer.find(asked), Rules(lesions_by=asked.lesions_by)
    images, seconds = [], []
    for row in table.images[: asked.images]:
        mammogram = open_row(row)
        normalised = normalise(mammogram, spacing_mm=_SPACING_MM)
        began = process_time()
        found = find(normalised)
        seconds.append(process_time() - began)
        marks = Marks(row.grid.to_pixels(found.centres), found.likelihood.astype(np.float64))
        images.append(match_image(marks, row, table.rows_of(row), rules))
    return {
        "sensitivity": _sensitivity(images, rules),
        "seconds": float(np.median(seconds)),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "installed_mb": sum(map(_installed_mb, peer.packages)),
    }


def _sensitivity(images: Sequence[MatchedImage], rules: Rules) -> list[str]:
    (group, *_rest) = metric_groups(images, rules)
    values = estimate_metrics([group], resamples=1000, seed=0)
    return [
        f"{v.estimate.value:.3f} ({v.estimate.low:.3f} to {v.estimate.high:.3f})"
        for v in values
        if v.metric.startswith("sensitivity at")
    ]


def _installed_mb(package: str) -> float:
    files = metadata.files(package) or []
    return sum(Path(str(f.locate())).stat().st_size for f in files if Path(str(f.locate())).is_file()) / 1e6


def _unet() -> Any:
    from monai.networks.nets import BasicUNet

    return BasicUNet(spatial_dims=2, in_channels=1, out_channels=1, features=(16, 16, 32, 64, 128, 16))


def _train_unet(table: Path, out: Path, *, minutes: float) -> None:
    """Train the U-Net: half of the patches around a microcalcification, all turned and flipped at random."""
    import torch

    torch.manual_seed(1)
    rng, network = np.random.default_rng(1), _unet()
    images = list(_with_truth(open_table(table)))
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    began, step = process_time(), 0
    while (spent := process_time() - began) < 60 * minutes:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * max(0.01, 1 - spent / (60 * minutes))
        patches, truth = zip(*(_patch(images, rng, around_calcium=n % 2 == 0) for n in range(4)), strict=True)
        given, wanted = (torch.from_numpy(np.stack(p))[:, None] for p in (patches, truth))
        loss: Any = torch.nn.functional.binary_cross_entropy_with_logits(
            network(given), wanted, pos_weight=torch.tensor(20.0)
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step}, {spent / 60:.1f} of {minutes:g} min: loss {float(loss):.4f}", file=sys.stderr)
    torch.save(network.state_dict(), out)


def _with_truth(table: Table) -> Sequence[tuple[NDArray[np.float16], NDArray[np.int32], NDArray[np.float16]]]:
    """Return the pixels of the training images, the pixels of their microcalcifications, and these as a picture."""
    images: list[tuple[NDArray[np.float16], NDArray[np.int32], NDArray[np.float16]]] = []
    for row in table.images:
        if row.split not in ("train", ""):
            continue
        normalised = normalise(open_row(row), spacing_mm=_SPACING_MM)
        places = positive_pixels(table.annotations_of(row), normalised.breast, normalised.grid, radius_mm=0.15)[:, 1:]
        truth: NDArray[np.float16] = np.zeros(normalised.breast.shape, dtype=np.float16)
        truth[places[:, 0], places[:, 1]] = 1
        images.append((np.arcsinh(normalised.pixels / 4).astype(np.float16), places, truth))
    return images


def _patch(
    images: Sequence[tuple[Any, NDArray[np.int32], Any]], rng: np.random.Generator, *, around_calcium: bool
) -> tuple[Pixels, Pixels]:
    pixels, places, truth = images[int(rng.integers(len(images)))]
    centre = rng.integers(0, pixels.shape)
    if around_calcium and len(places):
        centre = places[rng.integers(len(places))] + rng.integers(-_PATCH_PX // 3, _PATCH_PX // 3, size=2)
    top, left = np.clip(centre - _PATCH_PX // 2, 0, np.array(pixels.shape) - _PATCH_PX)
    cut = (slice(top, top + _PATCH_PX), slice(left, left + _PATCH_PX))
    turn, flips = int(rng.integers(4)), bool(rng.integers(2))
    turned = [np.rot90(np.asarray(p[cut], dtype=np.float32), turn) for p in (pixels, truth)]
    one, other = (np.ascontiguousarray(np.fliplr(p) if flips else p) for p in turned)
    return one, other


if __name__ == "__main__":
    sys.exit(run(main))
