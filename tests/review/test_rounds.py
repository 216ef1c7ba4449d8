"""Rounds of review: what is shown, what is taken back, and what comes next."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microcalc.datasets.open import open_table
from microcalc.datasets.reviewed import Reviewed, read_reviewed
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.domain import Candidates, Mammogram
from microcalc.errors import InputError, OutputError, TableError, UnreadableImageError
from microcalc.review import proposals
from microcalc.review.folder import table_of_images
from microcalc.review.proposals import new_places
from microcalc.review.rounds import Round, describe_import, describe_round, import_verdicts, make_round
from microcalc.storage.ownership import open_output_folder

SPACING_MM = 0.1
SPOTS = [(20, 30), (50, 60), (80, 20), (100, 90), (120, 40)]  # row, column; each a little less bright


def image_with_spots(file: Path, *, brightest: int = 200) -> ImageRow:
    pixels = np.full((140, 120), 60, dtype=np.uint8)
    for n, (row, column) in enumerate(SPOTS):
        pixels[row - 1 : row + 2, column - 1 : column + 2] = brightest - 10 * n
    Image.fromarray(pixels).save(file)
    return ImageRow(file.stem, file, "processed", (SPACING_MM, SPACING_MM))


def rate(row: ImageRow) -> tuple[Mammogram, Candidates]:
    pixels = np.asarray(Image.open(row.file), dtype=np.float32)
    mammogram = Mammogram(pixels, row.spacing_mm, row.intent, row.image)
    grey = np.array([pixels[spot] for spot in SPOTS], dtype=np.float64)
    order = np.argsort(-grey)
    return mammogram, Candidates(mammogram.grid.to_mm(np.array(SPOTS)[order]), grey[order] / 255)


def round_of(
    table: Table,
    out: Path,
    rate: Callable[[ImageRow], tuple[Mammogram, Candidates]],
    *,
    places: int = 60,
    rated_by: str = "",
) -> Round:
    """Make a round in which a function stands for the reading and rating of an image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proposals, "candidates_of", lambda row, _models: rate(row))
        return make_round(table, out, places=places, rated_by=rated_by)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table((image_with_spots(tmp_path / "a.png"), image_with_spots(tmp_path / "b.png", brightest=220)))


def fill(file: Path, verdicts: dict[tuple[str, int], str], to: Path, *, judge: str = "R. Eader") -> Path:
    with file.open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    for line in lines:
        verdict = verdicts.get((line["image"], int(line["number"])), "")
        line.update(verdict=verdict, judge=judge if verdict else "")
    return write_lines(to, lines)


def write_lines(to: Path, lines: list[dict[str, str]]) -> Path:
    with to.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return to


def test_the_highest_rated_places_are_shown_first_and_numbered_from_one(table: Table, tmp_path: Path) -> None:
    made = round_of(table, tmp_path / "out", rate, places=3)
    of_a = [p for p in made.places if p.image == "a"]
    assert [(p.number, p.row, p.column) for p in of_a] == [(1, 20.0, 30.0), (2, 50.0, 60.0), (3, 80.0, 20.0)]
    assert sorted(f.name for f in made.folder.glob("*.png")) == [
        "a-1.png", "a-overview.png", "b-1.png", "b-overview.png",
    ]  # fmt: skip


