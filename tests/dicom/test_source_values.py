"""What goes from an image's header into a report is valid there, or left out with a word."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.dicom.fixtures import Write

from microcalc.dicom import source_values
from microcalc.dicom.source_values import NOT_DECLARED, TAKEN_AS_UTF8
from microcalc.dicom.tags import quiet
from microcalc.reports.image_header import ExamHeader, read_image_header

_PLACE = b"ABCDEFGHIJKLMNOPQRSTUVWX"


def _with(character_set: str | list[str] | None, name: bytes, *, keyword: str = "PatientName") -> Dataset:
    """A data set as read from a file whose bytes are these: pydicom would encode a text anew."""
    dataset = Dataset()
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set
    padded = name + b" " * (len(name) % 2)
    setattr(dataset, keyword, _PLACE[: len(padded)].decode().ljust(len(padded), "X"))
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=True)
    placed = _PLACE[: len(padded)].ljust(len(padded), b"X")
    data = buffer.getvalue().replace(placed, padded)
    return pydicom.dcmread(io.BytesIO(data), force=True)


@pytest.mark.parametrize(
    ("character_set", "name", "expected"),
    [
        ("ISO_IR 100", "Müller^Jürgen".encode("latin-1"), ("Müller^Jürgen", "")),
        ("ISO_IR 192", "Müller^Jürgen".encode(), ("Müller^Jürgen", "")),
        ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), ("Wang^XiaoDong=王^小东", "")),
        ("ISO_IR 126", "Παπά^Ελένη".encode("iso8859_7"), ("Παπά^Ελένη", "")),
        ("ISO_IR 144", "Иванова^Анна".encode("iso8859_5"), ("Иванова^Анна", "")),
        (["", "ISO 2022 IR 87"], b"Yamada=\x1b$B;3ED\x1b(B", ("Yamada=山田", "")),
        (["", "ISO 2022 IR 149"], b"Hong=\x1b$)C\xfb\xf3", ("Hong=洪", "")),
        (None, b"DOE^JANE", ("DOE^JANE", "")),
        (None, "Müller^Jürgen".encode(), ("Müller^Jürgen", TAKEN_AS_UTF8)),
        ("ISO_IR 100", "Müller^Jürgen".encode(), ("Müller^Jürgen", TAKEN_AS_UTF8)),
        (None, "Müller^Jürgen".encode("latin-1"), ("", NOT_DECLARED)),
        (None, "张^小东".encode("gbk"), ("", NOT_DECLARED)),
        ("ISO_IR 192", "Müller^Jürgen".encode("latin-1"), ("", NOT_DECLARED)),
        (["ISO 2022 IR 6", "IS"], "Иванова^Анна".encode("cp1251"), ("", NOT_DECLARED)),
        ("NO SUCH SET", "Müller".encode("latin-1"), ("", NOT_DECLARED)),
    ],
)
def test_a_name_is_written_as_it_was_meant_or_not_at_all(
    character_set: str | list[str] | None, name: bytes, expected: tuple[str, str]
) -> None:
    with quiet():
        assert source_values.person_name(_with(character_set, name), "PatientName") == expected


def test_a_text_that_was_read_before_is_taken_as_it_was_read() -> None:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.StudyID = "Müller^Jürgen", "Ä1"
    assert source_values.person_name(dataset, "PatientName").value == "Müller^Jürgen"
    assert source_values.long_text(dataset, "StudyID", most=16).value == "Ä1"
    assert source_values.long_text(dataset, "AccessionNumber", most=16) == ("", "")


@pytest.mark.parametrize(
    ("found", "taken"),
    [
        ("20250228", "20250228"),
        ("2025.02.28", "20250228"),
        ("20250230", ""),
        ("20241301", ""),
        ("00000000", ""),
        ("2025", ""),
        ("20250101\\20250102", ""),
    ],
)
def test_a_date_is_one_of_the_calendar(found: str, taken: str) -> None:
    with quiet():
        value = source_values.date(_with(None, found.encode(), keyword="PatientComments"), "PatientComments")
    assert (value.value, value.fault != "") == (taken, not taken)


@pytest.mark.parametrize(
    ("found", "taken"),
    [("101112", "101112"), ("10:11:12", "101112"), ("1011", "1011"), ("101112.123456", "101112.123456"),
     ("235960", "235960"), ("256199", ""), ("101112.1234567", ""), ("10111", "")],
)  # fmt: skip
def test_a_time_is_one_of_the_day(found: str, taken: str) -> None:
    with quiet():
        value = source_values.time(_with(None, found.encode(), keyword="PatientComments"), "PatientComments")
    assert (value.value, value.fault != "") == (taken, not taken)


def _exam(write: Write, **values: object) -> ExamHeader:
    def edit(dataset: Dataset) -> None:
        with quiet():
            for keyword, value in values.items():
                setattr(dataset, keyword, value)

    with quiet():
        return read_image_header(write(edit=edit)).exam


def test_a_name_too_long_keeps_its_beginning_and_other_values_are_left_out(write: Write) -> None:
    exam = _exam(
        write,
        PatientName="A" * 80,
        PatientID="P" * 100,
        AccessionNumber="1" * 30,
        StudyID="S" * 17,
        PatientSex="female",
    )
    assert (exam.patient_name, exam.patient_id, exam.accession_number) == ("A" * 64, "", "")
    assert (exam.study_id, exam.patient_sex) == ("", "")
    assert [line.split()[0] for line in exam.omissions] == [
        "StudyID",
        "AccessionNumber",
        "PatientName",
        "PatientID",
        "PatientSex",
    ]
    assert not any(value in line for line in exam.omissions for value in ("AAA", "PPP", "111", "SSS", "female"))


@pytest.mark.parametrize("keyword", ["PatientID", "AccessionNumber", "StudyID", "PatientBirthDate", "PatientName"])
def test_of_several_values_none_is_chosen(keyword: str, write: Write) -> None:
    exam = _exam(write, **{keyword: ["19500101", "19660606"]})
    assert "1950" not in "".join((exam.patient_id, exam.accession_number, exam.study_id, exam.patient_name))
    assert exam.patient_birth_date == ""
    assert keyword in exam.omissions[0]


def test_ids_that_no_report_can_hold_still_tell_patients_apart(write: Write) -> None:
    first, same, other = (
        _exam(write, PatientID=f"{'P' * 99}{k}", PatientName=n) for k, n in ((1, "A"), (1, "B"), (2, "A"))
    )
    assert first.patient_id == same.patient_id == other.patient_id == ""
    assert first.key == same.key != other.key


@pytest.mark.parametrize(("zone", "taken"), [("+0900", "+0900"), ("-0000", ""), ("Europe/Berlin", ""), ("+1500", "")])
def test_a_time_zone_is_an_offset(zone: str, taken: str, write: Write) -> None:
    assert _exam(write, TimezoneOffsetFromUTC=zone).time_zone == taken


def test_the_left_out_are_said_without_the_path_or_the_value(write: Write, tmp_path: Path) -> None:
    assert str(tmp_path) not in "".join(_exam(write, PatientSex="SECRET").omissions)
    assert "SECRET" not in "".join(_exam(write, PatientSex="SECRET").omissions)
