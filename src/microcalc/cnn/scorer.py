"""Rate pixels by the pair of networks: the first rejects most of them, the second rates the survivors.

The first network (CNN1) is small and runs densely over the breast, tile by tile.
Pixels whose logit reaches ``rejection_logit`` go to the second network (CNN2) as
patches, since below a few per cent of the pixels patches cost less than a second
dense pass. The grey levels of an image are compressed once for both networks
(``compression``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microcalc.cnn.compression import compressed, without_compression
from microcalc.cnn.engine import onnxruntime as ort
from microcalc.cnn.limit import SurvivorLimit, most_averaged
from microcalc.domain import BoolImage, FloatImage, NormalisedMammogram, PixelScores, Stage

Logits = NDArray[np.float32]
Pixels = tuple[NDArray[np.intp], ...]
"""Rows and columns of pixels."""

TILE_PX = 128  # what a layer leaves stays in the cache: 2.4 times faster than 256 with a dozen channels
BATCH_PATCHES = 16  # likewise: a quarter faster than 64 with 24 channels at the second layer
_TILE_PX_OF_GPU, _BATCH_PATCHES_OF_GPU = 1024, 4096  # a GPU wants much work at a time
_TILE_STEP_PX = 16  # tiles at the edge of the breast are smaller by whole steps: so there are few shapes
_THRESHOLD = "above"  # as ``cnn.export`` names it
_THRESHOLD_AS_INPUT = bytes.fromhex("3a11 5a0f 0a05 61626f7665 1206 0a04 0801 1200")
"""ModelProto(graph=GraphProto(input=[a float scalar "above"])), serialised."""
SOFTNESS = 4.0
"""Logits are divided by this before the logistic function.

