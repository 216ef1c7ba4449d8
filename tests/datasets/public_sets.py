"""What the tests of the readers of public data sets share: small mammograms in the places where the sets have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from microcalc import cli
from microcalc.dicom.header import AcquisitionHeader
from microcalc.dicom.write import write_dicom
from microcalc.domain import Laterality

ROWS, COLUMNS = 120, 96


def write_view(
    file: Path,
    header: AcquisitionHeader,
    *,
    laterality: Laterality = "L",
    view: Literal["CC", "MLO"] = "MLO",
    seed: int = 0,
    edit: Callable[[Dataset], object] | None = None,
) -> Path:
    """Write a mammogram of 120 x 96 pixels; another seed gives other pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values = 800 + 8 * np.mgrid[:ROWS, :COLUMNS][0] + np.random.default_rng(seed).integers(0, 20, (ROWS, COLUMNS))
    wanted = dataclasses.replace(header, laterality=laterality, view=view, patient_id=f"{file.parent.name} {file.name}")
    write_dicom(file, values.astype(np.uint16), header=wanted)
    if edit is not None:
        dataset = pydicom.dcmread(file)
        edit(dataset)
        dataset.save_as(file)
    return file


def run_table(name: str, *arguments: object) -> int:
    """Run ``microcalc table NAME ...`` and return its exit code."""
    return cli.run(["table", name, *map(str, arguments)])
