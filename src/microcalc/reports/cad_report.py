"""Write the findings of one exam as a Mammography CAD SR (TID 4000), which mammography workstations read.

Clusters are Single Image Findings that contain their microcalcifications; evident calcifications outside clusters are
findings of their own. Centres and outlines refer to the images in the report's library. A report is always made, also
if there are no findings or an image could not be analysed.

Our choices, where the standard leaves them open:

* Operating point 0 is the default one of the model. A cluster that reaches it is Presentation Required, so that a
  workstation that does not support operating points shows the findings of ``microcalc detect``. A cluster that
  reaches only a more sensitive point k of the model is Presentation Optional from point k on. Other clusters are not
  reported.
* A cluster that is set apart as one of likely benign calcium is Presentation Optional, without an operating point.
* The Calcification Type is that of the likely kind; without a kind it is Microcalcifications of the breast.
* An evident single calcification is Presentation Optional, without an operating point: those of the model are of
  clusters. One that is in an optional cluster is reported there alone. Other candidates are not reported.
* The Algorithm Parameters of the detections give the threshold, false clusters per image and sensitivity of each
  operating point.
* Certainty of Finding is the likelihood as a percentage; it is not a calibrated probability.
* The Impression Description, the only free text of the template, says why an image failed, which images have
  optional findings only, and in which images text is burned into the pixels.

References
----------
DICOM PS3.3 A.35.5 (Mammography CAD SR IOD), PS3.16 TID 4000, 4001, 4003, 4006, 4009, 4010, 4015,
4017, 4019, 4020, 4021, 4023, 1400, 1401.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from microcalc.dicom.tags import quiet
from microcalc.geometry import Points
from microcalc.reports import concepts as c
from microcalc.reports.content_items import (
    add,
    code,
    container,
    date,
    image,
    number,
    pointer,
    region,
    text,
    time,
    use_srt,
)
from microcalc.reports.header import check_one_exam, report_uid, start_report
from microcalc.reports.image_header import ImageHeader
from microcalc.reports.reported_image import Algorithm, ReportedImage, impression_sentences

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from microcalc.domain import Cluster

CodeScheme = Literal["sct", "srt"]

_LIBRARY = (1, 2)
"""Position of the Image Library: the second item below the root, after the language."""


def cad_report(results: Sequence[ReportedImage], *, made: datetime, codes: CodeScheme = "sct") -> Dataset:
    """Return the report of one exam.

    Parameters
    ----------
    results
        The images of one study, at least one, including those that could not be analysed.
    made
        Time of making, which does not change the UID.
    codes
        ``"srt"`` writes the codes of SNOMED RT, which older workstations need.

    Returns
    -------
    Dataset
        With file meta information, ready to be written or sent.

    Raises
    ------
    InputError
        There is no image, an image twice, or images of several studies or patients.
    """
    check_one_exam(results)
    with quiet():
        root = start_report("sr", [r.header for r in results], report_uid("sr", results, codes), made)
        _add_content(root, results)
        if codes == "srt":
            use_srt(root)
    return root


def _add_content(root: Dataset, results: Sequence[ReportedImage]) -> None:
    document = container(c.MAMMOGRAPHY_CAD_REPORT, template="4000")
    for element in document:
        root.add(element)
    add(root, "HAS CONCEPT MOD", code(c.LANGUAGE, c.ENGLISH))
    add(root, "CONTAINS", _library(results), _summary(results), _detections(results))
    add(root, "CONTAINS", code(c.ANALYSES, c.NOT_ATTEMPTED))


def _library(results: Sequence[ReportedImage]) -> Dataset:
    """Return the Image Library (TID 4020), with an entry for each image in their order."""
    library = container(c.IMAGE_LIBRARY)
    add(library, "CONTAINS", *(_library_entry(result.header) for result in results))
    return library


def _library_entry(header: ImageHeader) -> Dataset:
    entry = image(header.sop_class, header.uid)
    context = []
    if header.laterality is not None:
        context.append(code(c.IMAGE_LATERALITY, c.SIDES[header.laterality]))
    if header.view in c.VIEW_CONCEPTS:
        view = code(c.IMAGE_VIEW, c.VIEW_CONCEPTS[header.view])
        add(view, "HAS CONCEPT MOD", *(code(c.IMAGE_VIEW_MODIFIER, modifier) for modifier in header.view_modifiers))
        context.append(view)
    if header.orientation is not None:
        row, column = header.orientation
        context += [text(c.ORIENTATION_ROW, row), text(c.ORIENTATION_COLUMN, column)]
    exam = header.exam
    context += [date(c.STUDY_DATE, exam.study_date)] * bool(exam.study_date)
    context += [time(c.STUDY_TIME, exam.study_time)] * bool(exam.study_time)
    context += [date(c.CONTENT_DATE, header.content_date)] * bool(header.content_date)
    context += [time(c.CONTENT_TIME, header.content_time)] * bool(header.content_time)
    if header.spacing_mm is not None:
        row_mm, column_mm = header.spacing_mm
        context.append(number(c.HORIZONTAL_SPACING, column_mm, c.MILLIMETER))
        context.append(number(c.VERTICAL_SPACING, row_mm, c.MILLIMETER))
    add(entry, "HAS ACQ CONTEXT", *context)
    return entry


def _summary(results: Sequence[ReportedImage]) -> Dataset:
    """Return the overall summary (TID 4001) with an impression for each image with findings (TID 4003)."""
    failed = [result for result in results if result.failure is not None]
    found = [(n, r) for n, r in enumerate(results, start=1) if r.reported_clusters() or r.is_marked]
    summary = code(c.SUMMARY, _outcome(len(failed), len(results), findings=bool(found)))
    sentences = impression_sentences(results, with_optional=True)
    if sentences:
        add(summary, "HAS PROPERTIES", text(c.IMPRESSION_DESCRIPTION, ". ".join(sentences)))
        add(summary, "HAS PROPERTIES", *_algorithm_items((failed or results)[0].algorithm))
    add(summary, "INFERRED FROM", *(_impression(n, result) for n, result in found))
    return summary


def _outcome(failed: int, images: int, *, findings: bool) -> c.Concept:
    if failed == images:
        return c.NONE_SUCCEEDED
    if failed:
        return c.NOT_ALL_SUCCEEDED_WITH if findings else c.NOT_ALL_SUCCEEDED_WITHOUT
    return c.ALL_SUCCEEDED_WITH if findings else c.ALL_SUCCEEDED_WITHOUT


def _impression(number_: int, result: ReportedImage) -> Dataset:
    """Return the findings of image ``number_`` of the library; required if one of them is."""
    impression, reported = container(c.INDIVIDUAL_IMPRESSION), result.reported_clusters()
    shown = any(point == 0 for _, point in reported)
    add(impression, "HAS CONCEPT MOD", code(c.RENDERING_INTENT, c.REQUIRED if shown else c.OPTIONAL))
    add(impression, "CONTAINS", *(_cluster_finding(number_, result, *cluster) for cluster in reported))
    singles = result.singles(with_optional=True)
    add(impression, "CONTAINS", *(_individual(number_, result, index, None) for index in singles))
    return impression


def _cluster_finding(number_: int, result: ReportedImage, cluster: Cluster, point: int | None) -> Dataset:
    """Return a cluster and its microcalcifications (TID 4006, 4010)."""
    members = result.candidates.centres[cluster.members]
    finding = _finding(c.CLUSTER, result.algorithm, point, cluster.likelihood)
    add(finding, "HAS PROPERTIES", *_geometry(number_, result, members.mean(axis=0, keepdims=True), cluster.outline))
    add(finding, "HAS PROPERTIES", code(c.CALCIFICATION_TYPE, c.TYPES[cluster.kind or "microcalcification"]))
    if cluster.distribution is not None:
        add(finding, "HAS PROPERTIES", code(c.DISTRIBUTION, c.DISTRIBUTIONS[cluster.distribution]))
    add(finding, "HAS PROPERTIES", number(c.CALCIFICATION_COUNT, len(members), c.NO_UNITS))
    add(finding, "INFERRED FROM", *(_individual(number_, result, int(index), point) for index in cluster.members))
    return finding


def _individual(number_: int, result: ReportedImage, index: int, point: int | None) -> Dataset:
    """Return one calcification (TID 4006, 4009), with its outline and size where they are known."""
    candidates, shape = result.candidates, result.shape(index)
    finding = _finding(c.INDIVIDUAL, result.algorithm, point, float(candidates.likelihood[index]))
    outline = None if shape is None else shape.outline
    add(finding, "HAS PROPERTIES", *_geometry(number_, result, candidates.centres[index][None], outline))
    add(finding, "HAS PROPERTIES", code(c.CALCIFICATION_TYPE, c.TYPES[result.kind(index) or "microcalcification"]))
    if shape is not None:
        add(finding, "HAS PROPERTIES", number(c.DIAMETER, round(shape.diameter_mm, 3), c.MILLIMETER))
        add(finding, "HAS PROPERTIES", number(c.AREA, round(shape.area_mm2, 4), c.SQUARE_MILLIMETER))
    return finding


def _finding(kind: c.Concept, algorithm: Algorithm, point: int | None, likelihood: float) -> Dataset:
    """Return a finding that is shown from an operating point on; None: it may be shown, at whatever point."""
    finding = code(c.SINGLE_IMAGE_FINDING, kind)
    intent = code(c.RENDERING_INTENT, c.REQUIRED if point == 0 else c.OPTIONAL)
    if point and algorithm.measured:
        add(intent, "HAS PROPERTIES", number(c.OPERATING_POINT, point, c.POINT_OF_FINDING))
    add(finding, "HAS CONCEPT MOD", intent)
    add(finding, "HAS PROPERTIES", *_algorithm_items(algorithm))
    add(finding, "HAS PROPERTIES", number(c.CERTAINTY, 100 * likelihood, c.PERCENT))
    return finding


def _geometry(number_: int, result: ReportedImage, centre: Points, outline: Points | None = None) -> list[Dataset]:
    """Return centre and outline (TID 4021)."""
    regions = [region(c.CENTER, "POINT", result.columns_rows(centre))]
    if outline is not None:
        regions.append(region(c.OUTLINE, "POLYLINE", result.columns_rows(outline)))
    for region_ in regions:
        add(region_, "SELECTED FROM", pointer((*_LIBRARY, number_)))
    return regions


def _algorithm_items(algorithm: Algorithm) -> list[Dataset]:
    """Return name, version and parameters of an algorithm (TID 4019)."""
    return [
        text(c.ALGORITHM_NAME, algorithm.name),
        text(c.ALGORITHM_VERSION, algorithm.version),
        *(text(c.ALGORITHM_PARAMETERS, parameter) for parameter in algorithm.parameters_and_model()),
    ]


def _detections(results: Sequence[ReportedImage]) -> Dataset:
    """Return the summary of detections (TID 4015): what was detected in which images, and where that failed."""
    done = [(n, result) for n, result in enumerate(results, start=1) if result.failure is None]
    failed = [(n, result) for n, result in enumerate(results, start=1) if result.failure is not None]
    status = c.SUCCEEDED if not failed else c.PARTIALLY_SUCCEEDED if done else c.FAILED
    summary = code(c.DETECTIONS, status)
    for name, numbered in ((c.SUCCESSFUL_DETECTIONS, done), (c.FAILED_DETECTIONS, failed)):
        if numbered:
            performed = container(name)
            add(performed, "CONTAINS", *_performed(numbered))
            add(summary, "INFERRED FROM", performed)
    return summary


def _performed(numbered: Sequence[tuple[int, ReportedImage]]) -> list[Dataset]:
    """Return the detections performed (TID 4017), an entry for each algorithm and kind of finding."""
    images: dict[Algorithm, list[int]] = {}
    for n, result in numbered:
        images.setdefault(result.algorithm, []).append(n)
    entries = []
    for algorithm, numbers in images.items():
        for kind in (c.CLUSTER, c.INDIVIDUAL):
            entry = code(c.DETECTION_PERFORMED, kind)
            add(entry, "HAS PROPERTIES", *_algorithm_items(algorithm))
            lines = algorithm.points_in_words() + (algorithm.single_point_in_words() if kind == c.INDIVIDUAL else [])
            add(entry, "HAS PROPERTIES", *(text(c.ALGORITHM_PARAMETERS, line) for line in lines))
            add(entry, "HAS PROPERTIES", *(pointer((*_LIBRARY, n)) for n in numbers))
            if kind == c.CLUSTER:
                add(entry, "HAS PROPERTIES", *_operating_points(algorithm))
            entries.append(entry)
    return entries


def _operating_points(algorithm: Algorithm) -> list[Dataset]:
    """Return the operating points (TID 4023); none if they were not measured.

    The table of the template is missing, as the relationships of this IOD do not allow it.
    """
    if not algorithm.measured:
        return []
    return [
        number(c.MAXIMUM_OPERATING_POINT, len(algorithm.operating_points) - 1, c.ARBITRARY),
        number(c.RECOMMENDED_OPERATING_POINT, 0, c.POINT_OF_ALGORITHM),
    ]
