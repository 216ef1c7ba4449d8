"""The CAD report says what was found, always, and the same for the same images."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from tests.reports.exams import ALGORITHM, EXAM, MADE, SPACING_MM, failed, header, of_kinds, result, with_image

from microcalc.batch.report import WrittenReport
from microcalc.dicom.codes import VIEWS as VIEW_CODES
from microcalc.domain import CalcificationKind, Candidates, Cluster, OperatingPoint
from microcalc.errors import InputError
from microcalc.reports import concepts as c
from microcalc.reports.cad_reader import CadReport, is_cad_report, parse_cad_report, read_cad_report
from microcalc.reports.cad_report import cad_report
from microcalc.reports.content_items import has_name, has_value, named, walk
from microcalc.reports.exam import Report, exam_reports, write_report
from microcalc.reports.header import ReportKind
from microcalc.reports.image_header import displaced
from microcalc.reports.measurement_report import measurement_report
from microcalc.reports.reported_image import ReportedImage, by_exam, remarks
from microcalc.reports.segmentation import segmentation


def _read(*results: ReportedImage) -> CadReport:
    return parse_cad_report(cad_report(results, made=MADE))


# What it says.


@pytest.mark.parametrize(
    ("results", "outcome", "detections"),
    [
        ([result()], c.ALL_SUCCEEDED_WITHOUT, c.SUCCEEDED),
        ([result(clusters=[0.95]), result(1)], c.ALL_SUCCEEDED_WITH, c.SUCCEEDED),
        ([result(), failed(1)], c.NOT_ALL_SUCCEEDED_WITHOUT, c.PARTIALLY_SUCCEEDED),
        ([result(clusters=[0.95]), failed(1)], c.NOT_ALL_SUCCEEDED_WITH, c.PARTIALLY_SUCCEEDED),
        ([failed(), failed(1)], c.NONE_SUCCEEDED, c.FAILED),
    ],
)
def test_the_summary_says_whether_all_was_analysed_and_anything_found(
    results: list[ReportedImage], outcome: c.Concept, detections: c.Concept
) -> None:
    root = cad_report(results, made=MADE)
    (summary,), (done,) = named(root, c.SUMMARY), named(root, c.DETECTIONS)
    assert summary.ConceptCodeSequence[0].CodeValue == outcome.value
    assert done.ConceptCodeSequence[0].CodeValue == detections.value


def test_a_failed_image_is_named_with_its_reason() -> None:
    report = _read(result(), failed(3, "truncated pixel data"))
    assert report.description == "Not analysed: L MLO: truncated pixel data"
    assert report.failed == {header(3).uid}


def test_findings_of_the_default_point_are_required_and_others_optional_from_their_point_on() -> None:
    report = _read(result(clusters=[0.95, 0.85, 0.75]))
    assert [(f.required, f.point) for f in report.findings] == [(True, None), (False, 1)]  # 0.75 reaches no point
    assert report.max_point == 1


def test_a_model_nobody_measured_gives_no_operating_points() -> None:
    algorithm = dataclasses.replace(ALGORITHM, operating_points=(OperatingPoint(0.8, None, None),))
    report = _read(result(clusters=[0.95], algorithm=algorithm))
    assert report.max_point is None
    assert [f.required for f in report.findings] == [True]


def test_the_reader_is_told_that_all_findings_are_optional_and_that_text_is_burned_in() -> None:
    burned = with_image(result(1), burned_in=True)
    assert _read(result(clusters=[0.85, 0.82]), burned).description == (
        "No finding at the default operating point, optional ones alone: R CC: 2. "
        "Text is burned into the pixels, and marks may be of it: L CC"
    )
    assert _read(result(clusters=[0.95, 0.85])).description == ""


def test_the_parameters_say_what_the_operating_points_mean() -> None:
    parameters = _read(result()).parameters
    assert "stage=pair" in parameters
    assert f"model={ALGORITHM.sha256}" in parameters
    assert (
        "operating_point_1: clusters of certainty 80 % or more, optional below the points before; "
        "where measured, 0.5 false clusters per image, sensitivity 0.7" in parameters
    )


def test_two_models_in_one_exam_are_told_apart() -> None:
    other = dataclasses.replace(ALGORITHM, name="microcalc processed", sha256="cd" * 32)
    report = _read(result(clusters=[0.95]), result(1, clusters=[0.95], algorithm=other))
    assert report.algorithms == ("microcalc raw 0.1.0", "microcalc processed 0.1.0")


def test_the_library_tells_side_view_and_modifiers() -> None:
    spot = with_image(result(), view_modifiers=c.VIEW_MODIFIERS[:2])
    root = cad_report([spot, result(3)], made=MADE)
    assert [(i.laterality, i.view) for i in parse_cad_report(root).images] == [
        ("Right breast", VIEW_CODES["CC"].meaning),
        ("Left breast", VIEW_CODES["MLO"].meaning),
    ]
    modifiers = [i.ConceptCodeSequence[0].CodeMeaning for i in walk(root) if has_name(i, c.IMAGE_VIEW_MODIFIER)]
    assert modifiers == ["Magnification", "Spot Compression"]


def test_an_image_that_tells_little_is_reported_all_the_same() -> None:
    bare = with_image(failed(), laterality=None, view=None, orientation=None, spacing_mm=None, content_date="")
    report = parse_cad_report(cad_report([bare], made=MADE))
    assert [(i.laterality, i.view) for i in report.images] == [("", "")]


def test_patient_and_study_are_those_of_the_images() -> None:
    root = cad_report([result()], made=MADE)
    assert (root.PatientName, root.PatientID, root.StudyInstanceUID) == ("Müller^Anna", "SECRET-1", EXAM.study)
    (study,) = root.CurrentRequestedProcedureEvidenceSequence
    references = [r for series in study.ReferencedSeriesSequence for r in series.ReferencedSOPSequence]
    assert [r.ReferencedSOPInstanceUID for r in references] == [header().uid]


def test_no_header_shows_the_patient_when_printed() -> None:
    assert "Müller" not in repr(header())
    assert "SECRET" not in repr(header())


# Its UIDs.


def test_the_same_images_give_the_same_report_whatever_their_order() -> None:
    first, second = result(clusters=[0.95]), result(1)
    root = cad_report([first, second], made=MADE)
    again = cad_report([first, second], made=MADE)
    turned = cad_report([second, first], made=MADE + timedelta(days=1))
    assert root == again
    assert root.SOPInstanceUID == turned.SOPInstanceUID
    assert root.SeriesInstanceUID == turned.SeriesInstanceUID


@pytest.mark.parametrize(
    "other",
    [
        with_image(result(), uid="1.2.3"),
        result(algorithm=dataclasses.replace(ALGORITHM, sha256="cd" * 32)),
        result(algorithm=dataclasses.replace(ALGORITHM, parameters=("stage=cnn1",))),
        result(algorithm=dataclasses.replace(ALGORITHM, operating_points=ALGORITHM.operating_points[:1])),
        failed(),
    ],
)
def test_another_image_model_setting_or_failure_is_another_report(other: ReportedImage) -> None:
    assert cad_report([result()], made=MADE).SOPInstanceUID != cad_report([other], made=MADE).SOPInstanceUID


def test_images_of_two_studies_do_not_stand_in_one_report() -> None:
    stranger = with_image(result(1), exam=dataclasses.replace(EXAM, study="1.2.9"))
    with pytest.raises(InputError, match="images of 2 studies"):
        cad_report([result(), stranger], made=MADE)
    with pytest.raises(InputError, match="no image"):
        cad_report([], made=MADE)
    with pytest.raises(InputError, match="twice"):
        cad_report([result(), result()], made=MADE)
    assert [len(exam) for exam in by_exam([result(), stranger, result(2)])] == [2, 1]


def test_two_patients_under_one_study_get_two_reports_in_series_of_their_own() -> None:
    stranger = with_image(result(1), exam=dataclasses.replace(EXAM, patient_id="SECRET-2", patient_name="Other^Name"))
    respelt = with_image(result(2), exam=dataclasses.replace(EXAM, patient_name="MUELLER^ANNA"))
    with pytest.raises(InputError, match="images of 2 patients under one Study Instance UID"):
        cad_report([result(), stranger], made=MADE)
    exams = by_exam([result(), stranger, respelt])
    assert [len(exam) for exam in exams] == [2, 1]
    first, second = (cad_report(exam, made=MADE) for exam in exams)
    assert (first.PatientID, second.PatientID) == ("SECRET-1", "SECRET-2")
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_the_issuer_of_the_id_and_the_time_zone_go_along() -> None:
    exam = dataclasses.replace(EXAM, issuer_of_patient_id="HOSPITAL", time_zone="+0900")
    root = cad_report([with_image(result(), exam=exam)], made=datetime(2025, 3, 4, 20, 6, 7, tzinfo=UTC))
    assert (root.IssuerOfPatientID, root.TimezoneOffsetFromUTC) == ("HOSPITAL", "+0900")
    assert (root.ContentDate, root.ContentTime) == ("20250305", "050607")
    plain = cad_report([result()], made=MADE)
    assert "IssuerOfPatientID" not in plain
    assert "TimezoneOffsetFromUTC" not in plain


def test_a_processed_image_that_may_have_moved_is_told_of() -> None:
    raw = header()
    kept = dataclasses.replace(header(1), source=(raw.uid, True))
    moved = dataclasses.replace(header(2), source=(raw.uid, False))
    stranger = dataclasses.replace(header(3), source=("1.2.3", False))
    assert displaced([raw, kept, moved, stranger]) == [moved]
    (line,) = remarks([raw, kept, moved, stranger])
    assert line.startswith("image.dcm: does not state that positions are those of its raw image")


def test_what_a_report_leaves_out_is_said_in_one_line_for_each_image() -> None:
    exam = dataclasses.replace(
        EXAM, omissions=("PatientID (100 characters, of which at most 64 are valid)", "StudyID (x)")
    )
    assert remarks([dataclasses.replace(header(), exam=exam), header(1)]) == [
        "image.dcm: omitted from its reports, or corrected: PatientID (100 characters, of which at most 64 are valid), "
        "StudyID (x)"
    ]


# Codes.


def test_srt_replaces_every_code_of_snomed_ct() -> None:
    def schemes(root: Dataset) -> set[str]:
        return {code.CodingSchemeDesignator for i in walk(root) for code in i.get("ConceptCodeSequence", [])}

    plain = [with_image(result(n, clusters=[0.95]), view_modifiers=c.VIEW_MODIFIERS) for n in range(4)]
    kinds = list(c.TYPES)[1:]
    results = [of_kinds(one, kind, apart=False) for one, kind in zip(plain, kinds, strict=True)]
    old, new = cad_report(results, made=MADE, codes="srt"), cad_report(results, made=MADE, codes="sct")
    assert "SCT" in schemes(new)
    assert "SCT" not in schemes(old)
    assert old.SOPInstanceUID != new.SOPInstanceUID
    assert [f.is_cluster for f in parse_cad_report(old).findings] == [True] * 4


def test_codes_are_those_of_the_standard_as_pydicom_has_it() -> None:
    from pydicom.sr._concepts_dict import concepts
    from pydicom.sr._snomed_dict import mapping

    known: dict[tuple[str, str], set[str]] = {}
    dictionary: dict[str, Any] = concepts
    for scheme, names in dictionary.items():
        for codes in names.values():
            for code, (meaning, _) in codes.items():
                known.setdefault((code, scheme), set()).add(meaning.replace("\u200b", "").lower())
    ours = [value for value in vars(c).values() if isinstance(value, c.Concept)] + list(c.VIEW_MODIFIERS)
    for concept in (*ours, *c.BENIGN_TYPES, *c.TYPES.values(), *c.SIDES.values(), *c.VIEW_CONCEPTS.values()):
        if concept.scheme in ("DCM", "SCT"):
            assert concept.meaning.lower() in known[concept.value, concept.scheme]
        if concept.srt:
            assert mapping["SCT"][concept.value] == concept.srt


# Round trip.

_PLACES = st.lists(
    st.tuples(st.floats(0, 1999 * SPACING_MM[0]), st.floats(0, 1499 * SPACING_MM[1])), min_size=3, max_size=12
)


@settings(max_examples=30, deadline=None)
@given(places=_PLACES, rating=st.floats(0.8, 1))
def test_positions_and_ratings_come_back(places: list[tuple[float, float]], rating: float) -> None:
    centres = np.array(places)
    outline = np.concatenate([centres, centres[:1]])
    written = ReportedImage(
        header(),
        ALGORITHM,
        Candidates(centres, np.linspace(1, 0.5, len(centres))),
        [Cluster(np.arange(len(centres)), outline, rating)],
    )
    (finding,) = _read(written).findings
    pixels = centres / SPACING_MM
    np.testing.assert_allclose([p.centre for p in finding.parts], pixels, atol=2e-3)
    assert finding.outline is not None
    np.testing.assert_allclose(finding.outline, outline / SPACING_MM, atol=2e-3)
    np.testing.assert_allclose(finding.centre, pixels.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose([p.certainty or 0.0 for p in finding.parts], written.candidates.likelihood, atol=1e-7)
    assert finding.certainty == pytest.approx(rating, abs=1e-8)
    assert (finding.count, finding.uid) == (len(places), header().uid)


@settings(max_examples=20, deadline=None)
@given(members=st.integers(1, 6), singles=st.integers(0, 4), seed=st.integers(0, 99))
def test_outlines_sizes_and_single_calcifications_come_back(members: int, singles: int, seed: int) -> None:
    written = result(clusters=[0.95], members=members, singles=singles, seed=seed)
    cluster, *others = _read(written).findings
    read = [*cluster.parts, *others]
    assert [f.is_individual for f in read] == [True] * (members + singles)
    assert [f.required for f in read] == [True] * members + [False] * singles
    for index, finding in enumerate(read):
        np.testing.assert_allclose(finding.centre, written.candidates.centres[index] / SPACING_MM, atol=2e-3)
        shape = written.shape(index)
        if shape is None:
            assert (finding.outline, finding.diameter_mm, finding.area_mm2) == (None, None, None)
            continue
        assert finding.outline is not None
        np.testing.assert_allclose(finding.outline, shape.outline / SPACING_MM, atol=2e-3)
        assert finding.diameter_mm == pytest.approx(shape.diameter_mm, abs=1e-3)
        assert finding.area_mm2 == pytest.approx(shape.area_mm2, abs=1e-4)


def test_every_distribution_comes_back_and_none_is_stated_of_a_cluster_that_has_none() -> None:
    written = result(clusters=[0.99, 0.98, 0.97, 0.96, 0.95])
    assert [f.distribution for f in _read(written).findings] == [cluster.distribution for cluster in written.clusters]
    plain = dataclasses.replace(written.clusters[0], distribution=None)
    assert [f.distribution for f in _read(dataclasses.replace(written, clusters=[plain])).findings] == [None]


@pytest.mark.parametrize("kind", get_args(CalcificationKind))
def test_every_kind_comes_back_and_decides_nothing_alone(kind: CalcificationKind) -> None:
    written = result(clusters=[0.95, 0.85], singles=2)
    plain, stated = _read(written), _read(of_kinds(written, kind, apart=False))
    assert [(f.required, f.point) for f in stated.findings] == [(f.required, f.point) for f in plain.findings]
    assert (stated.outcome, stated.description) == (plain.outcome, plain.description)
    assert [f.calcium_kind for f in stated.findings[:2]] == [kind] * 2
    read = [*(part for f in stated.findings[:2] for part in f.parts), *stated.findings[2:]]
    shaped = [shape is not None for shape in written.shapes]
    assert [f.calcium_kind for f in read] == [kind if known else "microcalcification" for known in shaped]
    assert {f.is_benign for f in stated.findings[:2]} == {kind != "microcalcification"}


def test_a_finding_that_is_set_apart_is_optional_with_its_calcifications_and_the_reader_is_told() -> None:
    written = of_kinds(result(clusters=[0.95]), "vascular", apart=True)
    root, report = cad_report([written], made=MADE), _read(written)
    intents = [i for i in walk(root) if has_name(i, c.RENDERING_INTENT)]
    assert [has_value(i, c.OPTIONAL) for i in intents] == [True] * (1 + 1 + 3)  # impression, cluster, members
    (finding,) = report.findings
    assert (finding.required, finding.point, finding.calcium_kind) == (False, None, "vascular")
    assert report.outcome == c.ALL_SUCCEEDED_WITH.meaning
    assert report.description == "Clusters of calcium that is likely benign, set apart, optional: R CC: 1"


def test_beside_a_finding_set_apart_another_is_required() -> None:
    written = result(clusters=[0.95, 0.96, 0.85])
    first, *others = written.clusters
    first = dataclasses.replace(first, kind="vascular", apart=True)
    report = _read(dataclasses.replace(written, clusters=[first, *others]))
    assert [(f.required, f.point) for f in report.findings] == [(False, None), (True, None), (False, 1)]


def test_single_calcifications_are_findings_and_the_reader_is_told_of_them() -> None:
    report = _read(result(singles=2), result(1))
    assert report.outcome == c.ALL_SUCCEEDED_WITH.meaning
    assert [(f.is_individual, f.required, f.point) for f in report.findings] == [(True, False, None)] * 2
    assert report.description == "Evident single calcifications outside clusters, optional: R CC: 2"
    assert (
        "single_calcifications: of certainty 95 % or more, outside the findings, optional; "
        "where measured, 0.1 false marks per image, sensitivity 0.5" in report.parameters
    )


def test_a_single_calcification_in_an_optional_cluster_is_reported_once() -> None:
    written = dataclasses.replace(result(clusters=[0.85], members=3, singles=1), evident=[1, 3])
    (cluster, single) = _read(written).findings
    assert (len(cluster.parts), single.parts) == (3, ())
    np.testing.assert_allclose(single.centre, written.candidates.centres[3] / SPACING_MM, atol=2e-3)


def test_a_single_calcification_in_an_optional_cluster_is_in_the_reports_without_optional_clusters() -> None:
    written = dataclasses.replace(result(clusters=[0.85], members=3, singles=1), evident=[1, 3])
    assert (written.singles(), written.singles(with_optional=True)) == ([1, 3], [3])
    measured = measurement_report([written], made=MADE)
    names = [i.TextValue for i in walk(measured) if has_name(i, c.TRACKING_IDENTIFIER)]
    assert names == ["R CC single calcification 1", "R CC single calcification 2"]
    comments = [i.TextValue for i in walk(measured) if has_name(i, c.COMMENT)]
    assert "Evident single calcifications outside clusters, optional: R CC: 2" in comments
    drawn = segmentation(written, made=MADE)
    assert drawn is not None
    (segment,) = drawn.SegmentSequence
    assert segment.SegmentLabel == "R CC single calcifications"
    inside = drawn.pixel_array[tuple((written.candidates.centres[[1, 3]] / SPACING_MM).round().astype(int).T)]
    assert inside.all()
    kinds: tuple[ReportKind, ...] = ("sr", "tid1500")
    counts = [WrittenReport.of(Path(), Report(kind, Dataset(), (written,))) for kind in kinds]
    assert [(one.findings, one.more, one.singles) for one in counts] == [(0, 1, 1), (0, 0, 2)]


def test_an_outline_that_leaves_the_image_is_cut_at_its_border() -> None:
    outline = np.array([[-1.0, 5.0], [5.0, 200.0], [-1.0, 5.0]])
    cluster = Cluster(np.arange(3), outline, 0.95)
    (finding,) = _read(dataclasses.replace(result(clusters=[0.95]), clusters=[cluster])).findings
    assert finding.outline is not None
    assert finding.outline.min() == -0.5
    assert finding.outline[:, 1].max() == header().columns - 0.5


def test_a_file_gives_the_report_that_was_written(tmp_path: Path) -> None:
    report = Report("sr", cad_report([result(clusters=[0.95])], made=MADE), ())
    write_report(report, tmp_path / "a.dcm")
    write_report(report, tmp_path / "b.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dcm", "b.dcm"]
    assert pydicom.dcmread(tmp_path / "a.dcm").PatientName == "Müller^Anna"
    assert is_cad_report(tmp_path / "a.dcm")
    assert len(read_cad_report(tmp_path / "a.dcm").findings) == 1


def test_asking_for_all_kinds_of_nothing_gives_the_structured_reports_alone() -> None:
    reports = exam_reports([result(), failed(1)], ("sr", "tid1500", "gsps", "seg"), made=datetime(2025, 1, 1))
    assert [report.kind for report in reports] == ["sr", "tid1500"]
