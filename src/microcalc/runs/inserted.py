"""Makes a data set by inserting simulated microcalcifications into the images of another.

The truth is exact; the background is real. What the source table says of its images
(reviewed benign calcium, for instance) is carried over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from microcalc.datasets.table import AnnotationRow, ImageRow, Table, write_table
from microcalc.domain import BoolImage, FloatImage, Mammogram
from microcalc.errors import InputError
from microcalc.geometry import Grid
from microcalc.normalise.breast import breast_mask
from microcalc.normalise.noise import high_pass, noise_by_level
from microcalc.runs.images import naming, open_row
from microcalc.simulate.calcification import Calcification, Mtf, draw_cluster, render, render_one
from microcalc.simulate.insertion import Placed, draw_places, insert_processed, insert_raw
from microcalc.simulate.systems import SYSTEMS, System

_SKIN_MM = 4.0
_APART_MM = 12.0
_MIN_MEMBERS = 4


@dataclass(frozen=True, slots=True)
class Insertion:
    """How much is inserted into each image, and how visible it is.

    Attributes
    ----------
    clusters, singles
        Per image; single microcalcifications belong to no cluster.
    relative_noise
        Of the system's raw image, in the band of the high-pass: quantum noise over
        signal. The processing's slope follows from it.
    min_d_prime
        Microcalcifications that are less visible than this to a matched filter in
        white noise are left out: nobody could annotate them.
    """

    clusters: int = 2
    singles: int = 0
    relative_noise: float = 0.008
    min_d_prime: float = 4.0


def insert_data_set(
    table: Table, out: Path, *, insertion: Insertion, variants: int = 1, seed: int = 0, workers: int = 1
) -> Table:
    """Insert into every image of a table and write images (PNG) and table to ``out``.

    Parameters
    ----------
    variants
        Copies of each image, each with microcalcifications of its own.
    seed
        The same seed gives the same bytes, whatever the number of workers.

    Raises
    ------
    InputError
        An image cannot be used, or ``out`` is the folder that it lies in.
    """
    from joblib import Parallel, delayed

    if any(image.file.resolve().parent == out.resolve() for image in table.images):
        raise InputError(f"{out.name}: holds images of the table, expected another folder for the new ones")
    out.mkdir(parents=True, exist_ok=True)
    jobs = [(image, variant) for image in table.images for variant in range(variants)]
    rows = Parallel(n_jobs=workers)(
        delayed(_insert_one)(
            image,
            tuple(a for a in table.annotations if a.image == image.image),
            out,
            insertion,
            f"{image.image}-{variant}" if variants > 1 else image.image,
            [seed, variant, int(hashlib.sha256(image.image.encode()).hexdigest()[:8], 16)],
        )
        for image, variant in jobs
    )
    made = Table(tuple(r[0] for r in rows), tuple(a for r in rows for a in r[1]))
    write_table(made, out)
    return made


def _insert_one(
    image: ImageRow, known: tuple[AnnotationRow, ...], out: Path, insertion: Insertion, name: str, seed: list[int]
) -> tuple[ImageRow, list[AnnotationRow]]:
    rng = np.random.default_rng(seed)
    mammogram = open_row(image)
    spacing_mm = float(np.mean(mammogram.spacing_mm))
    with naming(image.file):
        tissue = breast_mask(
            mammogram.pixels, spacing_mm=spacing_mm, intent=mammogram.intent, padding=mammogram.padding
        )
    system = _system_of(mammogram)
    taken = mammogram.grid.to_mm(np.array([(a.row, a.column) for a in known if a.kind != "no_calcium"]))
    relative = insertion.relative_noise * float(np.exp(rng.normal(0, 0.25)))
    blur_mm = float(rng.uniform(0.0, 0.06))

    def mtf(f: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(system.mtf(f) * np.exp(-2 * (np.pi * blur_mm * f) ** 2))

    def d_prime(calcification: Calcification) -> float:
        return _d_prime(calcification, mammogram.spacing_mm, mtf, relative)

    placed = _draw(rng, mammogram, tissue, insertion, d_prime=d_prime, taken_mm=taken)
    contrast = render(
        [p.calcification for p in placed],
        np.array([p.centre_mm for p in placed]).reshape(-1, 2),
        grid=mammogram.grid,
        shape=(mammogram.pixels.shape[0], mammogram.pixels.shape[1]),
        mtf=mtf,
    )
    scatter = float(system.scatter_to_primary(np.array(55.0)))
    if mammogram.intent == "raw":
        changed = insert_raw(mammogram, contrast, offset=system.offset, scatter_to_primary=scatter)
    else:
        slope = _noise_map(mammogram.pixels, tissue) / np.float32(relative)
        sharpening = float(rng.uniform(0, 0.5))
        changed = insert_processed(mammogram, contrast, slope=slope, scatter_to_primary=scatter, sharpening=sharpening)
    file = out / f"{name}.png"
    _write_png(file, changed)
    row = replace(
        image,
        image=name,
        patient=image.patient_or_image,
        file=file,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )
    truth = [_annotation(name, p, mammogram.grid, d_prime(p.calcification)) for p in placed]
    return row, truth + [replace(a, image=name) for a in known]


def _draw(
    rng: np.random.Generator,
    mammogram: Mammogram,
    tissue: BoolImage,
    insertion: Insertion,
    *,
    d_prime: Callable[[Calcification], float],
    taken_mm: NDArray[np.float64],
) -> list[Placed]:
    step = max(1, round(1.0 / mammogram.spacing_mm[0]))
    coarse_mm = step * mammogram.spacing_mm[0]
    inner = np.pad(tissue[::step, ::step], 1)  # a millimetre raster, the border counts as skin
    allowed = (ndimage.distance_transform_edt(inner)[1:-1, 1:-1] * coarse_mm) > _SKIN_MM
    brightness = ndimage.gaussian_filter(mammogram.pixels, step, truncate=2.0)[::step, ::step]
    n = insertion.clusters + insertion.singles
    centres = draw_places(
        rng, allowed, brightness, n=n, spacing_mm=coarse_mm, min_distance_mm=_APART_MM, taken_mm=taken_mm
    )
    placed: list[Placed] = []
    for i, centre in enumerate(centres):
        if i < insertion.clusters:
            placed += _cluster(rng, centre, f"c{i + 1}", insertion, d_prime, lambda p: _inside(allowed, p / coarse_mm))
        else:
            placed += [
                Placed(m, (float(centre[0]), float(centre[1])), "") for m in _visible(rng, insertion, d_prime, 1)
            ]
    return placed


def _cluster(
    rng: np.random.Generator,
    centre: NDArray[np.float64],
    name: str,
    insertion: Insertion,
    d_prime: Callable[[Calcification], float],
    inside: Callable[[NDArray[np.float64]], bool],
) -> list[Placed]:
    """A cluster of at least four that can be seen and lie in the breast; none where that does not come about."""
    for _ in range(50):
        positions = [(m, centre + np.array(m.offset_mm)) for m in _visible(rng, insertion, d_prime, 60)]
        placed = [Placed(m, (float(p[0]), float(p[1])), name) for m, p in positions if inside(p)]
        if len(placed) >= _MIN_MEMBERS:
            return placed
    return []


def _visible(
    rng: np.random.Generator, insertion: Insertion, d_prime: Callable[[Calcification], float], max_number: int
) -> list[Calcification]:
    """The members of a drawn cluster that can be seen; of a single one, drawn until it can."""
    for _ in range(50):
        members = [m for m in draw_cluster(rng, max_number=max_number) if d_prime(m) >= insertion.min_d_prime]
        if members:
            return members
    return []


def _inside(allowed: BoolImage, place: NDArray[np.float64]) -> bool:
    row, column = (int(v) for v in np.rint(place))
    return 0 <= row < allowed.shape[0] and 0 <= column < allowed.shape[1] and bool(allowed[row, column])


def _system_of(mammogram: Mammogram) -> System:
    """The system whose blur is taken: by the table's words, else by the pixel pitch."""
    words = (mammogram.system or "").lower()
    for name, system in SYSTEMS.items():
        if name in words:
            return system
    return min(SYSTEMS.values(), key=lambda s: abs(s.pitch_mm - mammogram.spacing_mm[0]))


