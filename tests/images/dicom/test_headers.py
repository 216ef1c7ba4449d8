"""No header gives a traceback, or another result without a word; all changes are counted by ``benchmarks.headers``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.images.dicom.varied_headers import ATTRIBUTES, FAULTS, Change, changes, cropped, verdict

from microcalc.dicom.header import AcquisitionHeader
from microcalc.dicom.write import write_dicom

_CHANGES = [change for keyword in ATTRIBUTES for change in changes(keyword)]


@pytest.fixture(scope="module")
def originals(
    tmp_path_factory: pytest.TempPathFactory,
    raw_header: AcquisitionHeader,
    processed_header: AcquisitionHeader,
    stored: NDArray[np.uint16],
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("headers")
    paths = {"raw": folder / "raw.dcm", "processed": folder / "processed.dcm"}
    write_dicom(paths["raw"], stored, header=raw_header)
    write_dicom(paths["processed"], stored, header=processed_header)
    return paths


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    return cropped(shared_data / "fo-dicom" / "GH133.dcm", tmp_path_factory.mktemp("real") / "real.dcm")


@settings(max_examples=150, deadline=None)
@given(intent=st.sampled_from(("raw", "processed")), change=st.sampled_from(_CHANGES))
def test_a_changed_header_gives_the_same_or_less_or_a_named_error(
    intent: str, change: Change, originals: dict[str, Path]
) -> None:
    work = originals[intent].with_name("case.dcm")
    said, words = verdict(originals[intent], change, work)
    assert said not in FAULTS, (change, said, words)


@settings(max_examples=60, deadline=None)
@given(change=st.sampled_from(_CHANGES))
def test_a_changed_header_of_a_real_image_gives_the_same_or_less_or_a_named_error(change: Change, real: Path) -> None:
    said, words = verdict(real, change, real.with_name("case.dcm"))
    assert said not in FAULTS, (change, said, words)
