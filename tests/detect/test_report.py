from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from microcalc.detect.findings import findings
from microcalc.detect.model import log_model
from microcalc.detect.report import Detections, Seconds, detections, read_detections, write_detections
from microcalc.domain import Candidates, Cluster, Mammogram
from microcalc.errors import InputError


def _document(uid: str = "1.2.840.1") -> Detections:
    mammogram = Mammogram(np.zeros((30, 40), dtype=np.float32), (0.1, 0.2), "raw", uid, "L", "CC", "a system")
    candidates = Candidates(np.array([[1.0, 2.0], [1.5, 2.5], [2.0, 3.0]]), np.array([0.9, 0.8, 0.123456789]))
    outline = np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 3.0], [1.0, 2.0]])
    clusters = [Cluster(np.array([0, 1, 2]), outline, 0.85), Cluster(np.array([0, 1, 2]), outline, 0.5)]
    model = log_model()
    return detections(
        mammogram,
        candidates,
        clusters,
        findings(clusters, model.operating_point, uid=uid),
        file="image.dcm",
        model=model,
        breast_area_cm2=12.3456,
        seconds=Seconds(read=0.1, normalise=0.2, score=0.3, group=0.4, total=1.0),
    )


def test_a_document_written_and_read_is_the_same(tmp_path: Path) -> None:
    write_detections(_document(), tmp_path / "image.json")
    assert read_detections(tmp_path / "image.json") == _document()


def test_the_document_has_the_entries_of_its_schema(tmp_path: Path) -> None:
    write_detections(_document(), tmp_path / "image.json")
    content = json.loads((tmp_path / "image.json").read_text())
    assert list(content) == [
        "schema", "image", "model", "breast_area_cm2", "operating_point", "candidates", "clusters", "seconds",
    ]  # fmt: skip
    assert content["schema"] == "microcalc/detections/1"
    assert content["image"] == {
        "file": "image.dcm", "sop_instance_uid": "1.2.840.1", "rows": 30, "columns": 40, "pixel_spacing_mm": [0.1, 0.2],
        "system": "a system", "intent": "raw", "view": "CC", "laterality": "L",
    }  # fmt: skip
    assert set(content["model"]) == {"name", "version", "sha256"}
    assert set(content["operating_point"]) == {"threshold", "llf", "nlf"}
    assert set(content["clusters"][0]) == {"likelihood", "finding", "members", "outline"}
    assert set(content["seconds"]) == {"read", "normalise", "score", "group", "total"}


def test_positions_are_pixels_of_the_original_image() -> None:
    document = _document()
    assert [(c.row, c.column) for c in document.candidates] == [(10, 10), (15, 12.5), (20, 15)]
    assert document.clusters[0].outline == ((10, 10), (10, 15), (20, 15), (10, 10))


def test_a_cluster_is_a_finding_where_it_reaches_the_threshold() -> None:
    assert [cluster.finding for cluster in _document().clusters] == [True, False]


def test_a_picture_has_no_sop_instance_uid() -> None:
    assert _document(uid="a3" * 32).image.sop_instance_uid is None


def test_writing_leaves_nothing_but_the_document(tmp_path: Path) -> None:
    write_detections(_document(), tmp_path / "image.json")
    write_detections(_document(), tmp_path / "image.json")
    assert [path.name for path in tmp_path.iterdir()] == ["image.json"]


def test_a_document_that_cannot_be_renamed_leaves_no_part_behind(tmp_path: Path) -> None:
    (tmp_path / "image.json").mkdir()
    with pytest.raises(OSError):  # noqa: PT011
        write_detections(_document(), tmp_path / "image.json")
    assert [path.name for path in tmp_path.iterdir()] == ["image.json"]


def test_another_document_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"^other\.json: schema: [^\n]*expected a detections document$"):
        read_detections(tmp_path / "other.json")
    with pytest.raises(InputError, match=r"^none\.json: No such file"):
        read_detections(tmp_path / "none.json")
