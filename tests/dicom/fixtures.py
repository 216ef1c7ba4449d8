"""Small mammograms to write, and files changed by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from microcalc.dicom.header import PROCESSED, RAW, AcquisitionHeader, ExposureHeader, ReceptorHeader
from microcalc.dicom.write import write_dicom
from microcalc.domain import Window

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def raw_header() -> AcquisitionHeader:
    """What a Siemens Inspiration writes FOR PROCESSING."""
    return AcquisitionHeader(
        manufacturer="SIEMENS",
        model="Mammomat Inspiration",
        software="VB41B",
        intent="raw",
        laterality="R",
        view="CC",
        spacing_mm=(0.085, 0.085),
        stored=RAW,
        receptor=ReceptorHeader(
            "DIRECT", (0.085, 0.085), (304.64, 239.36), (298, 238), 650, 633, 1.02686, ("FOCUSED", "PARALLEL")
        ),
        exposure=ExposureHeader(29, 125, "TUNGSTEN", "RHODIUM", 0.05, 35, 18.1, 0.020182),
        patient_id="SIM0001",
        exam_id="EXAM1",
        patient_name="SECRET^NAME",
    )


@pytest.fixture(scope="session")
def processed_header(raw_header: AcquisitionHeader) -> AcquisitionHeader:
    """What a GE Essential writes FOR PRESENTATION."""
    return dataclasses.replace(
        raw_header,
        manufacturer="GE MEDICAL SYSTEMS",
        model="Senographe Essential VERSION ADS_54.10",
        intent="processed",
        view="MLO",
        laterality="L",
        spacing_mm=(0.0940909, 0.0940909),
        stored=dataclasses.replace(PROCESSED, padding_value=0, padding_limit=30),
        windows=(Window(2653, 900, "sigmoid"), Window(2713, 750, "sigmoid")),
        window_names=("NORMAL", "HARDER"),
        processing_description="PREMIUM_VIEW",
        processing_code="GEMS_FFDM_PV",
    )


@pytest.fixture(scope="session")
def stored() -> NDArray[np.uint16]:
    """(80, 96) smooth 12-bit values with a little noise and a padded corner."""
    rows, columns = np.mgrid[:80, :96]
    values = 1000 + 12 * rows + 9 * columns + np.random.default_rng(3).integers(0, 20, (80, 96))
    values[:10, :20] = 0
    image: NDArray[np.uint16] = values.astype(np.uint16)
    return image


@pytest.fixture
def write(tmp_path: Path, stored: NDArray[np.uint16], raw_header: AcquisitionHeader) -> Write:
    """Write a mammogram; ``edit`` then changes its data set, outside what our writer would write."""

    def make(
        header: AcquisitionHeader = raw_header,
        *,
        values: NDArray[np.uint16] = stored,
        edit: Callable[[Dataset], object] | None = None,
        name: str = "case.dcm",
    ) -> Path:
        path = tmp_path / name
        write_dicom(path, values, header=header)
        if edit is not None:
            dataset = pydicom.dcmread(path)
            edit(dataset)
            dataset.save_as(path)
        return path

    return make