float32 holds no number between 1 - 6e-8 and 1, which a plain logistic function reaches
at a logit of 17: the most conspicuous places would tie. Divided by 4, it is 64.
"""


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """An exported network: its ONNX file, and how many pixels of surroundings it needs on each side."""

    file: Path
    margin_px: int


class CnnPair:
    """A ``domain.PixelScorer`` that rates every breast pixel with two networks.

    Parameters
    ----------
    cnn1
        ONNX, input "patch" (1, 1, H, W), output "logit" (1, 1, H - 2 margin, W - 2 margin).
    cnn2
        ONNX, input "patch" (n, 1, S, S), S = 2 margin + 1, output "logit" (n,).
    rejection_logit
        Pixels with a CNN1 logit below this are rejected.
    most_survivors
        Limit on the pixels that CNN2 rates, so that the time hardly depends on the content of the image.
        If more survive, CNN2 rates those that CNN1 rates highest. None: no limit.
    spacing_mm
        The pixel spacing that both were trained at.
    threads
        Number of threads of the run-time engine.
    stage
        ``"cnn1"`` rates by the first network alone, for comparison.
    device
        ``"cpu"``: ONNX Runtime; any other: a device of torch, such as ``"cuda"``, which gives the same to rounding.
    """

    def __init__(
        self,
        cnn1: NetworkFile,
        cnn2: NetworkFile,
        *,
        rejection_logit: float,
        most_survivors: SurvivorLimit | None,
        spacing_mm: float,
        threads: int = 2,
        stage: Stage = "pair",
        device: str = "cpu",
    ) -> None:
        self._spacing_mm = spacing_mm
        self._rejection_logit = rejection_logit
        self._most_survivors = most_survivors
        self._stage = stage
        self._margin1_px, self._margin2_px = cnn1.margin_px, cnn2.margin_px
        files = [cnn1.file.read_bytes(), cnn2.file.read_bytes()]
        without = [without_compression(file) for file in files]
        self._compresses = all(file != own for file, own in zip(files, without, strict=True))
        networks = without if self._compresses else files
        if device == "cpu":
            self._tile_px, self._batch = TILE_PX, BATCH_PATCHES
            self._cnn1 = _session(networks[0], threads)
            self._cnn2 = _open_with_threshold(networks[1], threads=threads)
        else:
            from microcalc.cnn.torch_engine import TorchSession  # brings torch

            self._tile_px, self._batch = _TILE_PX_OF_GPU, _BATCH_PATCHES_OF_GPU
            self._cnn1, self._cnn2 = (TorchSession(network, device) for network in networks)
        self._averages = bool(self._cnn2.get_overridable_initializers())

    @property
    def spacing_mm(self) -> float:
        """Return the pixel spacing that the networks were trained at."""
        return self._spacing_mm

    def score(self, mammogram: NormalisedMammogram) -> PixelScores:
        """Return the likelihood of every pixel, in (0, 1) in the breast."""
        pixels = self._input_of(mammogram)
        return self._score(mammogram, pixels, self._rate_all(mammogram, pixels))

    def score_from(self, mammogram: NormalisedMammogram, logit1: Logits) -> PixelScores:
        """Return the likelihood of every pixel from CNN1's logits, which pairs with one CNN1 share."""
        return self._score(mammogram, self._input_of(mammogram), logit1)

    def _score(self, mammogram: NormalisedMammogram, pixels: FloatImage, logit1: Logits) -> PixelScores:
        if self._stage == "cnn1":
            return PixelScores(_where(mammogram.breast, rejected_likelihood(logit1, self._rejection_logit, below=1.0)))
        lowest = self._lowest_logit(mammogram, logit1)
        survivors = np.nonzero(logit1 >= lowest)
        logit2, averaged_all = self._rate_most(pixels, survivors, mammogram.breast_area_cm2)
        likelihood = _where(mammogram.breast, rejected_likelihood(logit1, lowest))
        likelihood[survivors] = survivor_likelihood(logit2)
        return PixelScores(likelihood, limit_reached=lowest > self._rejection_logit or not averaged_all)

    def rate_all(self, mammogram: NormalisedMammogram) -> Logits:
        """Return CNN1's logit of every breast pixel, (rows, columns); -inf outside the breast."""
        return self._rate_all(mammogram, self._input_of(mammogram))

    def _rate_all(self, mammogram: NormalisedMammogram, pixels: FloatImage) -> Logits:
        return apply_densely(
            self._cnn1, replace(mammogram, pixels=pixels), margin_px=self._margin1_px, tile_px=self._tile_px
        )

    def _input_of(self, mammogram: NormalisedMammogram) -> FloatImage:
        """Return the pixels as the networks of this pair take them."""
        return compressed(mammogram.pixels) if self._compresses else mammogram.pixels

    def survivors(self, logit1: Logits) -> Pixels:
        """Return the pixels that CNN1 does not reject."""
        return np.nonzero(logit1 >= self._rejection_logit)

    def _lowest_logit(self, mammogram: NormalisedMammogram, logit1: Logits) -> float:
        """Return the CNN1 logit that pixels of this image have to reach: the model's, or more if too many reach it."""
        reached = logit1[logit1 >= self._rejection_logit]
        most = reached.size if self._most_survivors is None else self._most_survivors.of(mammogram.breast_area_cm2)
        if reached.size <= most:
            return self._rejection_logit
        highest = np.partition(reached, reached.size - most - 1)
        return float(np.nextafter(highest[reached.size - most - 1], np.float32(np.inf)))  # of equals all or none

    def _rate_most(self, pixels: FloatImage, survivors: Pixels, area_cm2: float) -> tuple[Logits, bool]:
        """Return CNN2's logits (n,), and whether all that reach the threshold are averaged over orientations.

        Of more than ``most_averaged``, those that CNN2 rates highest as they are get averaged.
        """
        most, padded = most_averaged(area_cm2), self._padded(pixels)
        if not self._averages or survivors[0].size <= most:
            return self._rate_patches(padded, survivors), True
        logits = self._rate_patches(padded, survivors, average=False)
        chosen = np.argsort(-logits, kind="stable")[: most + 1]
        averaged = self._rate_patches(padded, (survivors[0][chosen], survivors[1][chosen]))
        all_averaged = bool(averaged[most] == logits[chosen[most]])  # the first beyond the limit is below the threshold
        logits[chosen[:most]] = averaged[:most]
        return logits, all_averaged

    def rate_survivors(self, mammogram: NormalisedMammogram, survivors: Pixels, *, average: bool = True) -> Logits:
        """Return CNN2's logit (n,) of each pixel given by rows and columns.

        Parameters
        ----------
        average
            False: no patch is averaged over orientations, where the network averages any.
        """
        return self._rate_patches(self._padded(self._input_of(mammogram)), survivors, average=average)

    def _padded(self, pixels: FloatImage) -> FloatImage:
        """Return the pixels with CNN2's margin on each side, where they are 0."""
        return np.pad(pixels, self._margin2_px)

    def _rate_patches(self, padded: FloatImage, pixels: Pixels, *, average: bool = True) -> Logits:
        """Return CNN2's logit (n,) of each pixel given by rows and columns; see ``rate_survivors``."""
        threshold = {} if average or not self._averages else {_THRESHOLD: np.array(np.inf, dtype=np.float32)}
        places, side = np.stack(pixels, axis=1).tolist(), 2 * self._margin2_px + 1
        logits = np.empty(len(places), dtype=np.float32)
        for start in range(0, len(places), self._batch):
            batch = places[start : start + self._batch]
            patches = np.empty((len(batch), 1, side, side), dtype=np.float32)
            for patch, (row, column) in zip(patches, batch, strict=True):  # faster than indexing with arrays
                patch[0] = padded[row : row + side, column : column + side]
            logits[start : start + len(batch)] = self._cnn2.run(["logit"], {"patch": patches, **threshold})[0]
        return logits


