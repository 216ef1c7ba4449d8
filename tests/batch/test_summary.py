"""What a spreadsheet shows of a result."""

from __future__ import annotations

from microcalc.batch.summary import SummaryRow
from microcalc.detection.entries import CandidateEntry, ClusterEntry, ImageEntry, VascularEntry
from microcalc.detection.result import SCHEMA, Result


def _candidate(diameter_mm: float | None) -> CandidateEntry:
    return CandidateEntry(row=1, column=2, likelihood=0.9, outline=(), diameter_mm=diameter_mm)


def _result(*, finding: bool, singles: tuple[int, ...] = ()) -> Result:
    return Result(
        schema=SCHEMA,
        image=ImageEntry(file="a.dcm"),
        candidates=tuple(_candidate(diameter) for diameter in (0.3, 0.5, None, 2.5)),
        clusters=(
            ClusterEntry(likelihood=0.7, finding=finding, members=(0, 1, 2)),
            ClusterEntry(likelihood=0.4, finding=False, members=(3,)),
        ),
        single_calcifications=singles,
    )


def test_the_largest_calcification_is_one_of_a_finding_or_a_single_one() -> None:
    assert SummaryRow.of("a", "a.json", _result(finding=True)).largest_mm == 0.5
    assert SummaryRow.of("a", "a.json", _result(finding=True, singles=(3,))).largest_mm == 2.5
    assert SummaryRow.of("a", "a.json", _result(finding=False)).largest_mm is None


def test_the_highest_likelihood_is_that_of_the_first_cluster_even_below_the_threshold() -> None:
    row = SummaryRow.of("a", "a.json", _result(finding=False, singles=(1, 3)))
    assert (row.highest_likelihood, row.findings, row.single_calcifications) == (0.7, 0, 2)
    empty = _result(finding=False).model_copy(update={"clusters": ()})
    assert SummaryRow.of("a", "a.json", empty).highest_likelihood is None


def test_findings_set_apart_are_counted_among_the_findings_and_by_themselves() -> None:
    result = _result(finding=True)
    cluster = result.clusters[0].model_copy(update={"kind": "vascular", "apart": True})
    vascular = VascularEntry(length_mm=12.5, area_mm2=1.25)
    row = SummaryRow.of("a", "a.json", result.model_copy(update={"clusters": (cluster,), "vascular_calcium": vascular}))
    assert (row.findings, row.findings_apart) == (1, 1)
    assert (row.vascular_length_mm, row.vascular_area_mm2) == (12.5, 1.25)
    assert SummaryRow.of("a", "a.json", result).vascular_length_mm is None
