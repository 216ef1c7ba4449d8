"""Images belong to one exam when they are of one study and one patient."""

from __future__ import annotations

import dataclasses

import pytest
from pydicom.dataset import Dataset
from tests.reports.exams import EXAM

from microcalc.reports.image_header import ExamHeader, _exam_header


def _read(**elements: str) -> ExamHeader:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return _exam_header(dataset, "1.2.3")


def test_two_patients_under_one_study_are_two_exams() -> None:
    assert dataclasses.replace(EXAM, patient_id="SECRET-2").key != EXAM.key
    assert dataclasses.replace(EXAM, issuer_of_patient_id="other hospital").key != EXAM.key
    assert dataclasses.replace(EXAM, study="1.2.826.0.1.8").key != EXAM.key


def test_spelling_of_the_name_does_not_split_an_exam() -> None:
    assert dataclasses.replace(EXAM, patient_name="MUELLER^ANNA").key == EXAM.key


@pytest.mark.parametrize("field", ["patient_name", "patient_birth_date"])
def test_patients_without_an_id_are_told_by_name_and_birth(field: str) -> None:
    nobody = dataclasses.replace(EXAM, patient_id="")
    assert nobody.key != EXAM.key
    assert dataclasses.replace(nobody, **{field: "19700101"}).key != nobody.key  # type: ignore[arg-type]  # of any field
    assert dataclasses.replace(nobody, patient_name="MÜLLER^anna").key == nobody.key


def test_every_value_of_a_patient_id_counts() -> None:
    assert _read(PatientID="A\\1").key != _read(PatientID="A\\2").key
    assert _read(PatientID="A").key == _read(PatientID="A ").key
    assert _read(PatientID="A", IssuerOfPatientID="X").key != _read(PatientID="A").key


def test_the_key_names_nobody() -> None:
    assert len(EXAM.key) == 64
    assert "SECRET" not in EXAM.key
    assert "SECRET" not in repr(EXAM)
