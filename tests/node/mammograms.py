"""Write small raw mammograms of three vendors: a half disc of tissue, optionally with a cluster of specks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc.dicom.header import RAW, AcquisitionHeader, ExposureHeader, ReceptorHeader, View
from microcalc.dicom.write import write_dicom
from microcalc.domain import Laterality

NAME, ID = "GEHEIM^NAME", "GEHEIM-4711"
"""Name and ID of the patient, which no log may contain."""
VIEWS: tuple[tuple[Laterality, View], ...] = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
VENDORS = {
    "hologic": ("HOLOGIC, Inc.", "Selenia Dimensions", 0.07),
    "ge": ("GE MEDICAL SYSTEMS", "Senographe Essential VERSION ADS_54.10", 0.1),
    "siemens": ("SIEMENS", "Mammomat Inspiration", 0.085),
}
SHAPE = (640, 440)


def write_exam(
    folder: Path,
    patient: str,
    *,
    vendor: str = "ge",
    views: Iterable[tuple[Laterality, View]] = VIEWS,
    specks: int = 0,
    shape: tuple[int, int] = SHAPE,
) -> list[Path]:
    """Write one file for each view, all of one study, with ``specks`` bright specks in each."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, (laterality, view) in enumerate(views):
        file = folder / f"{patient}-{laterality}{view}.dcm"
        seed = [*patient.encode(), number]
        write_dicom(file, _pixels(seed, specks, shape, laterality), header=_header(patient, vendor, laterality, view))
        files.append(file)
    return files


def _pixels(seed: list[int], specks: int, shape: tuple[int, int], laterality: Laterality) -> NDArray[np.uint16]:
    """Return pixels: exposure 300 to 900 behind the breast, 7000 in air; chest wall at the left for a left breast."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape, dtype=float)
    tissue = 600 + 300 * np.sin(rows / 150) * np.cos(columns / 120)
    exposure = np.where(np.hypot(rows - shape[0] / 2, columns) < 0.8 * shape[1], tissue, 7000.0)
    middle = np.array([shape[0] / 2, 0.3 * shape[1]])
    for _ in range(specks):
        row, column = middle + rng.uniform(-18, 18, 2)
        exposure *= 1 - 0.35 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4)
    values = exposure + rng.normal(size=shape) * np.sqrt(0.12 * exposure)
    seen = values if laterality == "L" else values[:, ::-1]
    return np.ascontiguousarray(seen.round().clip(0, 16383).astype(np.uint16))


def _header(patient: str, vendor: str, laterality: Laterality, view: View) -> AcquisitionHeader:
    manufacturer, model, spacing_mm = VENDORS[vendor]
    return AcquisitionHeader(
        manufacturer=manufacturer,
        model=model,
        software="1",
        intent="raw",
        laterality=laterality,
        view=view,
        spacing_mm=(spacing_mm, spacing_mm),
        stored=RAW,
        receptor=ReceptorHeader("DIRECT", (spacing_mm, spacing_mm)),
        exposure=ExposureHeader(29, 125, "TUNGSTEN", "RHODIUM", 0.05, 50, 100),
        patient_id=f"{ID}-{patient}",
        exam_id=f"E-{patient}",
        patient_name=f"{NAME}^{patient}",
    )
