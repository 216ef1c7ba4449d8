"""Make a data set by inserting simulated microcalcifications into the images of another.

The annotations are exact and the background is real. Annotations of the source table, such as reviewed benign
calcifications, are kept.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from microcalc.datasets.open import open_row, refuse_images, unusable_images
from microcalc.datasets.table import ANNOTATIONS, IMAGES, AnnotationRow, ImageRow, Table, check_places, write_table
from microcalc.domain import BoolImage, FloatImage, Mammogram
from microcalc.errors import InputError
from microcalc.execution.executor import executor_of
from microcalc.execution.progress import track
from microcalc.geometry import Grid
from microcalc.images.open import naming
from microcalc.normalise.breast import breast_mask
from microcalc.normalise.noise import high_pass, noise_by_level
from microcalc.simulate.acquisition import detectability, noise_variance
from microcalc.simulate.calcification import (
    Calcification,
    Microcalcification3D,
    Mtf,
    draw_cluster,
    draw_microcalcification,
    render,
    render_calcification,
)
from microcalc.simulate.insertion import PlacedCalcification, draw_centres, insert_processed, insert_raw
from microcalc.simulate.systems import SYSTEMS, System
from microcalc.storage.key import file_sha256
from microcalc.storage.ownership import check_editable, output_folder
from microcalc.storage.write import write_whole

_LOG = logging.getLogger(__name__)
COMMAND: Final = "insert"
_SKIN_MM = 4.0
_APART_MM = 12.0
_MIN_MEMBERS = 4
_THICKNESS_MM = 53.0  # of a typical breast (UK dose surveys: 52 to 60 mm); its share of gland, skin included: ours
_GLAND_MM = 12.0
_MAD = 1.4826
_TILE_PX = 32
_LEVEL_TILES = 40  # at least, per grey level


@dataclass(frozen=True, slots=True)
class Insertion:
    """Hold the numbers of microcalcifications that are inserted into each image, and their smallest detectability.

    Attributes
    ----------
    clusters, singles
        Numbers per image; single microcalcifications belong to no cluster.
    min_d_prime
        Smallest detectability by the ideal observer of an inserted microcalcification: no reader
        could annotate fainter ones.
    """

    clusters: int = 2
    singles: int = 0
    min_d_prime: float = 4.0


@dataclass(frozen=True, eq=False, slots=True)
class _Imaging:
    """Hold the imaging properties with which microcalcifications are inserted into an image.

    Attributes
    ----------
    mtf
        Modulation transfer function of spatial frequency in 1/mm.
    scatter_to_primary
        Scatter-to-primary ratio behind a typical breast.
    relative_noise
        Standard deviation of the noise divided by the signal in a raw image behind a typical breast.
    """

    system: System
    spacing_mm: tuple[float, float]
    mtf: Mtf
    scatter_to_primary: float
    relative_noise: float

    def contrast(self, calcification: Calcification) -> FloatImage:
        """Return the fraction of the primary signal removed, (k, k), before blur."""
        return calcification.contrast(
            self.system.beam(_THICKNESS_MM),
            self.system.converter,
            fat_mm=_THICKNESS_MM - _GLAND_MM,
            gland_mm=_GLAND_MM,
        )

    def d_prime(self, calcification: Calcification) -> float:
        """Return the detectability as in simulated images, which processing is assumed not to change."""
        _, patch = render_calcification(
            self.contrast(calcification), np.array([20.0, 20.0]), spacing_mm=self.spacing_mm, mtf=self.mtf
        )
        return detectability(self.system, patch / np.float32(1 + self.scatter_to_primary), self.relative_noise)


def insert_data_set(
    table: Table, out: Path, *, insertion: Insertion, variants: int = 1, seed: int = 0, workers: int = 1
) -> tuple[Table, tuple[InputError, ...]]:
    """Insert into every image of a table and write images (PNG) and table to ``out``.

    An image that cannot be used does not stop the insertion into the others.

    Parameters
    ----------
    variants
        Number of copies of each image, each with different microcalcifications.
    seed
        The same seed gives the same bytes, whatever the number of workers.

    Returns
    -------
    table
        Table of the new images.
    refused
        Errors of the images that cannot be used, in the order of the table, one per image.

    Raises
    ------
    InputError
        No image can be used, or ``out`` is the folder of an image or a folder that microcalc did not make.
    OutputError
        The system refused to write, or a table in the folder has been edited since it was made.
    """
    if any(image.file.resolve().parent == out.resolve() for image in table.images):
        raise InputError(f"{out.name}: holds images of the table, expected another folder for the new ones")
    with output_folder(out, COMMAND):
        for name in (IMAGES, ANNOTATIONS):
            check_editable(out / name)
        refused = unusable_images(table.images)
        for error in refused.values():
            _LOG.warning("%s", error)
        jobs = [
            (
                image,
                table.rows_of(image),
                out,
                insertion,
                f"{image.image}-{variant}" if variants > 1 else image.image,
                (seed, variant, int(hashlib.sha256(image.image.encode()).hexdigest()[:8], 16)),
            )
            for image in table.images
            if image.image not in refused
            for variant in range(variants)
        ]
        made, failed_later = _inserted(jobs, workers)
        refused |= failed_later
        failed = tuple(refused[i.image] for i in table.images if i.image in refused)
        if not made:
            refuse_images(failed, of=len(table.images))
        rows = [made[name] for *_, name, _ in jobs if name in made]
        new = Table(tuple(r[0] for r in rows), tuple(a for r in rows for a in r[1]))
        write_table(new, out)
    return new, failed


def _inserted(
    jobs: Sequence[_Job], workers: int
) -> tuple[dict[str, tuple[ImageRow, list[AnnotationRow]]], dict[str, InputError]]:
    """Return the new images by their names, and what was wrong with the images that cannot be used, by theirs."""
    made: dict[str, tuple[ImageRow, list[AnnotationRow]]] = {}
    refused: dict[str, InputError] = {}
    with closing(executor_of(workers).run(_insert_one, jobs)) as outcomes:
        for outcome in track(outcomes, "inserting microcalcifications", total=len(jobs)):
            if isinstance(outcome.error, InputError):
                if outcome.item[0].image not in refused:  # once for all variants
                    _LOG.warning("%s", outcome.error)
                refused[outcome.item[0].image] = outcome.error
            else:
                made[outcome.item[4]] = outcome.result()
    return made, refused


_Job = tuple[ImageRow, tuple[AnnotationRow, ...], Path, Insertion, str, tuple[int, int, int]]
"""An image, what is known of it, where the new one goes, what is inserted, the new one's name, and its seed."""


