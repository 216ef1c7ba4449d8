from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.domain import Intent
from microcalc.errors import InputError, MissingExtraError
from microcalc.evaluation.bootstrap import Difference
from microcalc.evaluation.matched_images import Rules
from microcalc.evaluation.metrics import density_of
from microcalc.evaluation.reporting.report import Summary, compare_detections, evaluate_detections

SPACING = (0.1, 0.1)
CLUSTER = [(100.0, 100.0), (100.0, 120.0), (120.0, 100.0)]
VESSEL, EMPTY = (300.0, 300.0), (400.0, 400.0)

Mark = tuple[float, float, float]


def table(n_images: int = 4, *, system: str = "A", d_prime: float | None = None) -> Table:
    """Images with one cluster of three each, a vascular calcification and a place without calcium."""
    images = tuple(
        ImageRow(f"im{i}", Path(f"/data/{i}/image{i}.dcm"), "raw", SPACING, patient=f"p{i}", system=system)
        for i in range(n_images)
    )
    rows: list[AnnotationRow] = []
    for image in images:
        rows += [AnnotationRow(image.image, r, c, 0.2, cluster="c", d_prime=d_prime) for r, c in CLUSTER]
        rows.append(AnnotationRow(image.image, *VESSEL, 2.0, "vascular"))
        rows.append(AnnotationRow(image.image, *EMPTY, kind="no_calcium"))
    return Table(images, tuple(rows))


