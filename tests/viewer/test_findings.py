"""The findings of a folder in one list."""

from __future__ import annotations

import json
from pathlib import Path

from tests.viewer.tables import SPECKS, client_of, key_of, viewer_of, write_detections, write_images


def test_the_findings_of_all_images_are_listed_with_their_verdicts(tmp_path: Path) -> None:
    table = write_images(tmp_path / "t")
    write_detections(tmp_path / "d" / "a.json", "a", [(*SPECKS[0], 0.95), (*SPECKS[1], 0.9), (1, 1, 0.3)])
    write_detections(tmp_path / "d" / "b.json", "b", [(100, 30, 0.9), (110, 40, 0.9), (1, 1, 0.1)])
    client = client_of(viewer_of(table, tmp_path / "d"))
    found = client.get("api/detectors/d0/findings").json()
    assert found["problems"] == []
    findings = {entry["image"]: entry["findings"] for entry in found["images"]}
    assert [f["verdict"] for f in findings[key_of(client, "a")]] == ["hit"]
    (false,) = findings[key_of(client, "b")]
    assert (false["key"], false["members"], false["verdict"]) == ("c0", 2, "false")
    assert false["box"] == [100, 30, 110, 40]


def test_single_calcifications_and_findings_set_apart_are_listed_as_such(tmp_path: Path) -> None:
    table = write_images(tmp_path / "t", annotated=False)
    file = write_detections(tmp_path / "d" / "a.json", "a", [(10, 10, 0.95), (20, 20, 0.9), (1, 1, 0.98)])
    document = json.loads(file.read_text())
    document["clusters"][0] |= {"kind": "vascular", "apart": True}
    document["clusters"].append({"likelihood": 0.5, "finding": False, "members": [2]})
    file.write_text(json.dumps(document | {"single_calcifications": [2]}))
    client = client_of(viewer_of(table, tmp_path / "d"))
    (of_a,) = client.get("api/detectors/d0/findings").json()["images"]
    listed = [(f["key"], f["apart"], f["single"], f["within"]) for f in of_a["findings"]]
    assert listed == [("c0", True, False, None), ("c1", False, False, None), ("m2", False, True, 0.5)]
    (marks, *_) = client.get(f"api/images/{key_of(client, 'a')}/marks").json()["detectors"]
    assert (marks["singles"], marks["clusters"][0]["apart"]) == ([2], True)


def test_of_a_detector_without_clusters_the_highest_marks_are_listed(tmp_path: Path) -> None:
    table = write_images(tmp_path / "t", annotated=False)
    lines = [f"a,{n},{n},{n / 100}" for n in range(1, 100)]
    (tmp_path / "theirs.csv").write_text("\n".join(["image,row,column,likelihood", *lines]) + "\n")
    client = client_of(viewer_of(table, tmp_path / "theirs.csv"))
    (of_a,) = client.get("api/detectors/d0/findings").json()["images"]
    assert [f["key"] for f in of_a["findings"]] == [f"m{n}" for n in range(98, 48, -1)]
    assert {(f["members"], f["verdict"]) for f in of_a["findings"]} == {(0, "")}


def test_detections_that_cannot_be_read_are_named_and_the_others_listed(tmp_path: Path) -> None:
    table = write_images(tmp_path / "t")
    for name in "ab":
        write_detections(tmp_path / "d" / f"{name}.json", name, [(10, 10, 0.9), (20, 20, 0.9), (1, 1, 0.1)])
    viewer = viewer_of(table, tmp_path / "d")
    (tmp_path / "d" / "b.json").write_text("{}")
    found = client_of(viewer).get("api/detectors/d0/findings").json()
    assert len(found["images"]) == len(found["problems"]) == 1
    assert client_of(viewer).get("api/detectors/none/findings").status_code == 404
