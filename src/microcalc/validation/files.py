"""Criteria 19 and 20: the DICOM files, their reproducibility, and the time and memory that an image takes."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import fft, ndimage, stats

from microcalc.datasets.open import open_row
from microcalc.datasets.simulated import Settings, make_exam
from microcalc.datasets.table import ImageRow, Table
from microcalc.display.grey import apply_window
from microcalc.domain import FloatImage
from microcalc.execution.executor import Processes, executor_of, run_in_order
from microcalc.simulate.exam import simulate_mammogram
from microcalc.simulate.systems import System
from microcalc.validation.criteria import Measurement

_MOST_WORK = 50.0
"""Largest time in multiples of ``reference_seconds`` (ours): 12 to 15 s where that is 0.25 to 0.3 s."""
_MOST_GIB = 1.86
"""Largest memory of a worker: 2 GB."""

_PRESENTATION: Mapping[str, str] = {"raw": "FOR PROCESSING", "processed": "FOR PRESENTATION"}
_CLASS: Mapping[str, str] = {
    "raw": "1.2.840.10008.5.1.4.1.1.1.2.1",
    "processed": "1.2.840.10008.5.1.4.1.1.1.2",
}


def measure_files(systems: Sequence[System], *, seed: int) -> list[Measurement]:
    """Measure criterion 19, header fields of criterion 14, and of criterion 20 that files do not depend on workers."""
    settings = Settings(seed, views=("MLO",), lateralities=("R",))
    with tempfile.TemporaryDirectory() as folder:
        made: list[Table] = []
        for workers in (1, 2):
            out = Path(folder) / str(workers)
            out.mkdir()
            make = partial(make_exam, out, number=0, settings=settings)
            tables = run_in_order(executor_of(workers), make, systems, work="simulating exams")
            made.append(Table(tuple(i for t in tables for i in t.images)))
        return [*_judged(made[0]), *_read_back(made[0]), *_shown(made[0]), _same_files(*made)]


def measure_cost(systems: Sequence[System], *, seed: int) -> list[Measurement]:
    """Measure criterion 20: processor time and peak memory of one image, in a new process.

    Time is measured in multiples of a reference computation, so that the limit applies to any processor.
    """
    measurements = []
    for s in systems:
        # A new process, so that its peak is that of one image.
        (outcome,) = Processes(1).run(partial(_cost, seed=seed), [s])
        work, peak, note = outcome.result()
        measurements += [
            Measurement(20, s.name, "time of a raw image over that of the reference", work, 0.0, _MOST_WORK, note),
            Measurement(20, s.name, "memory in GiB", peak, 0.0, _MOST_GIB),
        ]
    return measurements


def with_small_receptor(s: System, height_mm: float) -> System:
    """Return a system with a small receptor, for quick measurements.

    Parameters
    ----------
    height_mm
        Height of the receptor; its width is 0.8 times the height.
    """
    return replace(s, fields=((round(height_mm / s.pitch_mm), round(0.8 * height_mm / s.pitch_mm)),))


def _cost(s: System, seed: int) -> tuple[float, float, str]:
    """Return the time of one raw image relative to the reference, the peak memory in GiB, and both times as text."""
    before = reference_seconds()
    start = time.process_time()  # not wall-clock time: other processes may run
    simulate_mammogram(s, seed=seed, density="C")
    seconds = time.process_time() - start
    reference = (before + reference_seconds()) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux: KiB
    return seconds / reference, peak, f"{seconds:.1f} s, reference {reference:.2f} s, one core"


def reference_seconds() -> float:
    """Return the processor time in s of a reference computation: noise of 2048 x 2048 pixels, filtered twice."""
    start = time.process_time()
    noise = np.random.default_rng(0).standard_normal((2048, 2048), dtype=np.float32)
    np.exp(fft.irfft2(fft.rfft2(ndimage.gaussian_filter(noise, 8.0))))
    return time.process_time() - start


def _judged(table: Table) -> list[Measurement]:
    """Count the errors that dciodvfy finds in each file, or pydicom where dciodvfy is not installed."""
    judge = shutil.which("dciodvfy")
    measurements = []
    for row in table.images:
        if judge:
            done = subprocess.run([judge, row.file], capture_output=True, text=True, check=False)
            errors, by = sum(line.startswith("Error") for line in done.stderr.splitlines()), "by dciodvfy"
        else:
            errors, by = len(_wrong(row)), "by pydicom: dciodvfy is not installed"
        measurements.append(
            Measurement(19, _short(row), f"errors in the {row.intent} file", float(errors), 0.0, 0.0, by)
        )
    return measurements


def _short(row: ImageRow) -> str:
    """Return the short name of the system, with which the names of simulated patients begin."""
    return row.patient.rsplit("-", 2)[0]


def _wrong(row: ImageRow) -> list[str]:
    """Return the attributes of a file that do not have the expected value, according to pydicom."""
    import pydicom

    ds = pydicom.dcmread(row.file)
    processed = row.intent == "processed"
    expected = {
        "SOPClassUID": _CLASS[row.intent],
        "PresentationIntentType": _PRESENTATION[row.intent],
        "PhotometricInterpretation": "MONOCHROME2" if processed else "MONOCHROME1",
        "PresentationLUTShape": "IDENTITY" if processed else "INVERSE",
        "PixelIntensityRelationship": "LOG" if processed else "LIN",
        "PixelIntensityRelationshipSign": -1 if processed else 1,
        "BitsAllocated": 16,
        "PixelRepresentation": 0,
        "ImageLaterality": row.laterality,
        "ViewPosition": row.view,
        "Modality": "MG",
    }
    wrong = [name for name, value in expected.items() if ds.get(name) != value]
    if int(ds.pixel_array.max()) >= 2**ds.BitsStored:
        wrong.append("BitsStored")
    if processed and ("WindowCenter" not in ds or "WindowWidth" not in ds):
        wrong.append("WindowCenter")
    return wrong


def _read_back(table: Table) -> list[Measurement]:
    """Count files with another laterality, view, spacing or side of the chest wall than the table says."""
    wrong = 0
    for row in table.images:
        image = open_row(row)
        wall_left = _brighter_on_the_left(image.pixels)
        wrong += (image.laterality, image.view) != (row.laterality, row.view)
        wrong += not np.allclose(image.spacing_mm, row.spacing_mm, rtol=1e-6)
        wrong += wall_left != (row.laterality == "L")
    return [Measurement(14, "all", "files whose side, view or spacing differ", float(wrong), 0.0, 0.0)]


def _brighter_on_the_left(pixels: FloatImage) -> bool:
    """Return whether the image is brighter at the first columns than at the last: the breast is brighter than air."""
    return float(pixels[:, :5].mean()) > float(pixels[:, -5:].mean())


def _shown(table: Table) -> list[Measurement]:
    """Compare the window with that of pydicom, and processed grey levels with density."""
    import pydicom
    from pydicom.pixels.processing import apply_voi_lut

    measurements = []
    raw = {row.patient: row for row in table.images if row.intent == "raw"}
    for row in table.images:
        if row.intent != "processed":
            continue
        image = open_row(row)
        ds = pydicom.dcmread(row.file)
        reference = np.asarray(apply_voi_lut(ds.pixel_array, ds), dtype=np.float64)
        grey = 255.0 * (reference - 0.0) / (2**ds.BitsStored - 1)
        worst = float("nan")
        if image.window is not None:
            worst = float(np.abs(apply_window(image.pixels, image.window).astype(np.float64) - np.floor(grey)).max())
        measurements.append(Measurement(19, _short(row), "grey levels off the reference window", worst, 0.0, 1.0))
        rho = rank_correlation(open_row(raw[row.patient]).pixels, image.pixels, row.spacing_mm[0])
        # ours: order is kept where it can be seen, over millimetres; equalisation shifts levels across the breast
        measurements.append(Measurement(19, _short(row), "rank correlation of processed and density", rho, 0.8, 1.0))
    return measurements


def rank_correlation(raw: FloatImage, processed: FloatImage, pitch_mm: float) -> float:
    """Return the Spearman correlation of -log exposure and processed grey, smoothed and relative to 8 mm around."""
    k = max(round(0.5 / pitch_mm), 1)
    log_raw, grey = (ndimage.uniform_filter(i, k)[::k, ::k] for i in (-np.log(np.maximum(-raw, 1.0)), processed))
    inside = ndimage.binary_erosion(grey > 0, iterations=round(10 / 0.5)) & (grey > 0)
    if not inside.any():
        return float("nan")
    weight = ndimage.gaussian_filter(inside.astype(np.float32), 16.0)
    local = [
        (i - ndimage.gaussian_filter(i * inside, 16.0) / np.maximum(weight, 1e-6))[inside] for i in (log_raw, grey)
    ]
    first, second = (stats.rankdata(values) - (len(values) + 1) / 2 for values in local)
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _same_files(one: Table, two: Table) -> Measurement:
    """Compare the bytes of the files that one and two processes wrote."""
    same = [a.file.read_bytes() == b.file.read_bytes() for a, b in zip(one.images, two.images, strict=True)]
    return Measurement(20, "all", "share of files alike for 1 and 2 processes", float(np.mean(same)), 1.0, 1.0)
