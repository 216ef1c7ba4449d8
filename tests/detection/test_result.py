from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import microcalc
from microcalc.detection.entries import Seconds, VascularEntry
from microcalc.detection.make_result import make_result
from microcalc.detection.result import SCHEMA, Result, read_result, write_result
from microcalc.detection.stages import Detected
from microcalc.domain import BenignFindings, CalcificationKind, Candidates, Cluster, Mammogram, OperatingPoint, Shape
from microcalc.errors import InputError, OutputError
from microcalc.geometry import outside
from microcalc.models.model import laplacian_model


def _document(
    uid: str = "1.2.840.1",
    centres: Sequence[tuple[float, float]] = ((1.0, 2.0), (1.5, 2.5), (2.0, 3.0)),
    *,
    kinds: tuple[CalcificationKind | None, ...] = ("vascular", None),
    benign: BenignFindings = "apart",
) -> Result:
    mammogram = Mammogram(
        np.zeros((30, 40), dtype=np.float32), (0.1, 0.2), "raw", uid, "L", "CC", "a system", file="image.dcm"
    )
    candidates = Candidates(np.array(centres), np.array([0.9, 0.8, 0.123456789]))
    outline = np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 3.0], [1.0, 2.0]])
    clusters = [Cluster(np.array([0, 1, 2]), outline, 0.85), Cluster(np.array([0, 1, 2]), outline, 0.5)]
    point = OperatingPoint(threshold=0.8, llf=0.9, nlf=0.2)
    strict, loose = OperatingPoint(0.7, llf=0.5, nlf=0.1), OperatingPoint(0.1, llf=0.9, nlf=10.0)
    model = replace(laplacian_model(), operating_points=(point,), mark_operating_points=(strict, loose))
    seconds = Seconds(read=0.1, normalise=0.2, score=0.3, group=0.4, total=1.0)
    speck = Shape(np.array([[0.9, 1.9], [0.9, 2.1], [1.1, 2.0], [0.9, 1.9]]), 0.02, elongation=1.1, contrast_to_noise=5)
    detected = Detected(
        candidates,
        shapes=(speck, None),
        kinds=kinds,
        clusters=clusters,
        limit_reached=False,
        candidate_limit_reached=False,
    )
    return make_result(mammogram, detected, model, breast_area_cm2=12.3456, benign=benign, seconds=seconds)


def test_a_document_written_and_read_is_the_same(tmp_path: Path) -> None:
    write_result(_document(), tmp_path / "image.json")
    assert read_result(tmp_path / "image.json") == _document()


def test_the_document_has_the_entries_of_its_schema(tmp_path: Path) -> None:
    write_result(_document(), tmp_path / "image.json")
    content = json.loads((tmp_path / "image.json").read_text())
    assert list(content) == [
        "schema", "image", "model", "breast_area_cm2", "operating_point", "mark_operating_points", "candidates",
        "clusters", "vascular_calcium", "single_calcifications", "candidate_limit_reached", "survivor_limit_reached",
        "seconds",
    ]  # fmt: skip
    assert content["schema"] == "microcalc/detections/1"
    assert content["image"] == {
        "file": "image.dcm", "sop_instance_uid": "1.2.840.1", "sha256": None,
        "rows": 30, "columns": 40, "pixel_spacing_mm": [0.1, 0.2],
        "system": "a system", "intent": "raw", "view": "CC", "laterality": "L", "burned_in": None,
    }  # fmt: skip
    assert set(content["model"]) == {"name", "version", "sha256"}
    assert set(content["operating_point"]) == {"threshold", "llf", "nlf"}
    assert set(content["clusters"][0]) == {
        "likelihood",
        "finding",
        "members",
        "outline",
        "distribution",
        "kind",
        "apart",
    }
    assert set(content["seconds"]) == {"read", "normalise", "score", "group", "total"}


def test_positions_are_pixels_of_the_original_image() -> None:
    document = _document()
    assert [(c.row, c.column) for c in document.candidates] == [(10, 10), (15, 12.5), (20, 15)]
    assert document.clusters[0].outline == ((10, 10), (10, 15), (20, 15), (10, 10))


def test_a_cluster_is_a_finding_where_it_reaches_the_threshold() -> None:
    assert [cluster.finding for cluster in _document().clusters] == [True, False]


def test_a_finding_of_vascular_calcifications_is_set_apart_and_stays_a_finding() -> None:
    result = _document(kinds=("vascular", "vascular"))
    (finding,) = result.findings
    assert (finding.kind, finding.apart) == ("vascular", True)
    assert [cluster.apart for cluster in result.clusters] == [True, False]  # the second is no finding
    assert [c.kind for c in finding.calcifications] == ["vascular", "vascular", None]


