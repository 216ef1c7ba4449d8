"""The findings of a detector on all images, for one list from the highest likelihood down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from microcalc.datasets.table import Table
from microcalc.errors import MicrocalcError
from microcalc.viewer.catalogue import DetectionFiles
from microcalc.viewer.marks import marks_on

_MOST_MARKS: Final = 50  # of an image, of a detector that does not group its marks (ours)


def findings_of(detector: DetectionFiles, table: Table, keys: Mapping[str, str], *, with_truth: bool) -> dict[str, Any]:
    """Return the clusters and single calcifications of all images; without clusters the marks rated highest of each.

    Parameters
    ----------
    keys
        Name of each image → key.
    with_truth
        Whether findings are matched to the annotations of the table.

    Returns
    -------
    dict
        ``images``: for each its key, the model's SHA-256, the stated threshold, and its findings with key, likelihood,
        number of members (0: a single mark), kind, whether it is set apart or a single calcification, the likelihood of
        the cluster that this is in (None: in none), verdict and box (top, left, bottom, right). ``problems``: why the
        detections on an image cannot be read.
    """
    images, problems = [], []
    for row in table.images:
        if row.image not in detector.files:
            continue
        try:
            marks = marks_on(detector, row, table.rows_of(row) if with_truth else None)
        except MicrocalcError as error:
            problems.append(str(error))
            continue
        model = marks["model"] or {"sha256": ""}
        images.append(
            {
                "image": keys[row.image],
                "model": model["sha256"],
                "threshold": marks["threshold"],
                "findings": _of(marks),
            }
        )
    return {"images": images, "problems": problems}


def _of(marks: Mapping[str, Any]) -> list[dict[str, Any]]:
    candidates, matches = marks["candidates"], marks.get("matches")
    highest = sorted(range(len(candidates)), key=lambda n: candidates[n]["likelihood"], reverse=True)[:_MOST_MARKS]
    clusters = [
        {
            "key": f"c{n}", "likelihood": cluster["likelihood"], "members": len(cluster["members"]),
            "kind": cluster.get("kind"), "apart": bool(cluster.get("apart")), "single": False, "within": None,
            "verdict": _verdict(matches and matches["clusters"], n),
            "box": _box([candidates[member] for member in cluster["members"]]),
        }
        for n, cluster in enumerate(marks["clusters"])
    ]  # fmt: skip
    alone = [
        {
            "key": f"m{n}", "likelihood": candidates[n]["likelihood"], "members": 0, "kind": candidates[n].get("kind"),
            "apart": False, "single": n in marks["singles"],
            "within": max((c["likelihood"] for c in marks["clusters"] if n in c["members"]), default=None),
            "verdict": _verdict(matches and matches["marks"], n), "box": _box([candidates[n]]),
        }
        for n in (marks["singles"] if clusters else highest)
    ]  # fmt: skip
    return clusters + alone


def _box(members: list[Mapping[str, Any]]) -> tuple[float, float, float, float]:
    places = np.array([(member["row"], member["column"]) for member in members])
    (top, left), (bottom, right) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    return top, left, bottom, right


def _verdict(matches: Mapping[str, list[int]] | None, index: int) -> str:
    """Return hit, false or ignored; empty where nothing was matched."""
    if matches is None:
        return ""
    if index in matches["lesion_mark"]:
        return "hit"
    return "false" if index in matches["nl_mark"] else "ignored"