def _noise_map(pixels: FloatImage, tissue: BoolImage) -> FloatImage:
    residual, level = high_pass(pixels)
    grey, noise = noise_by_level(residual, level, tissue)
    smooth = ndimage.gaussian_filter1d(noise, 1.5, mode="nearest")
    local = ndimage.gaussian_filter(level, 5.0, truncate=2.0)
    return np.asarray(np.interp(local, grey, smooth), dtype=np.float32)


def _d_prime(calcification: Calcification, spacing_mm: tuple[float, float], mtf: Mtf, relative_noise: float) -> float:
    """Visibility to a matched filter in white noise: it is the same wherever the slope is."""
    _, patch = render_one(calcification, np.array([20.0, 20.0]), spacing_mm=spacing_mm, mtf=mtf)
    return float(np.sqrt(np.sum(np.square(patch, dtype=np.float64)))) / relative_noise


def _annotation(name: str, placed: Placed, grid: Grid, d_prime: float) -> AnnotationRow:
    row, column = grid.to_pixels(np.array([placed.centre_mm]))[0]
    outline = grid.to_pixels(placed.calcification.outline_mm + np.array(placed.centre_mm))
    return AnnotationRow(
        image=name, row=float(row), column=float(column), diameter_mm=placed.calcification.diameter_mm,
        cluster=placed.cluster, outline=tuple((float(a), float(b)) for a, b in outline), d_prime=d_prime,
        judge="inserted",
    )  # fmt: skip


def _write_png(file: Path, mammogram: Mammogram) -> None:
    stored = -mammogram.pixels if mammogram.intent == "raw" else mammogram.pixels
    dtype = np.uint8 if float(stored.max()) <= 255 else np.uint16
    temporary = file.with_suffix(".part")
    Image.fromarray(np.clip(stored, 0, np.iinfo(dtype).max).astype(dtype)).save(
        temporary, format="PNG", compress_level=3
    )
    temporary.replace(file)
