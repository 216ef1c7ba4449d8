"""The findings of one image drawn for any archive: presentation state (GSPS) and segmentation (SEG).

What is drawn are the clusters of the default operating point, since neither format knows any other.
Only an image with findings gets them: an empty drawing would say nothing.

References
----------
DICOM PS3.3 A.33.1 (Grayscale Softcopy Presentation State IOD), A.51 (Segmentation IOD), C.10.5
(graphic annotation: PIXEL counts columns and rows from the corner of the first pixel, as SCOORD does).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microcalc import __version__
from microcalc.dicom import concepts as c
from microcalc.dicom.read import read_data_set
from microcalc.dicom.report_header import (
    MANUFACTURER,
    RESEARCH_ONLY,
    SERIES,
    SOP_CLASSES,
    ReportKind,
    report_uid,
    series_uid,
    use_exam,
)
from microcalc.dicom.results import ImageHeader, ImageResult
from microcalc.dicom.tags import quiet
from microcalc.dicom.write import file_meta, hashed_uid

if TYPE_CHECKING:
    from highdicom.pr import GraphicAnnotation, GraphicLayer
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset

_ALTERED = c.Concept("49755003", "SCT", "Morphologically Abnormal Structure")
_LEARNED = c.Concept("123109", "DCM", "Machine Learning")


def presentation_state(result: ImageResult, *, made: datetime) -> Dataset | None:
    """The outlines of an image's findings as graphics, their certainty beside them; None without findings.

    Values are shown as the image itself wants it: its VOI and polarity are taken over.

    Parameters
    ----------
    result
        Of one image; its file is read for what the state takes over.
    made
        When; the UID does not depend on it.

    Raises
    ------
    InputError
        The image's file cannot be read any more.
    """
    from highdicom.pr import GraphicLayer, GrayscaleSoftcopyPresentationState

    if not result.findings():
        return None
    with quiet():
        source = _source(result.header)
        layer = GraphicLayer("FINDINGS", order=1, description="Calcification clusters")
        state = GrayscaleSoftcopyPresentationState(
            referenced_images=[source],
            content_label="MICROCALC",
            content_description=RESEARCH_ONLY,
            graphic_layers=[layer],
            graphic_annotations=[_annotation(result, layer, source)],
            **_identity("gsps", result),
        )
        if result.header.laterality is not None:
            state.Laterality = result.header.laterality
        return _settled(state, "gsps", result, made)


def segmentation(result: ImageResult, *, made: datetime) -> Dataset | None:
    """The outlines of an image's findings as binary segments, one a cluster; None without findings.

    Arguments and errors as of ``presentation_state``.
    """
    from highdicom.seg import Segmentation

    found = result.findings()
    if not found:
        return None
    with quiet():
        source = _source(result.header)
        inside = np.stack([_inside(result, cluster.outline) for cluster in found], axis=-1)
        made_of = Segmentation(
            source_images=[source],
            pixel_array=inside[None],
            segmentation_type="BINARY",
            segment_descriptions=_segments(result),
            content_label="MICROCALC",
            content_description=RESEARCH_ONLY,
            omit_empty_frames=False,
            **_identity("seg", result),
        )
        if result.header.orientation is not None:
            made_of.PatientOrientation = list(result.header.orientation)
        return _settled(made_of, "seg", result, made)


def _source(header: ImageHeader) -> Dataset:
    """The image's elements, patient and study as the other reports name them."""
    source = read_data_set(header.file, stop_before_pixels=True)
    source.SpecificCharacterSet = "ISO_IR 192"
    use_exam(source, header)
    if "WindowCenter" in source and "VOILUTSequence" in source:
        del source.VOILUTSequence  # the state takes over one of the two; we read by the window as well
    return source


def _identity(kind: ReportKind, result: ImageResult) -> dict[str, Any]:
    return {
        "series_instance_uid": series_uid(kind, result.header.exam.study),
        "series_number": SERIES[kind][0],
        "sop_instance_uid": report_uid(kind, [result]),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MANUFACTURER,
        "software_versions": __version__,
        "device_serial_number": "0",
    }


def _settled(dataset: Dataset, kind: ReportKind, result: ImageResult, made: datetime) -> Dataset:
    """With the library's dates and random UIDs replaced, so that the same input gives the same bytes."""
    day, hour = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    for keyword in dataset.dir("Date$"):
        if keyword in ("ContentDate", "InstanceCreationDate", "PresentationCreationDate", "SeriesDate"):
            setattr(dataset, keyword, day)
            setattr(dataset, keyword.replace("Date", "Time"), hour)
    dataset.SeriesDescription = SERIES[kind][1]
    organization = hashed_uid("dimensions", dataset.SOPInstanceUID)
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, []):
            item.DimensionOrganizationUID = organization
    dataset.file_meta = file_meta(SOP_CLASSES[kind], dataset.SOPInstanceUID)
    plain: Dataset = dataset
    return plain


def _annotation(result: ImageResult, layer: GraphicLayer, source: Dataset) -> GraphicAnnotation:
    from highdicom.pr import GraphicAnnotation, GraphicObject, TextObject

    drawn, labels = [], []
    for cluster in result.findings():
        corners = np.array(result.columns_rows(cluster.outline))
        drawn.append(GraphicObject("POLYLINE", corners, "PIXEL"))
        column, row = corners[corners[:, 0].argmax()]
        labels.append(
            TextObject(
                f"{100 * cluster.likelihood:.0f} %",
                "PIXEL",
                anchor_point=(float(column), float(row)),
                anchor_point_visible=False,
            )
        )
    return GraphicAnnotation([source], layer, graphic_objects=drawn, text_objects=labels)


def _segments(result: ImageResult) -> list[SegmentDescription]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    def coded(concept: c.Concept) -> CodedConcept:
        return CodedConcept(concept.value, concept.scheme, concept.meaning)

    algorithm, label = result.algorithm, result.header.label
    described = AlgorithmIdentificationSequence(algorithm.name, coded(_LEARNED), algorithm.version)
    return [
        SegmentDescription(
            segment_number=n,
            segment_label=f"{label} cluster {n}",
            segmented_property_category=coded(_ALTERED),
            segmented_property_type=coded(c.CLUSTER),
            algorithm_type="AUTOMATIC",
            algorithm_identification=described,
            tracking_uid=hashed_uid("segment", report_uid("seg", [result]), str(n)),
            tracking_id=f"{label} cluster {n}",
        )
        for n, _ in enumerate(result.findings(), start=1)
    ]


def _inside(result: ImageResult, outline_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(rows, columns): which pixel centres lie inside an outline, by the even-odd rule."""
    inside = np.zeros((result.header.rows, result.header.columns), dtype=bool)
    corners = np.array(result.columns_rows(outline_mm))[:, ::-1] - 0.5
    top, left = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    bottom, right = np.ceil(corners.max(axis=0)).astype(int) + 1
    box = inside[top:bottom, left:right]
    row, column = (np.arange(n) + start for n, start in zip(box.shape, (top, left), strict=True))
    for (row_a, column_a), (row_b, column_b) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if row_a == row_b:
            continue
        spans = (row_a > row) != (row_b > row)
        at = column_a + (row - row_a) / (row_b - row_a) * (column_b - column_a)
        box ^= spans[:, None] & (column[None, :] < at[:, None])
    return inside