def test_verdicts_taken_back_are_the_verdicts_filled_in(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = round_of(table, out, rate, places=3)
    filled = fill(made.table, {("a", 1): "m", ("a", 2): "Rim or skin", ("b", 3): "no_calcium"}, tmp_path / "f.csv")
    taken = import_verdicts([filled], out)
    assert taken.counts == {"microcalcification": 1, "rim_or_skin": 1, "no_calcium": 1}
    assert taken.new_calcium == {"a": 2, "b": 0}
    assert taken.unjudged == 3
    assert {(r.file, r.row, r.column, r.verdict, r.judge) for r in read_reviewed(out / "reviewed.csv")} == {
        ("a.png", 20.0, 30.0, "microcalcification", "R. Eader"),
        ("a.png", 50.0, 60.0, "rim_or_skin", "R. Eader"),
        ("b.png", 80.0, 20.0, "no_calcium", "R. Eader"),
    }
    assert "a: 2 new places of calcium" in describe_import(taken)


def test_a_review_ends_in_a_table_with_the_verdicts_and_what_was_annotated_before(table: Table, tmp_path: Path) -> None:
    out, before = tmp_path / "out", AnnotationRow("b", 3.0, 4.0, kind="coarse", judge="B. Efore", id="first")
    open_output_folder(out, "review")
    made = round_of(Table(table.images, (before,)), out, rate, places=3)
    assert open_table(out).annotations == (before,)
    import_verdicts([fill(made.table, {("a", 1): "m", ("b", 3): "no_calcium"}, tmp_path / "f.csv")], out)
    rows = open_table(out).annotations
    assert [(r.image, r.row, r.column, r.kind, r.judge) for r in rows] == [
        ("b", 3.0, 4.0, "coarse", "B. Efore"),
        ("a", 20.0, 30.0, "microcalcification", "R. Eader"),
        ("b", 80.0, 20.0, "no_calcium", "R. Eader"),
    ]
    import_verdicts([fill(made.table, {("a", 1): "u"}, tmp_path / "f.csv")], out)
    again = open_table(out).annotations
    assert [(r.id, r.kind) for r in again] == [
        (rows[0].id, "coarse"), (rows[1].id, "unsure"), (rows[2].id, "no_calcium"),
    ]  # fmt: skip
    (out / "annotations.csv").write_text((out / "annotations.csv").read_text() + "a,1,1,0,coarse,,,,me,,,\n")
    known = (out / "reviewed.csv").read_bytes()
    with pytest.raises(OutputError, match=r"annotations.csv was changed by hand"):
        import_verdicts([fill(made.table, {("a", 2): "m"}, tmp_path / "f.csv")], out)
    assert (out / "reviewed.csv").read_bytes() == known


def test_the_next_round_shows_only_places_that_nobody_has_judged(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = round_of(table, out, rate, places=2)
    import_verdicts([fill(first.table, {("a", 1): "m", ("a", 2): "n"}, tmp_path / "f.csv")], out)
    second = round_of(table, out, rate, places=2)
    assert second.number == 2
    assert [(p.row, p.column) for p in second.places if p.image == "a"] == [(80.0, 20.0), (100.0, 90.0)]
    assert [(p.row, p.column) for p in second.places if p.image == "b"] == [(20.0, 30.0), (50.0, 60.0)]


def test_places_annotated_in_the_table_count_as_judged(table: Table, tmp_path: Path) -> None:
    annotated = Table(table.images, (AnnotationRow("a", 22.0, 30.0),))  # 0.2 mm beside the brightest
    made = round_of(annotated, tmp_path / "out", rate, places=1)
    assert [(p.image, p.row) for p in made.places] == [("a", 50.0), ("b", 20.0)]


def test_a_renamed_file_keeps_its_verdicts_and_a_changed_one_does_not(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = round_of(table, out, rate, places=1)
    import_verdicts([fill(first.table, {("a", 1): "m", ("b", 1): "m"}, tmp_path / "f.csv")], out)
    renamed = table.images[0].file.rename(tmp_path / "renamed.png")
    changed = image_with_spots(tmp_path / "b.png", brightest=230)
    again = Table((ImageRow("other", renamed, "processed", (SPACING_MM, SPACING_MM)), changed))
    second = round_of(again, out, rate, places=1)
    assert [(p.image, p.row) for p in second.places] == [("other", 50.0), ("b", 20.0)]


def test_a_stopped_round_goes_on_where_it_was_with_the_same_numbers(table: Table, tmp_path: Path) -> None:
    rated: list[str] = []

    def stops_at_b(row: ImageRow) -> tuple[Mammogram, Candidates]:
        if row.image == "b":
            raise KeyboardInterrupt
        return rate(row)

    def counted(row: ImageRow) -> tuple[Mammogram, Candidates]:
        rated.append(row.image)
        return rate(row)

    with pytest.raises(KeyboardInterrupt):
        round_of(table, tmp_path / "out", stops_at_b)
    resumed = round_of(table, tmp_path / "out", counted)
    at_once = round_of(table, tmp_path / "other", rate)
    assert rated == ["b"]
    assert resumed.number == 1
    assert resumed.places == at_once.places
    assert resumed.table.read_bytes() == at_once.table.read_bytes()


def test_a_stopped_round_starts_afresh_with_another_model(table: Table, tmp_path: Path) -> None:
    rated: list[str] = []

    def stops_at_b(row: ImageRow) -> tuple[Mammogram, Candidates]:
        rated.append(row.image)
        if len(rated) == 2:
            raise KeyboardInterrupt
        return rate(row)

    with pytest.raises(KeyboardInterrupt):
        round_of(table, tmp_path / "out", stops_at_b, rated_by="one")
    round_of(table, tmp_path / "out", stops_at_b, rated_by="two")
    assert rated == ["a", "b", "a", "b"]


def test_a_table_that_is_being_filled_in_is_never_overwritten(table: Table, tmp_path: Path) -> None:
    first = round_of(table, tmp_path / "out", rate)
    fill(first.table, {("a", 1): "m"}, first.table)
    text = first.table.read_bytes()
    second = round_of(table, tmp_path / "out", rate)
    assert second.folder != first.folder
    assert first.table.read_bytes() == text


def test_a_bad_image_costs_only_itself(table: Table, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = ImageRow("gone", tmp_path / "gone.png", "processed", (0.1, 0.1))
    made = round_of(Table((missing, *table.images)), tmp_path / "out", rate)
    assert [name for name, _ in made.failed] == ["gone"]
    assert {p.image for p in made.places} == {"a", "b"}
    assert caplog.messages[0].startswith("gone.png: ")
    assert any(line.startswith("not rated: gone.png") for line in describe_round(made))


def test_a_review_of_nothing_but_bad_images_is_refused(tmp_path: Path) -> None:
    missing = [ImageRow(name, tmp_path / f"{name}.png", "processed", (0.1, 0.1)) for name in ("gone", "lost")]
    with pytest.raises(InputError, match=r"none of 2 images could be read: gone\.png: .*; lost\.png: "):
        round_of(Table(tuple(missing)), tmp_path / "out", rate)
    assert not (tmp_path / "out").exists()


def test_the_same_image_under_two_names_is_shown_once(table: Table, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(table.images[0].file.read_bytes())
    twice = Table((*table.images, ImageRow("copy", copy, "processed", (0.1, 0.1))))
    made = round_of(twice, tmp_path / "out", rate)
    assert {p.image for p in made.places} == {"a", "b"}
    assert "the same content as a" in made.failed[0][1]


def test_a_later_verdict_wins_and_names_the_earlier(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = round_of(table, out, rate)
    import_verdicts([fill(made.table, {("a", 1): "n"}, tmp_path / "f.csv", judge="first")], out)
    taken = import_verdicts([fill(made.table, {("a", 1): "v"}, tmp_path / "g.csv", judge="second")], out)
    (row,) = read_reviewed(out / "reviewed.csv")
    assert (row.verdict, row.judge, row.superseded) == ("vascular", "second", "no_calcium by first")
    assert taken.changed == 1
    assert taken.new_calcium == {"a": 1}


def test_taking_the_same_table_twice_changes_nothing(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    filled = fill(round_of(table, out, rate).table, {("a", 1): "c", ("b", 2): "u"}, tmp_path / "f.csv")
    import_verdicts([filled], out)
    before = (out / "reviewed.csv").read_bytes()
    taken = import_verdicts([filled], out)
    assert (out / "reviewed.csv").read_bytes() == before
    assert taken.new_calcium == {"a": 0, "b": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "cyst"}, r"f\.csv line 2: verdict is 'cyst', expected one of microcalcification \(m\), "),
        ({"row": "21.5"}, r"f\.csv line 2: place 1 of a is at row 21\.5, column 30, expected 20, 30 as shown"),
        ({"judge": ""}, r"f\.csv line 2: judge is empty, expected the name of the reader"),
        ({"number": "99"}, r"f\.csv line 2: place 99 of a in round 1 was not shown"),
        ({"number": "one"}, r"f\.csv line 2: number is 'one', expected a number"),
        ({"sha256": "0" * 64}, r"f\.csv line 2: place 1 of a in round 1 was not shown"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number_and_nothing_is_taken(
    table: Table, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    out = tmp_path / "out"
    made = round_of(table, out, rate)
    good = fill(made.table, {("b", 1): "m"}, tmp_path / "good.csv")
    filled = fill(made.table, {("a", 1): "m", ("a", 2): "m"}, tmp_path / "f.csv")
    with filled.open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    lines[0].update(change)
    write_lines(filled, lines)
    with pytest.raises(TableError, match=message):
        import_verdicts([good, filled], out)
    assert not (out / "reviewed.csv").exists()


def test_a_place_judged_twice_in_one_table_is_refused(table: Table, tmp_path: Path) -> None:
    made = round_of(table, tmp_path / "out", rate)
    filled = fill(made.table, {("a", 1): "m"}, tmp_path / "f.csv")
    with filled.open(newline="") as handle:
        lines = list(csv.DictReader(handle))
    write_lines(filled, [lines[0], {**lines[0], "verdict": "n"}])
    with pytest.raises(TableError, match=r"f\.csv line 3: place 1 of a is judged on line 2 already, expected once"):
        import_verdicts([filled], tmp_path / "out")


def test_a_judge_given_for_the_whole_table_fills_the_empty_column(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    filled = fill(round_of(table, out, rate).table, {("a", 1): "m"}, tmp_path / "f.csv", judge="")
    import_verdicts([filled], out, judge="by eye, not a radiologist")
    assert [r.judge for r in read_reviewed(out / "reviewed.csv")] == ["by eye, not a radiologist"]


def test_verdicts_without_a_round_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"out: has no round yet"):
        import_verdicts([tmp_path / "f.csv"], tmp_path / "out")


def test_a_verdict_stands_for_what_is_nearer_than_the_distance_apart() -> None:
    centres = np.array([[0.0, 0.0], [0.0, 0.4], [0.0, 0.6], [5.0, 5.0]])
    candidates = Candidates(centres, np.array([0.9, 0.8, 0.7, 0.6]))
    judged = np.array([[5.0, 5.3]])
    assert new_places(candidates, judged, n=10, apart_mm=0.5).tolist() == [0, 2]
    assert new_places(candidates, np.empty((0, 2)), n=2, apart_mm=0.0).tolist() == [0, 1]
    assert new_places(Candidates(np.empty((0, 2)), np.empty(0)), judged, n=5, apart_mm=0.5).tolist() == []


def test_images_whose_names_are_paths_get_files_of_their_own(table: Table, tmp_path: Path) -> None:
    first, second = table.images
    named = Table((
        ImageRow("p/1", first.file, "processed", (0.1, 0.1)),
        ImageRow("p_1", second.file, "processed", (0.1, 0.1)),
    ))  # fmt: skip
    made = round_of(named, tmp_path / "out", rate)
    assert len(list(made.folder.glob("*-overview.png"))) == 2


def test_images_become_a_table_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    def open_image(file: Path) -> Mammogram:
        if file.name == "bad.png":
            raise UnreadableImageError("bad.png: truncated")
        return Mammogram(np.zeros((2, 2), dtype=np.float32), (0.07, 0.08), "raw", "uid", system="HOLOGIC")

    names = ("b.png", "bad.png", "sub/a.png")
    table, failed = table_of_images([(name, tmp_path / name) for name in names], open_image)
    assert [i.image for i in table.images] == ["b.png", "sub/a.png"]
    assert (table.images[0].spacing_mm, table.images[0].intent, table.images[0].system) == (
        (0.07, 0.08),
        "raw",
        "HOLOGIC",
    )
    assert failed == (("bad.png", "bad.png: truncated"),)


@pytest.mark.parametrize("error", [ZeroDivisionError("SECRET"), MemoryError()])
def test_a_fault_in_one_image_is_named_and_the_others_are_shown(table: Table, tmp_path: Path, error: Exception) -> None:
    def faulty(row: ImageRow) -> tuple[Mammogram, Candidates]:
        if row.image == "a":
            raise error
        return rate(row)

    made = round_of(table, tmp_path / "out", faulty)
    assert {place.image for place in made.places} == {"b"}
    assert [image for image, _ in made.failed] == ["a"]
    assert made.failed[0][1].startswith("a.png: ")
    assert "SECRET" not in made.failed[0][1]


def test_a_long_name_of_an_image_makes_names_that_every_file_system_takes(table: Table, tmp_path: Path) -> None:
    long = dataclasses.replace(table.images[0], image="/".join(["d" * 60] * 6))
    made = round_of(Table((long,)), tmp_path / "out", rate)
    assert len(list(made.folder.glob("*.png"))) == 2
    assert all(len(file.name.encode()) <= 130 for file in made.folder.iterdir())


def test_reviewed_rows_of_other_images_stay_when_verdicts_are_merged(table: Table, tmp_path: Path) -> None:
    from microcalc.datasets.reviewed import write_reviewed

    out = tmp_path / "out"
    other = Reviewed("z.png", "f" * 64, 1.0, 2.0, "coarse", "someone")
    made = round_of(table, out, rate)
    write_reviewed(out / "reviewed.csv", [other])
    import_verdicts([fill(made.table, {("a", 1): "m"}, tmp_path / "f.csv")], out)
    assert other in read_reviewed(out / "reviewed.csv")
