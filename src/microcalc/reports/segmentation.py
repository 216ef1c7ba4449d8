"""Write the findings of one image as a segmentation (SEG).

The format has no operating points, so the segments are of the clusters of the default one: first the region of each
cluster, then of each cluster its calcifications, then the evident single calcifications (also those in a cluster of a
more sensitive point), as far as these have an outline. Each segment of calcifications holds them all, as a segment
takes a frame of the image's size. Only an image with such segments gets a segmentation: an empty one would carry no
information.

References
----------
DICOM PS3.3 A.51 (Segmentation IOD), C.7.6.1 (Patient Orientation is empty where it is unknown).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microcalc import __version__
from microcalc.dicom.tags import quiet
from microcalc.dicom.write import hashed_uid
from microcalc.geometry import Points
from microcalc.reports import concepts as c
from microcalc.reports.content_items import coded_concept
from microcalc.reports.header import (
    MANUFACTURER,
    RESEARCH_ONLY,
    SERIES,
    made_at,
    report_uid,
    series_uid,
    start_instance,
)
from microcalc.reports.image_header import ImageHeader
from microcalc.reports.reported_image import BURNED_IN, ReportedImage

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset

_ALTERED = c.Concept("49755003", "SCT", "Morphologically Abnormal Structure")
_LEARNED = c.Concept("123109", "DCM", "Machine Learning")


def segmentation(result: ReportedImage, *, made: datetime) -> Dataset | None:
    """Return the clusters and calcifications of an image as binary segments; None if there are none.

    Parameters
    ----------
    result
        The image.
    made
        Time of making, which does not change the UID.
    """
    from highdicom.seg import Segmentation

    regions = _regions(result)
    if not regions:
        return None
    with quiet():
        source = _source(result.header)
        inside = np.stack([_inside(result, region.outlines) for region in regions], axis=-1)
        made_of = Segmentation(
            source_images=[source],
            pixel_array=inside[None],
            segmentation_type="BINARY",
            segment_descriptions=_segments(result, regions),
            content_label="MICROCALC",
            content_description=RESEARCH_ONLY,
            omit_empty_frames=False,
            series_instance_uid=series_uid("seg", result.header.exam),
            series_number=SERIES["seg"][0],
            sop_instance_uid=report_uid("seg", [result]),
            instance_number=1,  # replaced by `_settled`
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=__version__,
            device_serial_number="0",
        )
        return _settled(made_of, result, made)


class _Region(NamedTuple):
    """What one segment holds: outlines in mm."""

    name: str
    kind: c.Concept
    outlines: Sequence[Points]


def _regions(result: ReportedImage) -> list[_Region]:
    clusters = result.named_clusters()
    regions = [_Region(name, c.CLUSTER, [cluster.outline]) for name, cluster in clusters]
    calcifications = [(f"{name} calcifications", result.outlines(cluster.members)) for name, cluster in clusters]
    calcifications.append(("single calcifications", result.outlines(result.singles())))
    return regions + [_Region(name, c.INDIVIDUAL, outlines) for name, outlines in calcifications if outlines]


def _source(header: ImageHeader) -> Dataset:
    """Return the source image for the library, with the attributes of our own header only.

    From the full header of an image the library would copy every attribute of patient and study, valid or not, the
    acquiring equipment, and the pixel spacing as if it were measured in the breast.
    """
    source = start_instance("seg", header, header.uid)
    source.SOPClassUID, source.SeriesInstanceUID = header.sop_class, header.series
    source.Modality = "MG"
    source.Rows, source.Columns, source.SamplesPerPixel = header.rows, header.columns, 1
    return source


def _settled(dataset: Dataset, result: ReportedImage, made: datetime) -> Dataset:
    """Return the library's instance with the common part of our reports, without dates and random UIDs."""
    begun = start_instance("seg", result.header, dataset.SOPInstanceUID)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"):
        if keyword in dataset:
            del dataset[keyword]
    dataset.update(begun)
    dataset.ContentDate, dataset.ContentTime = made_at(result.header, made)
    dataset.PatientOrientation = list(result.header.orientation or ())
    organization = hashed_uid("dimensions", dataset.SOPInstanceUID)
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, []):
            item.DimensionOrganizationUID = organization
    dataset.file_meta = begun.file_meta
    return dataset


def _segments(result: ReportedImage, regions: Sequence[_Region]) -> list[SegmentDescription]:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

    algorithm, label = result.algorithm, result.header.label
    described = AlgorithmIdentificationSequence(algorithm.name, coded_concept(_LEARNED), algorithm.version)
    segments = [
        SegmentDescription(
            segment_number=n,
            segment_label=f"{label} {region.name}",
            segmented_property_category=coded_concept(_ALTERED),
            segmented_property_type=coded_concept(region.kind),
            algorithm_type="AUTOMATIC",
            algorithm_identification=described,
            tracking_uid=hashed_uid("segment", report_uid("seg", [result]), str(n)),
            tracking_id=f"{label} {region.name}",
        )
        for n, region in enumerate(regions, start=1)
    ]
    if result.header.burned_in:
        for segment in segments:
            segment.SegmentDescription = BURNED_IN
    return segments


def _inside(result: ReportedImage, outlines_mm: Sequence[Points]) -> NDArray[np.bool_]:
    """Return which pixel centres lie inside one of the outlines, shape (rows, columns)."""
    inside = np.zeros((result.header.rows, result.header.columns), dtype=bool)
    for outline_mm in outlines_mm:
        _fill(inside, result, outline_mm)
    return inside


def _fill(inside: NDArray[np.bool_], result: ReportedImage, outline_mm: Points) -> None:
    """Add the pixel centres inside an outline, by the even-odd rule."""
    corners = np.array(result.columns_rows(outline_mm))[:, ::-1] - 0.5
    top, left = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    bottom, right = np.ceil(corners.max(axis=0)).astype(int) + 1
    whole = inside[top:bottom, left:right]
    box = np.zeros_like(whole)
    row, column = (np.arange(n) + start for n, start in zip(box.shape, (top, left), strict=True))
    for (row_a, column_a), (row_b, column_b) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if row_a == row_b:
            continue
        spans = (row_a > row) != (row_b > row)
        at = column_a + (row - row_a) / (row_b - row_a) * (column_b - column_a)
        box ^= spans[:, None] & (column[None, :] < at[:, None])
    whole |= box