def _insert_one(job: _Job) -> tuple[ImageRow, list[AnnotationRow]]:
    image, known, out, insertion, name, seed = job
    rng = np.random.default_rng(seed)
    mammogram = open_row(image)
    rows, columns = mammogram.pixels.shape
    check_places(Table((replace(image, rows=rows, columns=columns),), known))
    spacing_mm = float(np.mean(mammogram.spacing_mm))
    with naming(image.file):
        tissue = breast_mask(
            mammogram.pixels, spacing_mm=spacing_mm, intent=mammogram.intent, padding=mammogram.padding
        )
    imaging = _imaging(rng, mammogram)
    taken = mammogram.grid.to_mm(np.array([(a.row, a.column) for a in known if a.kind != "no_calcium"]))
    placed = _draw(rng, mammogram, tissue, insertion, d_prime=imaging.d_prime, taken_mm=taken)
    file = out / f"{_file_stem(name)}.png"
    _write_png(file, _compressed_as(image.file, _inserted_into(rng, mammogram, tissue, placed, imaging)))
    row = replace(
        image,
        image=name,
        patient=image.patient_or_image,
        file=file,
        sha256=file_sha256(file),
        sop_instance_uid="",  # the source's, which the picture no longer is
        rows=rows,
        columns=columns,
    )
    truth = [_annotation(name, p, mammogram.grid, imaging.d_prime(p.calcification)) for p in placed]
    return row, truth + [replace(a, image=name) for a in known]


