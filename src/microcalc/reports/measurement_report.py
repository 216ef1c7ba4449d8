"""Write the findings of an exam as a measurement report (TID 1500), for viewers that do not support CAD reports.

The template has no operating points, so the report includes the clusters of the default one, those set apart (their
tracking identifiers say so), and evident single calcifications. Each is a planar region of interest: a cluster with its
certainty, type, number of calcifications and distribution; after all clusters of an image its calcifications, each with
its certainty, type, diameter and area. Their tracking identifiers name the cluster. A calcification without an outline
is a point. An image without any of these is a measurement group that says so. The text of the CAD report's Impression
Description is repeated in comments. The length and area of all vascular calcifications are rough, and not reported.

References
----------
DICOM PS3.16 TID 1500, 1410, 1501; PS3.3 A.35.3 (Comprehensive SR IOD).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from microcalc.dicom.tags import quiet
from microcalc.dicom.write import hashed_uid
from microcalc.reports import concepts as c
from microcalc.reports.content_items import add, coded_concept, take_content, text
from microcalc.reports.header import MANUFACTURER, check_one_exam, report_uid, start_report
from microcalc.reports.reported_image import Algorithm, ReportedImage, impression_sentences

if TYPE_CHECKING:
    import highdicom
    from highdicom.sr import (
        AlgorithmIdentification,
        MeasurementsAndQualitativeEvaluations,
        PlanarROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.dataset import Dataset

    from microcalc.domain import Cluster
    from microcalc.geometry import Points


def measurement_report(results: Sequence[ReportedImage], *, made: datetime) -> Dataset:
    """Return the report of one exam; parameters and errors are those of ``cad_report.cad_report``."""
    from highdicom.sr import MeasurementReport

    check_one_exam(results)
    with quiet():
        uid = report_uid("tid1500", results)
        groups = [group for result in results for group in _groups(result, uid)]
        content = MeasurementReport(
            observation_context=_observer(),
            procedure_reported=coded_concept(c.MAMMOGRAPHY),
            imaging_measurements=groups,
        )
        root = start_report("tid1500", [r.header for r in results], uid, made)
        take_content(root, content[0])
        sentences = impression_sentences(results, with_optional=False)
        add(root, "CONTAINS", *(text(c.COMMENT, sentence) for sentence in sentences))
    return root


def _observer() -> highdicom.sr.ObservationContext:
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext

    device = DeviceObserverIdentifyingAttributes(
        uid=hashed_uid("device"), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=MANUFACTURER
    )
    kind = coded_concept(c.Concept("121007", "DCM", "Device"))
    return ObservationContext(observer_device_context=ObserverContext(kind, device))


def _groups(
    result: ReportedImage, uid: str
) -> list[PlanarROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations]:
    if not result.is_marked:
        return [_without_clusters(result, uid)]
    clusters = result.named_clusters()
    calcifications = [
        (f"{name} calcification {k}", int(index))
        for name, cluster in clusters
        for k, index in enumerate(cluster.members, start=1)
    ]
    calcifications += [(f"single calcification {n}", index) for n, index in enumerate(result.singles(), start=1)]
    return [
        *(_cluster_region(result, cluster, name, uid) for name, cluster in clusters),
        *(_calcification_region(result, index, name, uid) for name, index in calcifications),
    ]


def _algorithm(algorithm: Algorithm) -> AlgorithmIdentification:
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification(algorithm.name, algorithm.version, algorithm.parameters_and_model())


def _cluster_region(
    result: ReportedImage, cluster: Cluster, name: str, uid: str
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    measurements = [
        (c.CERTAINTY, 100 * cluster.likelihood, c.PERCENT),
        (c.CALCIFICATION_COUNT, float(len(cluster.members)), c.NO_UNITS),
    ]
    evaluations = [(c.CALCIFICATION_TYPE, c.TYPES[cluster.kind or "microcalcification"])]
    if cluster.distribution is not None:
        evaluations.append((c.DISTRIBUTION, c.DISTRIBUTIONS[cluster.distribution]))
    return _region(result, c.CLUSTER, cluster.outline, name, uid, measurements, evaluations)


def _calcification_region(
    result: ReportedImage, index: int, name: str, uid: str
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    shape, kind = result.shape(index), result.kind(index)
    measurements = [(c.CERTAINTY, 100 * float(result.candidates.likelihood[index]), c.PERCENT)]
    if shape is not None:
        measurements.append((c.DIAMETER, round(shape.diameter_mm, 3), c.MILLIMETER))
        measurements.append((c.AREA, round(shape.area_mm2, 4), c.SQUARE_MILLIMETER))
    places = result.candidates.centres[index][None] if shape is None else shape.outline
    evaluations = [] if kind is None else [(c.CALCIFICATION_TYPE, c.TYPES[kind])]
    return _region(result, c.INDIVIDUAL, places, name, uid, measurements, evaluations)


def _region(
    result: ReportedImage,
    kind: c.Concept,
    places_mm: Points,
    name: str,
    uid: str,
    measurements: Sequence[tuple[c.Concept, float, c.Concept]],
    evaluations: Sequence[tuple[c.Concept, c.Concept]] = (),
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return a region (TID 1410), a closed outline or a point.

    Parameters
    ----------
    name
        Name of the region within its image.
    measurements, evaluations
        (name, value, unit) and (name, value).
    """
    from highdicom.sr import (
        ImageRegion,
        Measurement,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForRegion,
        TrackingIdentifier,
    )

    header = result.header
    corners = np.array(result.columns_rows(places_mm))
    image = SourceImageForRegion(header.sop_class, header.uid)
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(hashed_uid(name, uid, header.uid), f"{header.label} {name}"),
        referenced_region=ImageRegion("POINT" if len(corners) == 1 else "POLYLINE", corners, image),
        finding_type=coded_concept(kind),
        algorithm_id=_algorithm(result.algorithm),
        measurements=[Measurement(coded_concept(n), value, coded_concept(unit)) for n, value, unit in measurements],
        qualitative_evaluations=[
            QualitativeEvaluation(coded_concept(n), coded_concept(value)) for n, value in evaluations
        ]
        or None,
    )


def _without_clusters(result: ReportedImage, uid: str) -> MeasurementsAndQualitativeEvaluations:
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    header = result.header
    outcome = c.ALL_SUCCEEDED_WITHOUT if result.failure is None else c.NONE_SUCCEEDED
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(hashed_uid("image", uid, header.uid), header.label),
        algorithm_id=_algorithm(result.algorithm),
        qualitative_evaluations=[QualitativeEvaluation(coded_concept(c.SUMMARY), coded_concept(outcome))],
        source_images=[SourceImageForMeasurementGroup(header.sop_class, header.uid)],
    )
