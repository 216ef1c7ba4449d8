"""A CAD report of any maker is read for what it says, and for nothing else."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.reports.exams import MADE, failed, header, result

from microcalc.errors import InputError, UnreadableImageError
from microcalc.reports import concepts as c
from microcalc.reports.cad_reader import parse_cad_report, read_cad_report
from microcalc.reports.cad_report import cad_report
from microcalc.reports.content_items import at, children, has_name, named, walk
from microcalc.reports.exam import Report, write_report


def _cluster_item(root: Dataset) -> Dataset:
    return next(i for i in walk(root) if has_name(i, c.SINGLE_IMAGE_FINDING))


def test_a_cluster_with_its_calcifications_beside_it_by_reference_is_read() -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    impression = at(root, (1, 3, 1))
    assert impression is not None
    cluster = _cluster_item(root)
    inside = [i for i in children(cluster) if i.RelationshipType == "INFERRED FROM"]
    cluster.ContentSequence = [i for i in children(cluster) if i.RelationshipType != "INFERRED FROM"]
    for n, item in enumerate(inside, start=3):
        item.RelationshipType = "CONTAINS"
        impression.ContentSequence.append(item)
        pointer = Dataset()
        pointer.RelationshipType, pointer.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 3, 1, n]
        cluster.ContentSequence.append(pointer)
    (finding,) = parse_cad_report(root).findings
    assert len(finding.parts) == 3


def test_a_circle_around_a_cluster_and_an_image_by_value_are_read() -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    cluster = _cluster_item(root)
    cluster.ContentSequence = [i for i in children(cluster) if i.RelationshipType != "INFERRED FROM"]
    (outline,) = named(cluster, c.OUTLINE)
    (image,) = children(named(root, c.IMAGE_LIBRARY)[0])
    cluster.ContentSequence = [i for i in children(cluster) if not has_name(i, c.CENTER)]
    outline.GraphicType, outline.GraphicData, outline.ContentSequence = "CIRCLE", [100.5, 200.5, 110.5, 200.5], [image]
    (finding,) = parse_cad_report(root).findings
    np.testing.assert_allclose(finding.centre, [200, 100])
    assert finding.outline is not None
    np.testing.assert_allclose(np.linalg.norm(finding.outline - [200, 100], axis=1), 10)
    assert (finding.uid, finding.parts) == (header().uid, ())


def test_an_ellipse_keeps_its_axes() -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    (outline,) = named(_cluster_item(root), c.OUTLINE)
    outline.GraphicType, outline.GraphicData = "ELLIPSE", [90.5, 200.5, 110.5, 200.5, 100.5, 195.5, 100.5, 205.5]
    (finding,) = parse_cad_report(root).findings
    assert finding.outline is not None
    np.testing.assert_allclose(finding.outline.max(axis=0) - finding.outline.min(axis=0), [10, 20], atol=0.5)


def _coded(concept: tuple[str, str, str]) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = concept
    return item


def _kinds_of_finding() -> list[tuple[str, str, str]]:
    from pydicom.sr.codedict import codes

    group = codes.CID6014
    return [(code.value, code.scheme_designator, code.meaning) for code in group.concepts.values()]


@pytest.mark.parametrize("kind", _kinds_of_finding(), ids=lambda kind: str(kind[2]))
def test_every_member_of_the_group_of_findings_is_taken_for_itself(kind: tuple[str, str, str]) -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    _cluster_item(root).ConceptCodeSequence = [_coded(kind)]
    finding = parse_cad_report(root).findings[0]
    assert finding.kind == kind[2]
    assert finding.is_cluster == (kind[0] == c.CLUSTER.value)
    assert finding.is_individual == (kind[0] == c.INDIVIDUAL.value)


def test_a_finding_of_an_unknown_code_is_named_by_it() -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    _cluster_item(root).ConceptCodeSequence = [_coded((c.CLUSTER.value, "99OTHER", ""))]
    finding = parse_cad_report(root).findings[0]
    assert (finding.kind, finding.is_calcium) == (f"finding of code {c.CLUSTER.value} (99OTHER)", False)
    assert len(parse_cad_report(root).findings) == 1 + 3  # those in it stand alone


def _intent_of(item: Dataset) -> Dataset:
    (intent,) = named(item, c.RENDERING_INTENT)
    return intent


def _set_intent(item: Dataset, concept: tuple[str, str, str]) -> None:
    _intent_of(item).ConceptCodeSequence = [_coded(concept)]


_NOT_SHOWN = (c.NOT_SHOWN.value, "DCM", c.NOT_SHOWN.meaning)


def test_a_finding_that_is_not_for_presentation_is_passed_over_with_a_word() -> None:
    root = cad_report([result(clusters=[0.95, 0.93], members=1)], made=MADE)
    _set_intent(_cluster_item(root), _NOT_SHOWN)
    report = parse_cad_report(root)
    assert len(report.findings) == 1
    assert report.remarks == ("2 findings not for presentation, ignored",)  # the cluster, and the one in it


def test_what_stands_below_an_impression_that_is_not_shown_is_not_shown() -> None:
    root = cad_report([result(clusters=[0.95], members=1), result(1, clusters=[0.95])], made=MADE)
    impression = next(i for i in walk(root) if has_name(i, c.INDIVIDUAL_IMPRESSION))
    _set_intent(impression, _NOT_SHOWN)
    assert [finding.uid for finding in parse_cad_report(root).findings] == [header(1).uid]


def test_an_intent_that_the_standard_does_not_have_is_that_of_the_impression() -> None:
    root = cad_report([result(clusters=[0.85])], made=MADE)  # optional, as its impression is
    _set_intent(_cluster_item(root), ("1", "99X", "Show it on Sundays"))
    report = parse_cad_report(root)
    assert [finding.required for finding in report.findings] == [False]
    assert report.remarks == ()
    _set_intent(next(i for i in walk(root) if has_name(i, c.INDIVIDUAL_IMPRESSION)), ("1", "99X", "No"))
    report = parse_cad_report(root)
    assert [finding.required for finding in report.findings] == [True]
    assert report.remarks == ("1 finding with an unknown rendering intent, treated as required",)


def _detections_of(root: Dataset, kind: tuple[str, str, str]) -> None:
    """As if the report's device looked for something else."""
    for entry in (i for i in walk(root) if has_name(i, c.DETECTION_PERFORMED)):
        entry.ConceptCodeSequence = [_coded(kind)]