def open_network(file: Path, *, threads: int) -> Any:
    """Return an ONNX Runtime session on the processor."""
    return _session(file.read_bytes(), threads)


def _open_with_threshold(network: bytes, *, threads: int) -> Any:
    """Return a session whose threshold of averaging over orientations, if it has one, can be set at each run.

    An initializer that is declared as an input too is only its default value. Messages of Protocol Buffers
    merge when they are written one after the other, so the declaration is appended to the file's bytes.
    """
    session = _session(network + _THRESHOLD_AS_INPUT, threads)
    return session if session.get_overridable_initializers() else _session(network, threads)


def _session(network: bytes, threads: int) -> Any:
    """Return a session. Waiting threads sleep instead of spinning, so that processes share a machine well."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(network, sess_options=options, providers=["CPUExecutionProvider"])


def apply_densely(session: Any, mammogram: NormalisedMammogram, *, margin_px: int, tile_px: int = TILE_PX) -> Logits:
    """Return a network's logit of every breast pixel, (rows, columns); -inf outside the breast.

    The network is applied to tiles; what of a tile has no breast is left out. Beyond the
    image's border, pixels count as 0, as they are outside the breast.
    """
    breast = mammogram.breast
    logits = np.full(breast.shape, -np.inf, dtype=np.float32)
    padded = np.pad(mammogram.pixels, (margin_px, margin_px + _TILE_STEP_PX))
    tiles = list(_tiles_with_breast(breast, tile_px))  # faster before the network fills the cache
    for top, left, height, width in tiles:
        patch = padded[top : top + height + 2 * margin_px, left : left + width + 2 * margin_px]
        inside = (slice(top, top + height), slice(left, left + width))
        rows, columns = logits[inside].shape
        tile = session.run(["logit"], {"patch": patch[np.newaxis, np.newaxis]})[0][0, 0, :rows, :columns]
        np.copyto(logits[inside], tile, where=breast[inside])
    return logits


def rejected_likelihood(logit1: Logits, rejection_logit: float, *, below: float = 0.5) -> FloatImage:
    """Return a likelihood in (0, ``below``) that rises with CNN1's logit and is 0.5 at ``rejection_logit``."""
    likelihood = _logistic(logit1 - np.float32(rejection_logit))
    tiny, last = np.finfo(np.float32).tiny, np.nextafter(np.float32(below), np.float32(0))
    return np.clip(likelihood, tiny, last, out=likelihood)


def survivor_likelihood(logit2: Logits) -> FloatImage:
    """Return a likelihood in [0.5, 1) that rises with CNN2's logit, above that of every rejected pixel."""
    likelihood: FloatImage = 0.5 + 0.5 * _logistic(logit2)
    return np.clip(likelihood, np.float32(0.5), np.nextafter(np.float32(1), np.float32(0)))


def _logistic(logit: Logits) -> FloatImage:
    values: FloatImage = logit / np.float32(-SOFTNESS)
    with np.errstate(over="ignore"):
        np.exp(values, out=values)
    values += np.float32(1)
    return np.reciprocal(values, out=values)


def _where(breast: BoolImage, likelihood: FloatImage) -> FloatImage:
    return np.where(breast, likelihood, np.float32(0))


def _tiles_with_breast(breast: BoolImage, tile_px: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (top, left, height, width) of tiles that cover the breast, each no larger than the breast in it needs.

    Each row of tiles begins where the breast does.
    """
    filled_rows = _filled(breast, axis=1)
    if filled_rows.size == 0:
        return
    for top in range(int(filled_rows[0]), int(filled_rows[-1]) + 1, tile_px):
        band = breast[top : top + tile_px]
        filled = _filled(band, axis=0)
        while filled.size:
            left = int(filled[0])
            inside = filled[filled < left + tile_px]
            rows = _filled(band[:, left : left + tile_px], axis=1)
            height, width = int(rows[-1] - rows[0]) + 1, int(inside[-1]) - left + 1
            yield top + int(rows[0]), left, _whole_steps(height, tile_px), _whole_steps(width, tile_px)
            filled = filled[inside.size :]


def _filled(mask: BoolImage, *, axis: int) -> NDArray[np.intp]:
    """Return the rows (axis 1) or columns (axis 0) with a true pixel; the maximum of bytes is the fastest way."""
    return np.flatnonzero(mask.view(np.uint8).max(axis=axis))


def _whole_steps(length: int, tile_px: int) -> int:
    return min(tile_px, -(-length // _TILE_STEP_PX) * _TILE_STEP_PX)
