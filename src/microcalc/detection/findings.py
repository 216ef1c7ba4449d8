"""Findings: the clusters that are shown to the reader."""

from __future__ import annotations

from collections.abc import Iterable

from microcalc.domain import Cluster, Finding, OperatingPoint


def findings(clusters: Iterable[Cluster], operating_point: OperatingPoint, *, uid: str) -> list[Finding]:
    """The clusters whose likelihood reaches the operating point's threshold.

    Parameters
    ----------
    clusters
        Of one mammogram.
    operating_point
        The threshold, and what it gave where it was measured.
    uid
        Of the mammogram.
    """
    return [Finding(c, uid, operating_point) for c in clusters if c.likelihood >= operating_point.threshold]