def test_an_image_in_which_masses_alone_were_looked_for_was_not_searched() -> None:
    root = cad_report([result()], made=MADE)
    _detections_of(root, ("129788008", "SCT", "Mammographic breast mass"))
    report = parse_cad_report(root)
    assert (report.failed, report.not_searched) == (frozenset(), frozenset({header().uid}))
    assert parse_cad_report(cad_report([result()], made=MADE)).not_searched == frozenset()


def test_an_image_whose_search_for_calcium_failed_failed_though_masses_were_found() -> None:
    root = cad_report([result(), failed(1)], made=MADE)
    (detections,) = named(root, c.DETECTIONS)
    (done,), (lost,) = named(detections, c.SUCCESSFUL_DETECTIONS), named(detections, c.FAILED_DETECTIONS)
    masses = copy.deepcopy(children(lost)[0])
    masses.ConceptCodeSequence = [_coded(("129788008", "SCT", "Mammographic breast mass"))]
    done.ContentSequence.append(masses)
    report = parse_cad_report(root)
    assert (report.failed, report.not_searched) == (frozenset({header(1).uid}), frozenset())


def test_a_search_that_was_not_attempted_searched_nothing() -> None:
    root = cad_report([result()], made=MADE)
    (detections,) = named(root, c.DETECTIONS)
    detections.ConceptCodeSequence = [_coded((c.NOT_ATTEMPTED.value, "DCM", ""))]
    del detections.ContentSequence
    assert parse_cad_report(root).not_searched == {header().uid}
    detections.ConceptCodeSequence = [_coded((c.FAILED.value, "DCM", ""))]
    assert parse_cad_report(root).failed == {header().uid}


@pytest.mark.parametrize(
    ("units", "value", "certainty"),
    [("%", "93", 0.93), ("1", "0.93", 0.93), ("mm", "93", None), ("%", "130", 1.0)],
)
def test_a_certainty_is_read_in_its_units(units: str, value: str, certainty: float | None) -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    (item,) = named(_cluster_item(root), c.CERTAINTY)
    (entry,) = item.MeasuredValueSequence
    entry.NumericValue, entry.MeasurementUnitsCodeSequence = value, [_coded((units, "UCUM", units))]
    assert parse_cad_report(root).findings[0].certainty == certainty