def test_a_benign_finding_is_not_set_apart_if_it_is_to_be_shown_or_if_most_members_are_not_benign() -> None:
    (shown,) = _document(kinds=("vascular", "vascular"), benign="show").findings
    (mixed,) = _document(kinds=("vascular", None)).findings
    assert (shown.kind, shown.apart) == ("vascular", False)
    assert (mixed.kind, mixed.apart) == ("microcalcification", False)


def test_vascular_calcium_has_a_length_and_an_area() -> None:
    assert _document().vascular_calcium == VascularEntry(length_mm=0.2, area_mm2=0.02)


def test_a_finding_is_typed_down_to_its_marks() -> None:
    result = _document()
    (finding,) = result.findings
    assert finding.likelihood == 0.85
    assert finding.outline == result.clusters[0].outline
    assert finding.outline_mm == ((1.0, 2.0), (1.0, 3.0), (2.0, 3.0), (1.0, 2.0))
    assert [(c.row, c.column, c.likelihood) for c in finding.calcifications[:2]] == [(10, 10, 0.9), (15, 12.5, 0.8)]
    assert finding.calcifications[1].position_mm == (1.5, 2.5)
    assert finding.distribution == "grouped"
    first = finding.calcifications[0]
    assert list(first.outline or ()) == [(9, 9.5), (9, 10.5), (11, 10), (9, 9.5)]
    assert first.diameter_mm == pytest.approx(0.16, abs=0.001)  # of the disc of 0.02 mm²
    # The second was measured and has no outline; the third was not measured.
    assert [c.outline for c in finding.calcifications[1:]] == [(), None]
    assert [c.diameter_mm is None for c in finding.calcifications] == [False, True, True]


def test_what_is_not_known_of_a_candidate_is_missing_and_what_was_measured_is_kept() -> None:
    content = _document().to_dict()["candidates"]
    position = ["row", "column", "likelihood"]
    measured = ["outline", "diameter_mm", "area_mm2", "elongation", "contrast_to_noise", "kind"]
    assert [list(c) for c in content] == [[*position, *measured], [*position, "outline"], position]
    assert Result.from_json(_document().to_json()) == _document()


def test_an_evident_calcification_outside_findings_is_a_single_one() -> None:
    assert _document().singles == ()  # all are members of a finding
    content = _document().to_dict()
    content["clusters"][0]["finding"] = False
    content["single_calcifications"] = [0, 1]
    assert [c.likelihood for c in Result.from_json(json.dumps(content)).singles] == [0.9, 0.8]
    content["single_calcifications"] = [3]
    with pytest.raises(InputError, match="single calcification 3, expected indices of the 3 candidates"):
        Result.from_json(json.dumps(content))


def test_the_json_of_a_result_has_one_candidate_on_a_line(tmp_path: Path) -> None:
    write_result(_document(), tmp_path / "image.json")
    text = (tmp_path / "image.json").read_text()
    assert text == _document().to_json()
    assert '\n  {"row": 15.0, "column": 12.5, "likelihood": 0.8, "outline": []},\n' in text


def test_a_threshold_that_is_no_number_is_refused() -> None:
    text = _document().to_json().replace('"threshold": 0.8', '"threshold": NaN')
    with pytest.raises(InputError, match=r"operating_point\.threshold"):
        Result.from_json(text)


def test_a_table_has_one_line_for_each_candidate() -> None:
    pytest.importorskip("pandas")
    result = _document()
    result = result.model_copy(update={"clusters": (result.clusters[0].model_copy(update={"members": (0, 2)}),)})
    table = result.to_dataframe()
    assert table["row_mm"].tolist() == [1.0, 1.5, 2.0]
    assert table["column"].tolist() == [10, 12.5, 15]
    assert table["cluster"].isna().tolist() == [False, True, False]
    assert table["finding"].tolist() == [True, False, True]
    for name in ("diameter_mm", "area_mm2", "elongation", "contrast_to_noise"):
        assert table[name].isna().tolist() == [False, True, True]
        assert table[name][0] == getattr(result.candidates[0], name)
    assert table["single"].tolist() == [False, False, False]
    assert (table["kind"][0], table["kind"].isna().tolist()) == ("vascular", [False, True, True])
    apart = result.clusters[0].model_copy(update={"apart": True})
    assert result.model_copy(update={"clusters": (apart,)}).to_dataframe()["apart"].tolist() == [True, False, True]
    outside = result.model_copy(update={"clusters": (), "single_calcifications": (1,)})
    assert outside.to_dataframe()["single"].tolist() == [False, True, False]


def test_a_picture_has_no_sop_instance_uid() -> None:
    assert _document(uid="a3" * 32).image.sop_instance_uid is None


def test_a_picture_is_known_by_the_sha256_of_its_file() -> None:
    assert _document(uid="a3" * 32).image.sha256 == "a3" * 32
    assert _document().image.sha256 is None


def test_writing_leaves_nothing_but_the_document(tmp_path: Path) -> None:
    write_result(_document(), tmp_path / "image.json")
    write_result(_document(), tmp_path / "image.json")
    assert [path.name for path in tmp_path.iterdir()] == ["image.json"]


