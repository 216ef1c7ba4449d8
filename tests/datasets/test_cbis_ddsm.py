"""CBIS-DDSM's quirks, each in a small folder of its format."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from tests.datasets.public_sets import COLUMNS, ROWS, run_table, write_view

from microcalc.datasets.cbis_ddsm import LICENCE, read_cbis_ddsm
from microcalc.datasets.table_files import read_table
from microcalc.dicom.header import AcquisitionHeader
from microcalc.errors import TableError
from microcalc.images.info import ImageInfo

_CALC = (
    "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,calc type,"
    "calc distribution,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
)
_MASS = _CALC.replace("breast density", "breast_density").replace(
    "calc type,calc distribution", "mass shape,mass margins"
)
_SAID = ImageInfo((0.05, 0.05))
_IMAGE = "Calc-Training_P_00005_RIGHT_CC"
_Header = AcquisitionHeader


def _film(file: Path, header: _Header, series: str, values: NDArray[np.integer], *, description: str = "") -> Path:
    """Write digitised film, or a mask of it, as CBIS-DDSM has it."""

    def edit(dataset: Dataset) -> None:
        for keyword in (
            "PixelSpacing",
            "ImagerPixelSpacing",
            "PresentationIntentType",
            "ViewPosition",
            "ViewCodeSequence",
            "ImageLaterality",
        ):
            dataset.pop(keyword, None)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.PatientID, dataset.SeriesInstanceUID, dataset.SeriesDescription = _IMAGE, series, description
        dataset.Rows, dataset.Columns = values.shape
        dataset.PixelData = values.astype(np.uint16).tobytes()

    return write_view(file, header, edit=edit)


def _grey(seed: int, shape: tuple[int, int] = (ROWS, COLUMNS)) -> NDArray[np.integer]:
    return np.random.default_rng(seed).integers(1, 4000, shape)


def _mask(shape: tuple[int, int] = (ROWS, COLUMNS)) -> NDArray[np.integer]:
    """Return a mask of rows 30 to 49 and columns 20 to 39."""
    values = np.zeros(shape, dtype=np.uint16)
    values[30:50, 20:40] = 255
    return values


def _line(
    image: str = "1.1", mask: str = "1.2", crop: str = "1.2", *, name: str = _IMAGE, **other: str
) -> dict[str, str]:
    """Return a line, whose paths are not those of the files, and some of which end in a line feed."""
    return {
        "patient_id": "P_00005", "breast density": "3", "left or right breast": "RIGHT", "image view": "CC",
        "abnormality id": "1", "abnormality type": "calcification", "calc type": "PLEOMORPHIC",
        "calc distribution": "CLUSTERED", "assessment": "4", "pathology": "BENIGN_WITHOUT_CALLBACK", "subtlety": "3",
        "image file path": f"{name}/1.9/{image}/000000.dcm",
        "cropped image file path": f"{name}_1/1.9/{crop}/000000.dcm\n",
        "ROI mask file path": f"{name}_1/1.9/{mask}/000001.dcm\n", **other,
    }  # fmt: skip


def _list(folder: Path, name: str, *lines: Mapping[str, str]) -> None:
    kind, split = name.split()
    header = (_CALC if kind == "calc" else _MASS).split(",")
    with (folder / f"{kind}_case_description_{split}_set.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, header, restval="N/A", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


@pytest.fixture
def folder(tmp_path: Path, processed_header: _Header) -> Path:
    root = tmp_path / "CBIS-DDSM"
    _film(root / "a" / "1.000000-full mammogram images-1" / "1-1.dcm", processed_header, "1.1", _grey(1))
    _film(root / "a" / "1.000000-ROI mask images-1" / "1-1.dcm", processed_header, "1.2", _grey(2, (64, 64)))
    _film(root / "a" / "1.000000-ROI mask images-1" / "1-2.dcm", processed_header, "1.2", _mask())
    _list(root, "calc train", _line())
    return root


def _file(folder: Path, name: str) -> Path:
    return folder / "a" / "1.000000-ROI mask images-1" / name


def test_a_mask_of_calcifications_is_a_region_of_the_film_whose_series_the_list_names(folder: Path) -> None:
    found = read_cbis_ddsm(folder, _SAID)
    assert (found.problems, len(found.notes)) == ((), 1)
    (image,) = found.table.images
    assert (image.image, image.patient, image.laterality, image.view) == (_IMAGE, "cbis-P_00005", "R", "CC")
    assert (image.split, image.intent, image.spacing_mm) == ("train", "processed", (0.05, 0.05))
    assert image.tags == "film density-C birads-4 benign_without_callback"
    (row,) = found.table.annotations
    assert (row.kind, row.morphology) == ("calcification_region", "pleomorphic clustered")
    assert {r for r, _ in row.outline} <= {29.5, 30.0, 49.0, 49.5}
    assert [row.row, row.column] == pytest.approx([39.5, 29.5])


@pytest.mark.parametrize("told_by", ["description", "size", "values"])
def test_a_mask_and_a_crop_in_either_order_are_told_apart(
    folder: Path, processed_header: _Header, told_by: str
) -> None:
    crop = {"description": _mask((70, 64)), "size": _mask((60, 64)), "values": _grey(3)}
    (mask_words, crop_words) = ("ROI mask images", "cropped images") if told_by == "description" else ("", "")
    for mask_file, crop_file in (("1-1.dcm", "1-2.dcm"), ("1-2.dcm", "1-1.dcm")):
        _film(_file(folder, mask_file), processed_header, "1.2", _mask(), description=mask_words)
        _film(_file(folder, crop_file), processed_header, "1.2", crop[told_by], description=crop_words)
        (row,) = read_cbis_ddsm(folder, _SAID).table.annotations
        assert [row.row, row.column] == pytest.approx([39.5, 29.5])


def test_a_mask_of_another_size_is_scaled_and_one_of_other_proportions_refused(
    folder: Path, processed_header: _Header
) -> None:
    _film(_file(folder, "1-2.dcm"), processed_header, "1.2", _mask((ROWS * 3 // 2, COLUMNS * 3 // 2)))
    (row,) = read_cbis_ddsm(folder, _SAID).table.annotations
    assert [row.row, row.column] == pytest.approx([40 / 1.5 - 0.5, 30 / 1.5 - 0.5])
    _film(_file(folder, "1-2.dcm"), processed_header, "1.2", _mask((ROWS, COLUMNS + 3)))
    with pytest.raises(
        TableError, match=r"line 2: a mask of 120 x 99 pixels, expected the proportions of its image of"
    ):
        read_cbis_ddsm(folder, _SAID)


def test_a_film_with_a_calcification_and_a_mass_is_there_once_and_in_test_if_one_of_them_is(
    folder: Path, processed_header: _Header
) -> None:
    _film(folder / "b" / "1-1.dcm", processed_header, "2.1", _grey(1))
    _film(folder / "c" / "1-1.dcm", processed_header, "3.1", _grey(5))
    _list(folder, "calc train", _line(), _line(**{"abnormality id": "2", "pathology": "MALIGNANT"}))
    mass = {"breast_density": "0", "pathology": "MALIGNANT", "name": "Mass-Test_P_00005_RIGHT_CC"}
    other = {"patient_id": "P_00006", "breast_density": "0", "name": "Mass-Training_P_00006_LEFT_CC"}
    _list(folder, "mass test", _line("2.1", "2.2", "2.2", **mass))
    _list(folder, "mass train", _line("3.1", "3.2", "3.2", **other | {"left or right breast": "LEFT"}))
    found = read_cbis_ddsm(folder, _SAID)
    assert [(i.image, i.split, i.laterality) for i in found.table.images] == [
        (_IMAGE, "test", "R"), (other["name"], "train", "L"),
    ]  # fmt: skip
    assert found.table.images[1].tags == "film birads-4 benign_without_callback"
    assert [a.image for a in found.table.annotations] == [_IMAGE]  # its two lines have one mask
    assert found.notes[1:] == (
        "2 masses passed over",
        f"1 image left out as copies: {mass['name']} (of {_IMAGE})",
    )
    assert found.problems == ()


def test_the_header_of_a_film_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, dcmread = Counter[str](), pydicom.dcmread

    def counting(path: Path, **options: Any) -> Dataset:
        read[str(path.relative_to(folder / "a"))] += 1
        return dcmread(path, **options)

    monkeypatch.setattr(pydicom, "dcmread", counting)
    assert len(read_cbis_ddsm(folder, _SAID).table.images) == 1
    assert read["1.000000-full mammogram images-1/1-1.dcm"] == 1


def test_two_films_of_one_view_are_no_copies(folder: Path, processed_header: _Header) -> None:
    _film(folder / "b" / "1-1.dcm", processed_header, "2.1", _grey(8))
    _list(folder, "mass train", _line("2.1", breast_density="3", name="Mass-Training_P_00005_RIGHT_CC"))
    assert len(read_cbis_ddsm(folder, _SAID).table.images) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            _line(mask="1.7", crop="1.7"),
            "line 2: 0 masks in the series of its ROI mask and cropped image, expected one",
        ),
        (
            _line(**{"ROI mask file path": "x.dcm"}),
            "line 2: ROI mask file path is 'x.dcm', expected NAME/STUDY/SERIES/",
        ),
        (
            _line(**{"left or right breast": "BOTH"}),
            "line 2: patient_id and left or right breast are 'P_00005' and 'BO",
        ),
        (_line(patient_id=""), "line 2: patient_id and left or right breast are '' and 'RIGHT', expected a"),
        (_line(**{"image file path": "N/A"}), "line 2: image file path is 'N/A', expected NAME/STUDY/SERIES/FILE.dcm"),
        (_line("1.2"), f"{_IMAGE}: 2 files in its series, expected one"),
        (_line("1.8"), f"the lists name images that are not there: {_IMAGE}"),
    ],
)
def test_a_line_that_cannot_be_used_leaves_out_its_image(
    folder: Path, processed_header: _Header, line: dict[str, str], message: str
) -> None:
    _film(folder / "b" / "1-1.dcm", processed_header, "2.1", _grey(1))
    _list(folder, "calc train", line)
    _list(folder, "mass test", _line("2.1", breast_density="1", patient_id="P_00009"))
    found = read_cbis_ddsm(folder, _SAID)
    assert [i.patient for i in found.table.images] == ["cbis-P_00009"]
    assert message in found.problems[0]


def test_files_that_no_list_names_a_missing_spacing_and_other_lists_are_named(
    folder: Path, processed_header: _Header
) -> None:
    _film(folder / "b" / "1-1.dcm", processed_header, "2.1", _grey(1))
    assert read_cbis_ddsm(folder, _SAID).problems == (f"files that no list names: {_IMAGE}",)
    with pytest.raises(
        TableError, match=r"can be used; the first: .*no pixel spacing in the header, expected .*--pixel"
    ):
        read_cbis_ddsm(folder)
    (folder / "calc_case_description_train_set.csv").write_text(_CALC.replace("calc type", "type") + "\n")
    with pytest.raises(TableError, match=r"calc_case_description_train_set.csv: column 'calc type' is missing"):
        read_cbis_ddsm(folder, _SAID)
    with pytest.raises(
        TableError, match=r"no list such as calc_case_description_train_set.csv, expected the folder of"
    ):
        read_cbis_ddsm(folder / "a", _SAID)


def test_a_patient_id_that_is_not_of_the_set_is_never_shown(folder: Path, processed_header: _Header) -> None:
    file = _film(folder / "b" / "other.dcm", processed_header, "2.1", _grey(1))
    dataset = pydicom.dcmread(file)
    dataset.PatientID = "4711 DOE"
    dataset.save_as(file)
    assert read_cbis_ddsm(folder, _SAID).problems == ("files that no list names: other.dcm",)


def test_the_command_writes_the_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_table("cbis-ddsm", folder, "--pixel-spacing", 0.05, "--out", tmp_path / "table") == 0
    assert LICENCE in capsys.readouterr().out.replace("\n", " ")
    table: Any = read_table(tmp_path / "table")
    assert (len(table.images), len(table.annotations)) == (1, 1)
    assert pydicom.dcmread(table.images[0].file).SOPClassUID == SecondaryCaptureImageStorage