@pytest.mark.parametrize(
    ("graphic", "data", "centre"),
    [
        ("POINT", [100.5, 200.5], [200, 100]),
        ("CIRCLE", [100.5, 200.5, 110.5, 200.5], [200, 100]),
        ("ELLIPSE", [90.5, 200.5, 110.5, 200.5, 100.5, 195.5, 100.5, 205.5], [200, 100]),
        ("MULTIPOINT", [90.5, 190.5, 110.5, 210.5], [200, 100]),
        ("POLYLINE", [90.5, 190.5, 110.5, 190.5, 110.5, 210.5, 90.5, 190.5], [200, 100]),
    ],
)
def test_a_centre_is_the_middle_of_whatever_is_drawn(graphic: str, data: list[float], centre: list[float]) -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    (item,) = named(_cluster_item(root), c.CENTER)
    item.GraphicType, item.GraphicData = graphic, data
    np.testing.assert_allclose(parse_cad_report(root).findings[0].centre, centre)


def test_the_type_of_calcification_is_kept_in_the_reports_words() -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    (item,) = named(_cluster_item(root), c.CALCIFICATION_TYPE)
    item.ConceptCodeSequence = [_coded(("129748007", "SCT", "Vascular calcification - radiographic finding"))]
    assert parse_cad_report(root).findings[0].types == ("Vascular calcification - radiographic finding",)


@pytest.mark.parametrize(
    ("codes", "benign"),
    [
        ([("129759000", "SCT", "Vascular calcification")], True),
        ([("F-01769", "SRT", "Calcified skin of breast")], True),
        ([("129759000", "SCT", "Vascular calcification"), ("129760005", "SCT", "Amorphous calcification")], False),
    ],
)
def test_a_finding_of_benign_types_alone_is_benign(codes: list[tuple[str, str, str]], benign: bool) -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    assert not parse_cad_report(root).findings[0].is_benign  # ours says microcalcifications
    cluster = _cluster_item(root)
    (item,) = named(cluster, c.CALCIFICATION_TYPE)
    item.ConceptCodeSequence = [_coded(codes[0])]
    for code in codes[1:]:
        other = copy.deepcopy(item)
        other.ConceptCodeSequence = [_coded(code)]
        cluster.ContentSequence.append(other)
    assert parse_cad_report(root).findings[0].is_benign is benign


def test_a_dangling_reference_is_an_error_in_one_line(tmp_path: Path) -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    (library,) = named(root, c.IMAGE_LIBRARY)
    library.ContentSequence = []
    write_report(Report("sr", root, ()), tmp_path / "x.dcm")
    with pytest.raises(
        InputError, match=r"x\.dcm: content item 1\.2\.1 missing, expected it since another item refers to it"
    ):
        read_cad_report(tmp_path / "x.dcm")


@pytest.mark.parametrize("undefined_lengths", [False, True])
def test_a_report_that_was_cut_off_is_never_a_shorter_report(undefined_lengths: bool, tmp_path: Path) -> None:
    path, root = tmp_path / "x.dcm", cad_report([result(clusters=[0.95])], made=MADE)
    for item in walk(root):
        if "ContentSequence" in item:
            item["ContentSequence"].is_undefined_length = undefined_lengths
            for child in item.ContentSequence:
                child.is_undefined_length_sequence_item = undefined_lengths
    write_report(Report("sr", root, ()), path)
    whole = path.read_bytes()
    assert len(read_cad_report(path).findings) == 1
    for length in (*range(140, len(whole), 211), len(whole) - 8, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises((InputError, UnreadableImageError)):
            read_cad_report(path)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_report_is_read_or_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    write_report(Report("sr", cad_report([result(clusters=[0.95]), failed(1)], made=MADE), ()), path)
    rng, data = np.random.default_rng(seed), bytearray(path.read_bytes())
    for at_byte in rng.integers(132, len(data), 40):
        data[at_byte] = rng.integers(256)
    path.write_bytes(data)
    said = ""
    try:
        read_cad_report(path)
    except (InputError, UnreadableImageError) as error:
        said = str(error)
    assert "\n" not in said
    assert "Müller" not in said