def detected(
    folder: Path, file: str, marks: Sequence[Mark], clusters: Sequence[tuple[Sequence[int], float, bool]] = ()
) -> Path:
    value: dict[str, Any] = {
        "schema": "microcalc/detections/1",
        "image": {"file": file},
        "breast_area_cm2": 100.0,
        "candidates": [{"row": r, "column": c, "likelihood": p} for r, c, p in marks],
        "clusters": [
            {"members": list(m), "likelihood": p, "finding": shown, "outline": []} for m, p, shown in clusters
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{Path(file).stem}.json"
    path.write_text(json.dumps(value))
    return path


def perfect(folder: Path, n_images: int = 4, *, extra: Sequence[Mark] = ()) -> Path:
    marks = [(r, c, 0.9) for r, c in CLUSTER]
    for i in range(n_images):
        detected(folder, f"image{i}.dcm", [*marks, *extra], [((0, 1, 2), 0.9, True)])
    return folder


def value(summary: Summary, figure: str, *, about: str = "microcalcifications", group: str = "all") -> float:
    (found,) = [a for a in summary.metrics if (a.group, a.target, a.metric) == (group, about, figure)]
    return found.estimate.value


def test_a_perfect_detector_finds_everything_without_false_marks(tmp_path: Path) -> None:
    summary = evaluate_detections([perfect(tmp_path / "d")], table(), out=tmp_path / "out", resamples=50)
    assert value(summary, "sensitivity at 0.1 false marks per image") == 1
    assert value(summary, "sensitivity at 0.4 false marks per cm²") == 1
    assert value(summary, "sensitivity at 0.05 false clusters per image", about="clusters") == 1
    assert value(summary, "sensitivity", about="findings") == 1
    assert value(summary, "false findings per image", about="findings") == 0
    assert summary.counts.microcalcifications == 12
    assert summary.counts.clusters == 4


def test_a_hand_worked_evaluation(tmp_path: Path) -> None:
    # Image 0: two of three found below a false mark. Image 1: nothing. Of two images, so:
    # nothing at 0.1 per image, 2 of 6 at 1 per image (1 false mark is 0.5 per image, 0.005 per cm²).
    marks = [(700.0, 700.0, 0.95), (100.0, 100.0, 0.9), (103.0, 120.0, 0.8), (126.0, 100.0, 0.7)]
    false = [(700.0, 700.0 + 10 * i, 0.6) for i in range(1, 4)]
    detected(tmp_path, "image0.dcm", [*marks, *false], [((0, 3, 4), 0.4, True), ((1, 2, 3), 0.3, False)])
    detected(tmp_path, "image1.dcm", [])
    summary = evaluate_detections([tmp_path], table(2), out=tmp_path / "out", resamples=50)
    assert value(summary, "sensitivity at 0.1 false marks per image") == 0
    assert value(summary, "sensitivity at 1 false marks per image") == pytest.approx(2 / 6)
    assert value(summary, "sensitivity at 0.4 false marks per cm²") == pytest.approx(2 / 6)
    assert value(summary, "sensitivity at 0.2 false clusters per image", about="clusters") == 0
    assert value(summary, "sensitivity at 0.5 false clusters per image", about="clusters") == 0.5
    assert value(summary, "sensitivity", about="findings") == 0
    assert value(summary, "false findings per image", about="findings") == 0.5
    assert summary.counts.false_marks == 5


def test_the_area_under_froc_of_a_hand_worked_case(tmp_path: Path) -> None:
    # Two images; lesions at .9, .8 and four missed, false marks at .95 and .6: the curve is
    # (0, 0) (0.5, 0) (0.5, 1/6) (0.5, 2/6) (1, 2/6), so its area up to 1 per image is half of 2/6.
    detected(tmp_path, "image0.dcm", [(700.0, 700.0, 0.95), (100.0, 100.0, 0.9), (103.0, 120.0, 0.8)])
    detected(tmp_path, "image1.dcm", [(700.0, 700.0, 0.6)])
    summary = evaluate_detections([tmp_path], table(2), out=tmp_path / "out", resamples=20)
    assert value(summary, "area under FROC, 0 to 1 false marks per image") == pytest.approx(1 / 6)


def test_microcalcifications_that_nobody_can_see_are_neither_lesions_nor_false(tmp_path: Path) -> None:
    data = table(4)
    faint = [replace(a, d_prime=1.0) if (a.row, a.column) == CLUSTER[0] else a for a in data.annotations]
    found = perfect(tmp_path / "d")
    summary = evaluate_detections(
        [found], Table(data.images, tuple(faint)), out=tmp_path / "out", resamples=9, rules=Rules(min_d_prime=3.0)
    )
    assert (summary.counts.microcalcifications, summary.counts.false_marks) == (8, 0)
    assert "microcalcifications of d' below 3" in (tmp_path / "out/summary.md").read_text()


def test_densities_and_intents_are_reported_apart(tmp_path: Path) -> None:
    data = table(4)
    kinds: list[tuple[str, Intent]] = [("a density-B", "raw"), ("density-C", "raw"), ("", "processed"), ("", "raw")]
    images = tuple(replace(i, tags=tags, intent=intent) for i, (tags, intent) in zip(data.images, kinds, strict=True))
    found = perfect(tmp_path / "d", 3)
    detected(found, "image3.dcm", [])
    summary = evaluate_detections([found], Table(images, data.annotations), out=tmp_path / "out", resamples=9)
    name = "sensitivity at 1 false marks per image"
    groups = {a.group for a in summary.metrics}
    assert {g for g in groups if g.startswith("density")} == {"density B", "density C"}
    assert value(summary, name, group="intent processed") == 1
    assert value(summary, name, group="intent raw") == pytest.approx(2 / 3)


def test_marks_on_benign_calcium_are_false_only_when_asked_for(tmp_path: Path) -> None:
    found = perfect(tmp_path / "d", extra=[(VESSEL[0] + 9, VESSEL[1], 0.95)])
    ignored = evaluate_detections([found], table(), out=tmp_path / "a", resamples=20)
    counted = evaluate_detections([found], table(), out=tmp_path / "b", resamples=20, rules=Rules(count_ignored=True))
    assert (ignored.counts.false_marks, counted.counts.false_marks) == (0, 4)
    assert value(counted, "sensitivity at 0.1 false marks per image") == 0


def test_reviewed_false_marks_are_those_on_places_without_calcium_once_each(tmp_path: Path) -> None:
    extra = [(*EMPTY, 0.95), (EMPTY[0] + 2, EMPTY[1], 0.94), (700.0, 700.0, 0.99)]
    found = perfect(tmp_path / "d", extra=extra)
    summary = evaluate_detections(
        [found], table(), out=tmp_path / "out", resamples=20, rules=Rules(false_marks="reviewed")
    )
    assert summary.counts.false_marks == 4
    assert value(summary, "sensitivity at 0.1 marks reviewed as no calcium per image") == 0
    assert value(summary, "sensitivity at 1 marks reviewed as no calcium per image") == 1


def test_images_that_nobody_reviewed_are_not_judged_by_reviewed_marks(tmp_path: Path) -> None:
    data = table(3)
    data = Table(data.images, tuple(a for a in data.annotations if a.image != "im2"))
    found = perfect(tmp_path / "d", 3)
    assert (
        evaluate_detections(
            [found], data, out=tmp_path / "out", resamples=9, rules=Rules(false_marks="reviewed")
        ).counts.images
        == 2
    )


def test_false_marks_can_be_counted_on_images_without_lesions_alone(tmp_path: Path) -> None:
    data = table(4)
    data = Table(data.images, tuple(a for a in data.annotations if a.image in {"im0", "im1"}))
    found = perfect(tmp_path / "d", extra=[(700.0, 700.0, 0.95)])
    summary = evaluate_detections(
        [found], data, out=tmp_path / "out", resamples=20, rules=Rules(false_on="lesion_free")
    )
    assert summary.counts.images_for_false_marks == 2
    # Each lesion-free image has the three marks of the "cluster", too, and one more.
    assert summary.counts.false_marks == 8


def test_strata_and_systems_are_reported_apart(tmp_path: Path) -> None:
    one, two = table(4, system="A", d_prime=4.0), table(4, system="B")
    images = one.images[:2] + two.images[2:]
    rows = [a for t, half in ((one, "im0 im1"), (two, "im2 im3")) for a in t.annotations if a.image in half.split()]
    found = perfect(tmp_path / "d", 2)
    for i in (2, 3):
        detected(found, f"image{i}.dcm", [])
    summary = evaluate_detections([found], Table(images, tuple(rows)), out=tmp_path / "out", resamples=20)
    name = "sensitivity at 1 false marks per image"
    assert [value(summary, name, group=g) for g in ("all", "system A", "system B")] == [0.5, 1, 0]
    assert value(summary, name, group="diameter 0.2 to 0.3 mm") == 0.5
    assert value(summary, name, group="d' 3 to 5") == 1


def test_a_plain_csv_of_marks_will_do(tmp_path: Path) -> None:
    lines = ["image,row,column,likelihood", *(f"image{i}.dcm,{r},{c},5" for i in range(3) for r, c in CLUSTER)]
    (tmp_path / "marks.csv").write_text("\n".join(lines))
    summary = evaluate_detections([tmp_path / "marks.csv"], table(4), out=tmp_path / "out", resamples=20)
    # The fourth image has no line: no mark, and its lesions are missed.
    assert summary.counts.images == 4
    assert value(summary, "sensitivity at 1 false marks per image") == 0.75
    assert not [a for a in summary.metrics if a.target != "microcalcifications" or "cm²" in a.metric]


def test_the_results_are_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate_detections([perfect(tmp_path / "d", extra=[(700.0, 700.0, 0.1)])], table(), out=out, resamples=50)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["schema"] == "microcalc/evaluation/1"
    assert summary["rules"]["hit_mm"] == 0.5
    first = summary["figures"][0]
    assert (first["group"], first["lesions"], first["value"], first["low"]) == ("all", 12, 1.0, 1.0)
    assert "| all | clusters | 4 | sensitivity at 0.2 false clusters per image | 1.000 (1.000 to 1.000) |" in (
        out / "summary.md"
    ).read_text(encoding="utf-8")
    with (out / "froc.csv").open() as handle:
        rows = [r for r in csv.DictReader(handle) if r["curve"] == "microcalcifications per image"]
    assert [(float(r["false"]), float(r["sensitivity"])) for r in rows] == [(0, 0), (0, 1), (1, 1)]
    assert (out / "froc.svg").read_text().startswith("<?xml")


def test_the_same_input_gives_the_same_files(tmp_path: Path) -> None:
    found = perfect(tmp_path / "d", extra=[(700.0, 700.0, 0.1)])
    for name in ("a", "b"):
        evaluate_detections([found], table(), out=tmp_path / name, resamples=50)
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_two_detectors_are_compared_in_pairs(tmp_path: Path) -> None:
    good, poor = perfect(tmp_path / "good"), tmp_path / "poor"
    for i in range(4):
        detected(poor, f"image{i}.dcm", [(*CLUSTER[0], 0.9)])
    comparison = compare_detections({"good": [good], "poor": [poor]}, table(), out=tmp_path / "out", resamples=100)
    answers = comparison.differences["good", "poor"]
    difference = next(a.estimate for a in answers if a.metric == "sensitivity at 1 false marks per image")
    assert isinstance(difference, Difference)
    assert difference.value == pytest.approx(2 / 3)
    assert difference.p == pytest.approx(2 / 101)
    assert "## good minus poor" in (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "out" / "compare.json").read_text())["differences"][0]["first"] == "good"
    assert (tmp_path / "out" / "froc.svg").is_file()


def test_detectors_on_different_images_are_not_compared(tmp_path: Path) -> None:
    found = {"a": [perfect(tmp_path / "a", 4)], "b": [perfect(tmp_path / "b", 3)]}
    with pytest.raises(InputError, match="b: no detections on image 'im3', which another detector has"):
        compare_detections(found, table(), out=tmp_path / "out", resamples=9)


def test_images_left_out_are_said(tmp_path: Path) -> None:
    found = perfect(tmp_path / "d", 6)
    summary = evaluate_detections([found], table(4), out=tmp_path / "out", resamples=9)
    assert summary.counts.detections_not_in_table == 2
    summary = evaluate_detections([found / "image1.json"], table(4), out=tmp_path / "out", resamples=9)
    assert summary.counts.images_without_detections == 3
    assert "3 images of the table without detections" in (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")


def test_images_are_known_by_table_name_or_stem_too(tmp_path: Path) -> None:
    paths = [detected(tmp_path / "d", name, [(*CLUSTER[0], 0.5)]) for name in ("im0", "image1.png", "x/image2.dcm")]
    assert evaluate_detections(paths, table(), out=tmp_path / "out", resamples=9).counts.images == 3


def test_a_file_name_that_fits_two_images_is_refused(tmp_path: Path) -> None:
    images = tuple(ImageRow(n, Path(f"/{n}/same.dcm"), "raw", SPACING) for n in "ab")
    data = Table(images, (AnnotationRow("a", 1, 1),))
    with pytest.raises(InputError, match=r"'same\.dcm' fits images 'a' and 'b', expected one"):
        evaluate_detections([detected(tmp_path, "same.dcm", [])], data, out=tmp_path, resamples=9)


def test_two_files_on_one_image_are_refused(tmp_path: Path) -> None:
    paths = [detected(tmp_path / n, "image0.dcm", []) for n in "ab"]
    with pytest.raises(InputError, match="image 'im0' has detections already"):
        evaluate_detections(paths, table(), out=tmp_path, resamples=9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "bad.json: Invalid JSON"),
        ("[]", "bad.json: Input should be an object"),
        ('{"schema": "microcalc/detections/1"}', "bad.json: image: Field required"),
        (
            '{"schema": "microcalc/detections/1", "image": {"file": "image0.dcm"}, "clusters": [],'
            ' "candidates": [{"row": 1, "column": NaN, "likelihood": 1}]}',
            "bad.json: candidates.0.column: Input should be a finite number",
        ),
        (
            '{"schema": "microcalc/detections/1", "image": {"file": "image0.dcm"}, "candidates": [],'
            ' "clusters": [{"members": [0], "likelihood": 1, "finding": true}]}',
            "bad.json: cluster 0 has member 0, expected indices of the 0 candidates",
        ),
    ],
)
def test_a_broken_json_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError) as caught:
        evaluate_detections([tmp_path / "bad.json"], table(), out=tmp_path, resamples=9)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,row,column\n", "bad.csv: column 'likelihood' is missing"),
        ("image,row,column,likelihood\nim0,1,2,high\n", "bad.csv line 2: likelihood is 'high', expected a number"),
        ("image,row,column,likelihood\nim0,1,2\n", "bad.csv line 2: 3 cells, expected 4 as in the header"),
    ],
)
def test_a_broken_csv_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        evaluate_detections([tmp_path / "bad.csv"], table(), out=tmp_path, resamples=9)
    assert str(caught.value).startswith(message)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        evaluate_detections([tmp_path / "none.json"], table(), out=tmp_path, resamples=9)
    with pytest.raises(InputError, match="no image of the table has detections"):
        evaluate_detections([tmp_path], table(), out=tmp_path, resamples=9)


