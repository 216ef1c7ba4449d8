"""OMI-DB's quirks, in small folders of its format."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.datasets.public_sets import run_table, write_view

from microcalc.datasets.omi_db import LICENCE, read_omi_db
from microcalc.datasets.table_files import read_table
from microcalc.dicom.header import RAW, AcquisitionHeader
from microcalc.errors import TableError

_STUDY, _SERIES = "1.2.1", "1.2.1.1"
_PROCESSED, _RAW, _OTHER = "1.2.1.1.1", "1.2.1.1.2", "1.2.1.1.3"
_NORMAL = {"1": {"EpisodeType": "PR"}}
_RIGHT_LESION = {"1": {"LESION": {"R": {"1": {}}}}, "ClientID": "demd1"}
_Header = AcquisitionHeader


def _mark(**other: Any) -> dict[str, Any]:
    """Return a mark whose box begins at its lower left corner."""
    return {
        "MarkID": 10241, "X1": "20", "Y1": "60", "X2": "40", "Y2": "30", "Width": "20", "Height": "30",
        "Conspicuity": "Subtle", "LinkedNBSSLesionNumber": "1,2", **other,
    }  # fmt: skip


_CALCIUM = {"10241": _mark(SuspiciousCalcifications="SuspiciousCalcifications", Mass=1)}


def _imagedb(folder: Path, images: dict[str, Any], client: str = "demd1", name: str = "imagedb") -> None:
    content = {"Site": "demd", "STUDIES": {_STUDY: {"StudyDate": "2011-11-11", "EpisodeID": "1", _SERIES: images}}}
    (folder / "data" / client).mkdir(parents=True, exist_ok=True)
    (folder / "data" / client / f"{name}_{client}.json").write_text(json.dumps(content))


def _nbss(folder: Path, content: object, client: str = "demd1", name: str = "nbss") -> None:
    (folder / "data" / client / f"{name}_{client}.json").write_text(json.dumps(content))


def _write(folder: Path, header: _Header, image: str, seed: int, *, made_from: Path | None = None) -> Path:
    def edit(dataset: Dataset) -> None:
        if made_from is not None:
            source = Dataset()
            raw = pydicom.dcmread(made_from, stop_before_pixels=True)
            source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = raw.SOPClassUID, raw.SOPInstanceUID
            dataset.SourceImageSequence = [source]

    return write_view(folder / "images" / "demd1" / _STUDY / f"{image}.dcm", header, seed=seed, edit=edit)


@pytest.fixture
def folder(tmp_path: Path, processed_header: _Header) -> Path:
    root = tmp_path / "OMI"
    _write(root, processed_header, _PROCESSED, 1)
    _imagedb(root, {_PROCESSED: _CALCIUM})
    _nbss(root, _RIGHT_LESION)
    return root


def _raw(header: _Header) -> _Header:
    return dataclasses.replace(header, intent="raw", stored=RAW)


def test_marks_of_calcifications_are_regions(folder: Path) -> None:
    found = read_omi_db(folder)
    (image,) = found.table.images
    assert (image.image, image.patient) == (f"images/demd1/{_STUDY}/{_PROCESSED}", "omi-demd1")
    (row,) = found.table.annotations
    assert (row.kind, row.morphology) == ("calcification_region", "suspicious")
    assert list(row.outline) == [(30, 20), (30, 40), (60, 40), (60, 20)]
    assert (found.problems, found.notes) == ((), ())


@pytest.mark.parametrize("marked", [_PROCESSED, _RAW])
def test_a_raw_and_a_processed_image_made_from_it_share_their_marks(
    folder: Path, processed_header: _Header, marked: str
) -> None:
    raw = _write(folder, _raw(processed_header), _RAW, 2)
    _write(folder, processed_header, _PROCESSED, 1, made_from=raw)
    _imagedb(folder, {_PROCESSED: None, _RAW: None, marked: _CALCIUM})
    found = read_omi_db(folder)
    assert [i.intent for i in found.table.images] == ["processed", "raw"]
    assert [a.image for a in found.table.annotations] == [i.image for i in found.table.images]


def test_the_header_of_an_image_is_read_once(
    folder: Path, processed_header: _Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = _write(folder, _raw(processed_header), _RAW, 2)
    _write(folder, processed_header, _PROCESSED, 1, made_from=raw)
    _imagedb(folder, {_PROCESSED: _CALCIUM, _RAW: None})
    read, dcmread = Counter[str](), pydicom.dcmread

    def counting(path: Path, **options: Any) -> Dataset:
        read[path.stem] += 1
        return dcmread(path, **options)

    monkeypatch.setattr(pydicom, "dcmread", counting)
    assert len(read_omi_db(folder).table.images) == 2
    assert read == {_PROCESSED: 1, _RAW: 1}


def test_an_image_without_marks_is_kept_where_its_breast_has_no_lesion(folder: Path, processed_header: _Header) -> None:
    study = folder / "images" / "demd1" / _STUDY
    write_view(study / "1.2.7.0.dcm", processed_header, laterality="L", view="MLO", seed=5)
    write_view(study / "1.2.7.1.dcm", processed_header, laterality="L", view="CC", seed=6)
    write_view(study / "1.2.7.2.dcm", processed_header, laterality="R", view="MLO", seed=7)
    _imagedb(folder, {_PROCESSED: _CALCIUM, "1.2.7.0": None, "1.2.7.1": {}, "1.2.7.2": ""})
    found = read_omi_db(folder)
    assert [(i.laterality, i.view) for i in found.table.images] == [("L", "MLO"), ("L", "CC")]
    assert found.notes == (
        "1 image left out: no mark, though another image of the view has one",
        "1 image left out: no mark, though the breast has a lesion",
    )


@pytest.mark.parametrize(
    ("flags", "words", "note"),
    [
        ({"WithCalcification": 1, "Mass": 1}, ["with-calcification"], ""),
        ({"Vascular": "Vascular", "MilkOfCalcium": True}, ["milk-of-calcium vascular"], ""),
        ({"Mass": "Mass", "Vascular": ""}, [], "1 mark of masses and other lesions passed over"),
        ({"Skin": 1, "Dystrophic": "0", "Vascular": False}, [], "1 mark of masses and other lesions passed over"),
        ({"Mass": None}, None, "1 image left out: a mark that does not say what it shows"),
    ],
)
def test_flags_are_set_or_have_no_value(
    folder: Path, processed_header: _Header, flags: dict[str, Any], words: list[str] | None, note: str
) -> None:
    _write(folder, processed_header, _OTHER, 3)
    other = {"3": _mark(Dystrophic="Dystrophic")}
    _imagedb(folder, {_PROCESSED: {"1": _mark(**flags)}, _OTHER: other})
    found = read_omi_db(folder)
    assert [a.morphology for a in found.table.annotations] == [*(words or []), "dystrophic"]
    assert len(found.table.images) == (1 if words is None else 2)
    assert "".join(found.notes) == note
    assert found.problems == ()


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (_mark(Vascular=1, X1="a"), f"{_PROCESSED}.dcm mark 10241: X1 is 'a', expected a number"),
        (_mark(Vascular=1, Y2=None), f"{_PROCESSED}.dcm mark 10241: Y2 is 'None', expected a number"),
        (_mark(Vascular=1, X2="400"), f"{_PROCESSED}.dcm mark 10241: row 30, column 400 lies outside"),
        ("mark", f"{_PROCESSED}.dcm: found str, expected an object of JSON"),
    ],
)
def test_a_mark_that_cannot_be_used_leaves_out_its_image(
    folder: Path, processed_header: _Header, mark: Any, message: str
) -> None:
    _write(folder, processed_header, _OTHER, 3)
    _imagedb(folder, {_PROCESSED: {"1": mark}, _OTHER: _CALCIUM})
    found = read_omi_db(folder)
    assert len(found.table.images) == 1
    assert message in found.problems[0]
    assert found.notes == ()  # a mark that cannot be used is none of another lesion


def test_what_is_not_there_is_named_and_names_may_be_in_capitals(folder: Path, processed_header: _Header) -> None:
    for name in ("imagedb", "nbss"):
        (folder / "data" / "demd1" / f"{name}_demd1.json").unlink()
    _write(folder, processed_header, _OTHER, 3)
    _imagedb(folder, {_PROCESSED: _CALCIUM, "1.2.9": None}, name="IMAGEDB")
    _imagedb(folder, {}, "demd2")
    (folder / "data" / "demd2" / "imagedb_demd2.json").write_text("[]")
    assert read_omi_db(folder).problems == (
        "a list of lesions is not there: nbss_demd1.json",
        "imagedb_demd2.json: found list, expected an object of JSON",
        "the lists name images that are not there: 1.2.9",
        f"images that no list names: {_OTHER}.dcm",
    )
    _nbss(folder, _NORMAL, name="NBSS")
    assert "a list of lesions" not in read_omi_db(folder).problems[0]


def test_another_folder_is_refused(folder: Path) -> None:
    with pytest.raises(
        TableError, match=r"images: no file such as imagedb_CLIENT.json, expected the folders of clients"
    ):
        read_omi_db(folder / "images")
    (folder / "data" / "demd1" / "imagedb_demd1.json").write_text("{")
    with pytest.raises(TableError, match=r"can be used; the first: imagedb_demd1.json: not JSON, expected"):
        read_omi_db(folder)


def test_the_command_writes_the_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_table("omi-db", folder, "--out", tmp_path / "table") == 0
    assert LICENCE in capsys.readouterr().out.replace("\n", " ")
    assert len(read_table(tmp_path / "table").annotations) == 1