def test_a_document_that_cannot_be_renamed_leaves_no_part_behind(tmp_path: Path) -> None:
    (tmp_path / "image.json").mkdir()
    with pytest.raises(OutputError, match=r"image\.json cannot be written"):
        write_result(_document(), tmp_path / "image.json")
    assert [path.name for path in tmp_path.iterdir()] == ["image.json"]


def test_another_document_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match=r"^other\.json: schema: [^\n]*expected a detections document$"):
        read_result(tmp_path / "other.json")
    with pytest.raises(InputError, match=r"^none\.json: No such file"):
        read_result(tmp_path / "none.json")


_TWO = [{"row": 1, "column": 1, "likelihood": 1}, {"row": 2, "column": 2, "likelihood": 1}]


def _cluster(*members: int) -> dict[str, object]:
    return {"members": members, "likelihood": 1, "finding": True}


def _minimal(**entries: object) -> dict[str, object]:
    return {"schema": SCHEMA, "image": {"file": "a.dcm"}, "candidates": [], "clusters": []} | entries


def test_what_a_writer_does_not_know_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(_minimal(entry_of_a_later_version=1)))
    document = read_result(tmp_path / "a.json")
    assert (document.model, document.seconds, document.image.shape) == (None, None, None)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"candidates": [{"row": 31, "column": 1, "likelihood": 1}]}, "candidate 0 is at row 31, column 1"),
        ({"candidates": [{"row": 1, "column": -2.5, "likelihood": 1}]}, "candidate 0 is at row 1, column -2.5"),
        ({"clusters": [{"members": [0], "likelihood": 1, "finding": True}]}, "cluster 0 has member 0"),
        ({"clusters": [{"members": [], "likelihood": 1, "finding": True}]}, "clusters.0.members"),
        ({"candidates": [{"row": 1, "column": 1, "likelihood": 1.5}]}, "candidates.0.likelihood"),
        ({"candidates": _TWO, "clusters": [_cluster(0, 1, 0)]}, "cluster 0 has a member twice"),
        ({"candidates": _TWO, "single_calcifications": [1, 1]}, "a single calcification is listed twice"),
        (
            {"candidates": _TWO, "clusters": [_cluster(0)], "single_calcifications": [0]},
            "a single calcification is in cluster 0, a finding",
        ),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(
    tmp_path: Path, entries: dict[str, object], message: str
) -> None:
    image = {"file": "a.dcm", "rows": 30, "columns": 40, "pixel_spacing_mm": [0.1, 0.1]}
    (tmp_path / "a.json").write_text(json.dumps(_minimal(image=image, **entries)))
    with pytest.raises(InputError, match=message):
        read_result(tmp_path / "a.json")


def test_findings_and_single_calcifications_are_those_whose_stated_likelihood_reaches_the_stated_threshold() -> None:
    likelihood = 0.812345674  # stated as 0.81234567
    candidates = Candidates(np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([0.9, likelihood]))
    outline = np.array([[1.0, 2.0], [1.0, 3.0], [2.0, 3.0], [1.0, 2.0]])
    point = OperatingPoint(0.81234567, 0.5, 0.1)
    for rating, expected in ((likelihood, True), (0.812345666, True), (0.812345664, False)):
        detected = Detected(
            replace(candidates, likelihood=np.array([0.9, rating])), (), (), [Cluster(np.array([0]), outline, rating)],
            limit_reached=False, candidate_limit_reached=False,
        )  # fmt: skip
        model = replace(laplacian_model(), operating_points=(point,), mark_operating_points=(point,))
        mammogram = Mammogram(np.zeros((30, 40), dtype=np.float32), (0.1, 0.2), "raw", "1.2")
        result = make_result(mammogram, detected, model, breast_area_cm2=1.0)
        assert result.clusters[0].finding == (result.clusters[0].likelihood >= point.threshold) == expected
        assert (1 in result.single_calcifications) == expected


def test_a_candidate_in_the_last_pixel_searched_is_written_within_the_image() -> None:
    # At 0.1 x 0.2 mm the image of 30 x 40 pixels ends at 2.95 x 7.9 mm; a raster of other spacing may end later.
    assert outside(np.array([[29.5, 39.5], [-0.5, -0.5], [29.6, 0], [0, -0.6]]), (30, 40)).tolist() == [
        False, False, True, True,
    ]  # fmt: skip
    document = _document(centres=[(2.98, 7.95), (1.5, 2.5), (2.0, 3.0)])
    assert (document.candidates[0].row, document.candidates[0].column) == (29.5, 39.5)


def test_one_module_knows_the_schema() -> None:
    """Whoever else writes or reads such a document goes through it."""
    sources = Path(microcalc.__file__).parent.rglob("*.py")
    assert [file.name for file in sources if f'"{SCHEMA}"' in file.read_text()] == ["result.py"]