def test_a_table_without_microcalcifications_is_refused(tmp_path: Path) -> None:
    data = Table(table().images)
    with pytest.raises(InputError, match="4 images evaluated, without a microcalcification"):
        evaluate_detections([perfect(tmp_path / "d")], data, out=tmp_path, resamples=9)


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microcalc.evaluation.reporting.figures.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"microcalc\[evaluate\]"):
        evaluate_detections([tmp_path], table(), out=tmp_path, resamples=9)


def test_places_in_pixels_are_compared_in_millimetres(tmp_path: Path) -> None:
    # 8 pixels are 0.4 mm along rows of 0.05 mm, and 0.8 mm along columns of 0.1 mm.
    image = ImageRow("im", Path("im.dcm"), "raw", (0.05, 0.1))
    data = Table((image,), (AnnotationRow("im", 100, 100), AnnotationRow("im", 500, 500)))
    detected(tmp_path / "d", "im.dcm", [(108.0, 100.0, 0.9), (500.0, 508.0, 0.8)])
    summary = evaluate_detections([tmp_path / "d"], data, out=tmp_path / "out", resamples=9)
    assert value(summary, "sensitivity at 10 false marks per image") == 0.5
    low = next(a.estimate.low for a in summary.metrics)
    assert np.isnan(low)


