"""What is written is DICOM, deterministic, and comes back as it went in."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from microcalc.dicom.header import AcquisitionHeader, ReceptorHeader, StoredValues
from microcalc.dicom.write import write_dicom
from microcalc.images.dicom.read import read_dicom


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_dciodvfy_finds_no_error(
    intent: str,
    judge: Callable[[str], str],
    tmp_path: Path,
    stored: NDArray[np.uint16],
    raw_header: AcquisitionHeader,
    processed_header: AcquisitionHeader,
) -> None:
    dciodvfy = judge("dciodvfy")
    header = raw_header
    if intent == "processed":
        source = write_dicom(tmp_path / "source.dcm", stored, header=raw_header)
        header = dataclasses.replace(processed_header, source_uid=source)
    write_dicom(tmp_path / "case.dcm", stored, header=header)
    done = subprocess.run([dciodvfy, tmp_path / "case.dcm"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MammographyImageFor" in done.stderr + done.stdout
    assert "Error" not in done.stderr + done.stdout


def test_the_same_input_gives_the_same_bytes(
    tmp_path: Path, stored: NDArray[np.uint16], processed_header: AcquisitionHeader
) -> None:
    uids = [write_dicom(tmp_path / name, stored, header=processed_header) for name in ("a.dcm", "b.dcm")]
    assert uids[0] == uids[1]
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dcm", "b.dcm"]


def test_other_pixels_are_another_instance_of_the_same_exam(
    tmp_path: Path, stored: NDArray[np.uint16], raw_header: AcquisitionHeader
) -> None:
    first = write_dicom(tmp_path / "a.dcm", stored, header=raw_header)
    second = write_dicom(tmp_path / "b.dcm", stored + np.uint16(1), header=raw_header)
    a, b = (pydicom.dcmread(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert first != second
    assert (a.SOPInstanceUID, a.StudyInstanceUID) == (first, b.StudyInstanceUID)


@pytest.mark.parametrize("laterality", ["L", "R"])
@pytest.mark.parametrize("view", ["CC", "MLO", "ML", "LM", "XCCL"])
def test_every_view_comes_back(
    view: str, laterality: str, tmp_path: Path, stored: NDArray[np.uint16], raw_header: AcquisitionHeader
) -> None:
    header = dataclasses.replace(raw_header, view=view, laterality=laterality)  # type: ignore[arg-type]
    uid = write_dicom(tmp_path / "case.dcm", stored, header=header)
    mammogram = read_dicom(tmp_path / "case.dcm")
    assert (mammogram.view, mammogram.laterality, mammogram.uid) == (view, laterality, uid)
    assert mammogram.spacing_mm == header.spacing_mm
    np.testing.assert_array_equal(-mammogram.pixels, stored)


def test_the_receptor_is_described_as_the_machine_does(
    tmp_path: Path, stored: NDArray[np.uint16], processed_header: AcquisitionHeader
) -> None:
    receptor = ReceptorHeader(
        detector_type="SCINTILLATOR",
        element_spacing_mm=(0.1, 0.1),
        active_mm=(307.2, 240.0),
        field_of_view_mm=(229, 191),
        source_to_detector_mm=660.0,
        source_to_patient_mm=660.0,
        grid=("RECIPROCATING", "FOCUSED"),
        sensitivity=0.00790328,
        field_of_view_origin=(5, 1),
        field_of_view_rotation=180,
    )
    write_dicom(tmp_path / "case.dcm", stored, header=dataclasses.replace(processed_header, receptor=receptor))
    written = pydicom.dcmread(tmp_path / "case.dcm")
    assert (written.FieldOfViewOrigin, written.FieldOfViewRotation) == ([5, 1], 180)
    assert (written.FieldOfViewDimensions, written.DetectorActiveDimensions) == ([229, 191], [307.2, 240.0])
    assert (written.ImagerPixelSpacing, written.DetectorElementSpacing) == ([0.0940909, 0.0940909], [0.1, 0.1])
    assert (written.Grid, written.Sensitivity) == (["RECIPROCATING", "FOCUSED"], 0.00790328)
    assert written.EstimatedRadiographicMagnificationFactor == 1
    assert written.AcquisitionDeviceProcessingCode == "GEMS_FFDM_PV"


def test_values_beyond_the_bits_are_not_written(
    tmp_path: Path, stored: NDArray[np.uint16], raw_header: AcquisitionHeader
) -> None:
    header = dataclasses.replace(raw_header, stored=StoredValues(bits_stored=10))
    with pytest.raises(ValueError, match=r"expected below 2\*\*10"):
        write_dicom(tmp_path / "case.dcm", stored, header=header)
    assert not list(tmp_path.iterdir())
