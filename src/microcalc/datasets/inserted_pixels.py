"""The pixels of an image into which calcium is inserted: grey scale and noise, rendering, compression, the file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from microcalc.domain import BoolImage, FloatImage, Mammogram
from microcalc.normalise.noise import high_pass, noise_by_level
from microcalc.simulate.benign import PlacedBenign, PlacedLines, add_lines
from microcalc.simulate.calcification import render
from microcalc.simulate.insertion import Imaging, insert_processed, insert_raw
from microcalc.simulate.placement import PlacedCalcification
from microcalc.simulate.systems import System
from microcalc.storage.write import write_whole

_MAD = 1.4826
_TILE_PX = 32
_LEVEL_TILES = 40  # at least, per grey level


def grey_slope(mammogram: Mammogram, tissue: BoolImage, imaging: Imaging) -> FloatImage | None:
    """Return the grey values per unit of log exposure at each pixel, (rows, columns); None for a raw image."""
    if mammogram.intent == "raw":
        return None
    noise = noise_map(mammogram.pixels, tissue, spacing_mm=mammogram.spacing_mm[0])
    return noise / np.float32(imaging.relative_noise * _high_pass_share(imaging.system))


def with_calcium(
    source: Path,
    mammogram: Mammogram,
    placed: Sequence[PlacedCalcification],
    *,
    benign: Sequence[PlacedBenign],
    imaging: Imaging,
    slope: FloatImage | None,
    sharpening: float,
) -> Mammogram:
    """Return the mammogram with the calcifications inserted, compressed as its source is.

    Parameters
    ----------
    slope, sharpening
        See ``grey_slope`` and ``insert_processed``.
    """
    single = [*placed, *(p for p in benign if isinstance(p, PlacedCalcification))]
    contrast = render(
        [imaging.contrast(p.calcification) for p in single],
        np.array([p.centre_mm for p in single]).reshape(-1, 2),
        grid=mammogram.grid,
        shape=(mammogram.pixels.shape[0], mammogram.pixels.shape[1]),
        mtf=imaging.mtf,
    )
    for lines in benign:
        if isinstance(lines, PlacedLines):
            add_lines(contrast, lines, grid=mammogram.grid, imaging=imaging)
    scatter = imaging.scatter_to_primary
    if slope is None:
        changed = insert_raw(mammogram, contrast, offset=imaging.system.offset, scatter_to_primary=scatter)
    else:
        changed = insert_processed(mammogram, contrast, slope=slope, scatter_to_primary=scatter, sharpening=sharpening)
    return _compressed_as(source, changed)


def noise_map(pixels: FloatImage, tissue: BoolImage, *, spacing_mm: float) -> FloatImage:
    """Return the standard deviation of the noise at the grey level of each pixel, (rows, columns).

    It is measured as in ``normalise.noise``. As texture can only add to the noise, it is the lower
    quartile over the tiles of each grey level, not the noise of all its pixels.
    """
    residual, level = high_pass(pixels, spacing_mm=spacing_mm)
    inside = _tiles(tissue).all(axis=1)
    if np.count_nonzero(inside) < _LEVEL_TILES:
        grey, noise = noise_by_level(residual, level, tissue)
    else:
        deviation = _MAD * np.median(np.abs(_tiles(residual)[inside]), axis=1)
        grey_of_tile = _tiles(level)[inside].mean(axis=1)
        parts = np.array_split(np.argsort(grey_of_tile, kind="stable"), max(1, deviation.size // _LEVEL_TILES))
        grey = np.array([grey_of_tile[p].mean() for p in parts])
        noise = np.array([np.percentile(deviation[p], 25.0) for p in parts])
        noise = np.maximum(noise, 0.25 * np.median(noise))
    local = ndimage.gaussian_filter(level, 5.0, truncate=2.0)
    return np.asarray(np.interp(local, grey, ndimage.gaussian_filter1d(noise, 1.5, mode="nearest")), dtype=np.float32)


def _tiles(pixels: NDArray[np.generic]) -> NDArray[Any]:
    """Return (tiles, pixels of a tile) without the remainders at the last rows and columns."""
    rows, columns = (n // _TILE_PX for n in pixels.shape)
    cut = pixels[: rows * _TILE_PX, : columns * _TILE_PX].reshape(rows, _TILE_PX, columns, _TILE_PX)
    return cut.transpose(0, 2, 1, 3).reshape(rows * columns, _TILE_PX**2)


def _high_pass_share(system: System) -> float:
    """Return the fraction of the standard deviation of raw noise that the high-pass of the measurement keeps."""
    size = 256
    impulse = np.zeros((size, size), dtype=np.float32)
    impulse[size // 2, size // 2] = 1.0
    passed = np.abs(fft.fft2(high_pass(impulse, spacing_mm=system.pitch_mm)[0])) ** 2
    f = fft.fftfreq(size, system.pitch_mm)
    power = system.noise_power(f[:, None], f[None, :])
    return float(np.sqrt(np.sum(power * passed) / np.sum(power)))


def _compressed_as(source: Path, mammogram: Mammogram) -> Mammogram:
    """Return the mammogram with the compression losses of its source, if that is an 8-bit JPEG file.

    The same quantisation tables on the same blocks hardly change what was compressed before, and give
    inserted calcifications the same compression artefacts as the rest.
    """
    with Image.open(source) if source.suffix.lower() in (".jpg", ".jpeg") else Image.new("L", (1, 1)) as original:
        tables = getattr(original, "quantization", None)
    if not tables:
        return mammogram
    compressed = io.BytesIO()
    values = np.clip(mammogram.pixels, 0, 255).astype(np.uint8)
    Image.fromarray(values).save(compressed, format="JPEG", qtables=[tables[0]])
    return replace(mammogram, pixels=np.asarray(Image.open(compressed), dtype=np.float32))


def write_png(file: Path, mammogram: Mammogram) -> None:
    """Write the stored values of a mammogram, in 8 bits where they fit, else in 16."""
    stored = -mammogram.pixels if mammogram.intent == "raw" else mammogram.pixels
    dtype = np.uint8 if float(stored.max()) <= 255 else np.uint16
    content = io.BytesIO()
    values = np.clip(stored, 0, np.iinfo(dtype).max).astype(dtype)
    Image.fromarray(values).save(content, format="PNG", compress_level=3)
    write_whole(file, content.getvalue())