def test_density_is_what_the_tag_says_or_nothing() -> None:
    (image,) = table(1).images
    assert density_of(replace(image, tags="simulated density-C")) == "C"
    assert density_of(image) == ""


def test_a_comparison_and_a_single_evaluation_leave_nothing_of_each_other(tmp_path: Path) -> None:
    good, out = perfect(tmp_path / "good"), tmp_path / "out"
    evaluate_detections([good], table(), out=out, resamples=9)
    compare_detections({"a": [good], "b": [good]}, table(), out=out, resamples=9)
    assert not list(out.glob("summary.*"))
    evaluate_detections([good], table(), out=out, resamples=9)
    assert not list(out.glob("compare.*"))


def _with_regions() -> Table:
    """The table of `table`, whose first two images have a region of 2 cm, too; the second one holds the cluster."""
    plain = table()
    wide = ((90.0, 90.0), (90.0, 290.0), (290.0, 290.0), (290.0, 90.0))
    far = tuple((row + 500, column + 500) for row, column in wide)
    rows = [
        AnnotationRow("im0", 690, 690, kind="calcification_region", outline=far),
        AnnotationRow("im1", 190, 190, kind="calcification_region", outline=wide),
    ]
    return Table(plain.images, (*plain.annotations, *rows))


def test_a_region_is_a_cluster_to_be_found_and_marks_in_it_are_neither_hits_nor_false(tmp_path: Path) -> None:
    folder = perfect(tmp_path / "d", extra=[(610.0, 610.0, 0.8), (620.0, 620.0, 0.8)])
    summary = evaluate_detections([folder], _with_regions(), out=tmp_path / "out", resamples=50)
    assert (summary.counts.clusters, summary.counts.regions, summary.counts.false_marks) == (5, 1, 6)
    assert value(summary, "sensitivity", about="findings") == pytest.approx(4 / 5)
    assert value(summary, "sensitivity at 10 false marks per image") == 1
    text = (tmp_path / "out" / "summary.md").read_text()
    assert "4 clusters, 1 region with calcifications at unknown places" in text