def _file_stem(name: str) -> str:
    """Return the name of an image as that of its file; one with a path in it gets a hash in the path's place."""
    plain = re.sub(r"[/\\\0]", "_", name)
    if plain == name and not name.startswith("."):
        return name
    return f"{plain.lstrip('.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _imaging(rng: np.random.Generator, mammogram: Mammogram) -> _Imaging:
    system = _system_of(mammogram)
    signal = np.full((1, 2), system.gain_per_ugy * system.kerma_ugy(_THICKNESS_MM), dtype=np.float32)
    noise = float(np.sqrt(noise_variance(system, signal)[0, 1]) / signal[0, 1])  # [0, 1]: the field's centre
    blur_mm = float(rng.uniform(0.0, 0.06))  # the patient moves, the calcium lies at any height: ours

    def mtf(f: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(system.mtf(f) * np.exp(-2 * (np.pi * blur_mm * f) ** 2))

    return _Imaging(
        system,
        mammogram.spacing_mm,
        mtf,
        scatter_to_primary=float(system.scatter_to_primary(np.array(_THICKNESS_MM))),
        relative_noise=noise * float(np.exp(rng.normal(0, 0.25))),  # dose varies from image to image
    )


def _inserted_into(
    rng: np.random.Generator,
    mammogram: Mammogram,
    tissue: BoolImage,
    placed: list[PlacedCalcification],
    imaging: _Imaging,
) -> Mammogram:
    """Return the mammogram with the calcifications inserted."""
    contrast = render(
        [imaging.contrast(p.calcification) for p in placed],
        np.array([p.centre_mm for p in placed]).reshape(-1, 2),
        grid=mammogram.grid,
        shape=(mammogram.pixels.shape[0], mammogram.pixels.shape[1]),
        mtf=imaging.mtf,
    )
    scatter = imaging.scatter_to_primary
    if mammogram.intent == "raw":
        return insert_raw(mammogram, contrast, offset=imaging.system.offset, scatter_to_primary=scatter)
    noise = _noise_map(mammogram.pixels, tissue, spacing_mm=mammogram.spacing_mm[0])
    slope = noise / np.float32(imaging.relative_noise * _high_pass_share(imaging.system))
    sharpening = float(rng.uniform(0, 0.5))
    return insert_processed(mammogram, contrast, slope=slope, scatter_to_primary=scatter, sharpening=sharpening)


def _noise_map(pixels: FloatImage, tissue: BoolImage, *, spacing_mm: float) -> FloatImage:
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


def _draw(
    rng: np.random.Generator,
    mammogram: Mammogram,
    tissue: BoolImage,
    insertion: Insertion,
    *,
    d_prime: Callable[[Calcification], float],
    taken_mm: NDArray[np.float64],
) -> list[PlacedCalcification]:
    step = max(1, round(1.0 / mammogram.spacing_mm[0]))
    coarse_mm = step * mammogram.spacing_mm[0]
    inner = np.pad(tissue[::step, ::step], 1)  # a millimetre raster, the border counts as skin
    allowed = (ndimage.distance_transform_edt(inner)[1:-1, 1:-1] * coarse_mm) > _SKIN_MM
    allowed &= ~_clipped(mammogram.pixels, step)
    brightness = ndimage.gaussian_filter(mammogram.pixels, step, truncate=2.0)[::step, ::step]
    n = insertion.clusters + insertion.singles
    centres = draw_centres(
        rng, allowed, brightness, n=n, spacing_mm=coarse_mm, min_distance_mm=_APART_MM, taken_mm=taken_mm
    )
    nipple = _nipple(tissue[::step, ::step]) * coarse_mm
    placed: list[PlacedCalcification] = []
    for i, centre in enumerate(centres):
        if i < insertion.clusters:
            placed += _cluster(
                rng, centre, nipple, f"c{i + 1}", insertion, d_prime, lambda p: _inside(allowed, p / coarse_mm)
            )
        else:
            single = _visible(rng, insertion, d_prime, lambda: [draw_microcalcification(rng)])
            placed += [PlacedCalcification(m, (float(centre[0]), float(centre[1])), "") for m in single]
    return placed


def _clipped(pixels: FloatImage, step: int) -> BoolImage:
    """Return where more than a tenth of the pixels are saturated, so that no calcification would be visible."""
    share = ndimage.uniform_filter((pixels == pixels.max()).astype(np.float32), 2 * step + 1)[::step, ::step]
    return np.asarray(share > 0.1)


def _nipple(tissue: BoolImage) -> NDArray[np.float64]:
    """Return (row, column) of the point of the breast farthest from the chest wall, the side with more tissue."""
    columns = np.flatnonzero(tissue.any(axis=0))
    half = tissue.shape[1] // 2
    column = columns[-1] if tissue[:, :half].sum() >= tissue[:, half:].sum() else columns[0]
    return np.array([np.flatnonzero(tissue[:, column]).mean(), column])


def _cluster(
    rng: np.random.Generator,
    centre: NDArray[np.float64],
    nipple: NDArray[np.float64],
    name: str,
    insertion: Insertion,
    d_prime: Callable[[Calcification], float],
    inside: Callable[[NDArray[np.float64]], bool],
) -> list[PlacedCalcification]:
    """Draw a cluster of at least four visible members in the breast; return none if all attempts fail."""
    towards = (0.0, float(nipple[0] - centre[0]), float(nipple[1] - centre[1]))
    for _ in range(50):
        members = _visible(rng, insertion, d_prime, lambda: draw_cluster(rng, to_nipple=towards))
        positions = [(m, centre + np.array(m.offset_mm)) for m in members]
        placed = [PlacedCalcification(m, (float(p[0]), float(p[1])), name) for m, p in positions if inside(p)]
        if len(placed) >= _MIN_MEMBERS:
            return placed
    return []


def _visible(
    rng: np.random.Generator,
    insertion: Insertion,
    d_prime: Callable[[Calcification], float],
    draw: Callable[[], list[Microcalcification3D]],
) -> list[Calcification]:
    """Draw until some members reach the smallest detectability, and return these."""
    for _ in range(50):
        members = [m for m in (solid.project() for solid in draw()) if d_prime(m) >= insertion.min_d_prime]
        if members:
            return members
    return []


def _inside(allowed: BoolImage, place: NDArray[np.float64]) -> bool:
    row, column = (int(v) for v in np.rint(place))
    return 0 <= row < allowed.shape[0] and 0 <= column < allowed.shape[1] and bool(allowed[row, column])


def _system_of(mammogram: Mammogram) -> System:
    """Return the system that shares most words with the name in the table and, among these, is nearest in pitch."""

    def words(text: str) -> set[str]:
        return set(re.findall(r"[a-z]{2,}", text.lower()))

    def likeness(system: System) -> tuple[int, float]:
        shared = words(mammogram.system or "") & words(f"{system.name} {system.manufacturer} {system.model}")
        return len(shared), -abs(system.pitch_mm - mammogram.spacing_mm[0])

    return max(SYSTEMS.values(), key=likeness)


def _annotation(name: str, placed: PlacedCalcification, grid: Grid, d_prime: float) -> AnnotationRow:
    row, column = grid.to_pixels(np.array([placed.centre_mm]))[0]
    outline = grid.to_pixels(placed.calcification.outline_mm + np.array(placed.centre_mm))
    return AnnotationRow(
        image=name, row=float(row), column=float(column), diameter_mm=placed.calcification.diameter_mm,
        cluster=placed.cluster, outline=tuple((float(a), float(b)) for a, b in outline), d_prime=d_prime,
        judge="inserted", morphology=f"{placed.calcification.morphology} {placed.calcification.layout}",
    )  # fmt: skip


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


def _write_png(file: Path, mammogram: Mammogram) -> None:
    stored = -mammogram.pixels if mammogram.intent == "raw" else mammogram.pixels
    dtype = np.uint8 if float(stored.max()) <= 255 else np.uint16
    content = io.BytesIO()
    values = np.clip(stored, 0, np.iinfo(dtype).max).astype(dtype)
    Image.fromarray(values).save(content, format="PNG", compress_level=3)
    write_whole(file, content.getvalue())
