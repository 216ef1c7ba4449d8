"""Write the findings of an exam as a measurement report (TID 1500), for viewers that do not support CAD reports.

The template has no operating points, so the report includes the clusters of the default one. Each is a planar
region of interest with its certainty and its number of microcalcifications. Individual microcalcifications are
only in the CAD report, as hundreds of regions would hide the clusters. An image without findings is a measurement
group that says so. The text of the CAD report's Impression Description is repeated in comments.

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
from microcalc.reports.content_items import add, coded_concept, text
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

_MAMMOGRAPHY = c.Concept("71651007", "SCT", "Mammography")


def measurement_report(results: Sequence[ReportedImage], *, made: datetime) -> Dataset:
    """Return the report of one exam; parameters and errors are those of ``cad_report.cad_report``."""
    from highdicom.sr import MeasurementReport

    check_one_exam(results)
    with quiet():
        uid = report_uid("tid1500", results)
        groups = [group for result in results for group in _groups(result, uid)]
        content = MeasurementReport(
            observation_context=_observer(),
            procedure_reported=coded_concept(_MAMMOGRAPHY),
            imaging_measurements=groups,
        )
        root = start_report("tid1500", results, uid, made)
        for element in content[0]:
            root.add(element)
        items = list(root.ContentSequence)
        del root.ContentSequence  # the library's sequence type accepts only its own items
        root.ContentSequence = items
        add(root, "CONTAINS", *(text(c.COMMENT, sentence) for sentence in impression_sentences(results)))
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
    findings = result.findings()
    if not findings:
        return [_without_clusters(result, uid)]
    return [_region_of(result, cluster, n, uid) for n, cluster in enumerate(findings, start=1)]


def _algorithm(algorithm: Algorithm) -> AlgorithmIdentification:
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification(algorithm.name, algorithm.version, algorithm.parameters_and_model())


def _region_of(
    result: ReportedImage, cluster: Cluster, number: int, uid: str
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    from highdicom.sr import (
        ImageRegion,
        Measurement,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        SourceImageForRegion,
        TrackingIdentifier,
    )

    header = result.header
    region = ImageRegion(
        "POLYLINE",
        np.array(result.columns_rows(cluster.outline)),
        SourceImageForRegion(header.sop_class, header.uid),
    )
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            hashed_uid("cluster", uid, header.uid, str(number)), f"{header.label} cluster {number}"
        ),
        referenced_region=region,
        finding_type=coded_concept(c.CLUSTER),
        algorithm_id=_algorithm(result.algorithm),
        measurements=[
            Measurement(coded_concept(c.CERTAINTY), 100 * cluster.likelihood, coded_concept(c.PERCENT)),
            Measurement(coded_concept(c.CALCIFICATION_COUNT), len(cluster.members), coded_concept(c.NO_UNITS)),
        ],
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