def test_regions_can_be_ignored(tmp_path: Path) -> None:
    folder = perfect(tmp_path / "d", extra=[(610.0, 610.0, 0.8)])
    summary = evaluate_detections(
        [folder], _with_regions(), out=tmp_path / "out", rules=Rules(ignore_regions=True), resamples=50
    )
    assert (summary.counts.clusters, summary.counts.regions, summary.counts.false_marks) == (4, 0, 3)
    assert value(summary, "sensitivity", about="findings") == 1


def test_no_false_mark_counts_on_an_image_with_a_region_where_only_images_without_lesions_count(tmp_path: Path) -> None:
    images = table().images
    region = ((90.0, 90.0), (90.0, 290.0), (290.0, 290.0), (290.0, 90.0))
    rows = tuple(AnnotationRow(f"im{i}", 190, 190, kind="calcification_region", outline=region) for i in (0, 1))
    for i in range(4):
        detected(tmp_path / "d", f"image{i}.dcm", [(600.0, 600.0, 0.9), (601.0, 600.0, 0.9)], [((0, 1), 0.9, True)])
    summary = evaluate_detections(
        [tmp_path / "d"], Table(images, rows), out=tmp_path / "out", rules=Rules(false_on="lesion_free"), resamples=50
    )
    assert (summary.counts.clusters, summary.counts.microcalcifications, summary.counts.images_for_false_marks) == (
        2,
        0,
        2,
    )
    assert value(summary, "false findings per image", about="findings") == 1


def test_regions_alone_cannot_be_found_by_single_marks(tmp_path: Path) -> None:
    region = ((90.0, 90.0), (90.0, 290.0), (290.0, 290.0), (290.0, 90.0))
    rows = (AnnotationRow("im0", 190, 190, kind="calcification_region", outline=region),)
    (tmp_path / "marks.csv").write_text("image,row,column,likelihood\nim0,100,100,0.9\n")
    with pytest.raises(InputError, match=r"; 1 region can be found by detections in clusters alone"):
        evaluate_detections([tmp_path / "marks.csv"], Table(table().images, rows), out=tmp_path / "out", resamples=50)
