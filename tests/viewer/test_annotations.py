"""What a reader does is on the disk before it is confirmed, and ends in a table that every command takes."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.viewer.tables import SPECKS, client_of, key_of, viewer_of, write_detections, write_images

from microcalc.datasets.open import open_table
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.errors import InputError
from microcalc.images.info import NO_INFO
from microcalc.viewer.agreement import agreed_and_different, agreement_entry, cohens_kappa, paired
from microcalc.viewer.annotations import AnnotationFolder, check_words
from microcalc.viewer.grouping import grouped
from microcalc.viewer.journal import Journal
from microcalc.viewer.sources import open_catalogue

Put = dict[str, Any]


def _put(row: float = 100.0, column: float = 50.0, **entries: Any) -> Put:
    return {"row": row, "column": column, "kind": "microcalcification", "diameter_mm": 0.3, **entries}


def _open(folder: Path, judge: str = "A. Reader", *, annotated: bool = False) -> AnnotationFolder:
    source = folder.parent / "source"
    if not source.is_dir():
        write_images(source, annotated=annotated)
    return AnnotationFolder(folder, open_catalogue([source], NO_INFO).table, judge)


def test_an_annotation_is_in_the_table_with_who_and_when(tmp_path: Path) -> None:
    notes = _open(tmp_path / "o")
    notes.change("a", [_put(id="x1", cluster="one", outline=[[1, 2], [3, 4.005], [5, 6]])], [], {})
    assert notes.fold() == ""
    (row,) = open_table(tmp_path / "o").annotations
    assert (row.image, row.row, row.column, row.kind, row.id) == ("a", 100, 50, "microcalcification", "x1")
    assert (row.judge, row.cluster, row.diameter_mm) == ("A. Reader", "one", 0.3)
    assert list(row.outline) == [(1, 2), (3, 4), (5, 6)]
    assert row.when.endswith("Z")


def test_what_the_table_holds_is_told_with_what_the_reader_does_not_see(tmp_path: Path) -> None:
    out = tmp_path / "my notes"
    mine, theirs = _open(out), _open(out, "B. Reader")
    mine.change("a", [_put(), _put(20, 30, kind="coarse")], [], {})
    mine.mark("a", "done")
    theirs.change("a", [_put(101)], [], {})
    told = {"images": 2, "done": 1, "pictures": 2, "kinds": {"microcalcification": 2, "coarse": 1}}
    assert mine.contents() == told | {"hidden": 1, "superseded": 0}
    theirs.mark("a", "settle")
    assert mine.contents() == told | {"kinds": {"microcalcification": 1}, "hidden": 1, "superseded": 2}
    client = client_of(viewer_of(tmp_path / "source", out=out))
    assert client.get("api/export").json()["table"] == f"'{out}'"  # as a shell takes it
    assert client_of(viewer_of(tmp_path / "source")).get("api/export").status_code == 422


def test_what_was_annotated_at_first_stays_and_gets_an_id(tmp_path: Path) -> None:
    notes = _open(tmp_path / "o", annotated=True)
    rows = read_table(tmp_path / "o").annotations
    assert [(r.row, r.column, r.judge) for r in rows] == sorted((*place, "A. Nnotator") for place in SPECKS)
    assert len({r.id for r in rows}) == 4
    notes.change("a", [], [rows[0].id], {})
    notes.change("a", [_put(id=rows[1].id, kind="coarse")], [], {})
    again = _open(tmp_path / "o", annotated=True).folded().annotations
    assert {r.id for r in again} == {r.id for r in rows[1:]}
    assert next(r for r in again if r.id == rows[1].id).judge == "A. Reader"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"row": -3}, "outside the image"),
        ({"column": 700}, "outside the image"),
        ({"row": float("nan")}, "row is no number"),
        ({"row": True}, "row is no number"),
        ({"row": "1"}, "row is no number"),
        ({"kind": "mass"}, "kind 'mass', expected one of microcalcification"),
        ({"kind": None}, "kind 'None'"),
        ({"diameter_mm": 31}, "diameter 31 mm"),
        ({"diameter_mm": -1}, "diameter -1 mm"),
        ({"cluster": "a,b\n"}, "cluster .*expected a name"),
        ({"cluster": "NA"}, "cluster 'NA', expected a name"),
        ({"id": "../x"}, "an id of other characters"),
        ({"id": "x" * 65}, "an id of other characters"),
        ({"outline": [[1, 2], [900, 900], [3, 4]]}, "outside the image"),
        ({"outline": [[1, 2]] * 501}, "more than 500 corners"),
        ({"outline": ["ab"]}, "other than rows and columns"),
        ({"outline": [[1, float("inf")]]}, "outside the image"),
        ({"outline": {"a": 1}}, "something else"),
    ],
)
def test_what_no_table_may_hold_is_refused_and_nothing_is_written(tmp_path: Path, entries: Put, message: str) -> None:
    notes = _open(tmp_path / "o")
    with pytest.raises(InputError, match=message):
        notes.change("a", [_put(**entries)], [], {})
    assert not (tmp_path / "o" / "journal.jsonl").exists()


def test_a_place_outside_is_refused_also_where_the_table_does_not_state_the_size(tmp_path: Path) -> None:
    source = write_images(tmp_path / "source", annotated=False)
    (source / "images.csv").write_text((source / "images.csv").read_text().replace(",640,700", ",,"))
    notes = _open(tmp_path / "o")
    with pytest.raises(InputError, match="outside the image"):
        notes.change("a", [_put(row=640)], [], {})


def test_two_annotations_of_a_reader_at_one_place_are_refused(tmp_path: Path) -> None:
    notes = _open(tmp_path / "o")
    notes.change("a", [_put()], [], {})
    with pytest.raises(InputError, match="at this place already"):
        notes.change("a", [_put(row=100.0002)], [], {})
    notes.change("b", [_put()], [], {})
    assert len(_open(tmp_path / "o", "B. Reader").folded().annotations) == 2


def test_a_change_is_undone_and_done_again_without_end_and_after_a_restart(tmp_path: Path) -> None:
    notes = _open(tmp_path / "o", annotated=True)
    states = [_state(notes)]
    for change in _CHANGES:
        change(notes)
        states.append(_state(notes))
    for state in reversed(states[:-1]):
        notes.undo()
        assert _state(notes) == state
    with pytest.raises(InputError, match="nothing to undo"):
        notes.undo()
    notes = _open(tmp_path / "o", annotated=True)
    for state in states[1:]:
        notes.undo(redo=True)
        assert _state(notes) == state
    with pytest.raises(InputError, match="nothing to do again"):
        notes.undo(redo=True)
    notes.undo()
    notes.mark("b", "done")
    with pytest.raises(InputError, match="nothing to do again"):
        notes.undo(redo=True)


_CHANGES: tuple[Callable[[AnnotationFolder], object], ...] = (
    lambda notes: notes.change("a", [_put(id="x1"), _put(10, 10, id="x2")], [], {}),
    lambda notes: notes.change("a", [_put(11, 12, id="x2", kind="coarse")], ["x1"], {}),
    lambda notes: notes.mark("a", "done"),
    lambda notes: notes.change("b", [_put(id="x3")], [], {}),
    lambda notes: notes.mark("a", "not_done"),
)


def _state(notes: AnnotationFolder) -> tuple[frozenset[tuple[str, float, float, str]], tuple[tuple[str, str], ...]]:
    rows = frozenset((r.id, r.row, r.column, r.kind) for r in notes.folded().annotations)
    return rows, tuple(sorted(notes.marked().items()))


def test_the_folder_itself_is_opened_to_go_on(tmp_path: Path) -> None:
    _open(tmp_path / "o").change("a", [_put(id="x1")], [], {})
    viewer = viewer_of(tmp_path / "o", out=tmp_path / "o")
    assert viewer.annotations is not None
    viewer.annotations.change("a", [_put(5, 5, id="x2")], ["x1"], {})
    viewer.annotations.fold()
    assert [row.id for row in read_table(tmp_path / "o").annotations] == ["x2"]


def test_a_reader_sees_and_changes_neither_the_places_of_another_nor_their_state(tmp_path: Path) -> None:
    one, other = _open(tmp_path / "o", annotated=True), _open(tmp_path / "o", "B. Reader", annotated=True)
    one.change("a", [_put(id="mine")], [], {})
    one.mark("a", "done")
    seen = other.state("a")
    assert len(seen["rows"]) == 4
    assert seen["mark"] == ""
    with pytest.raises(InputError, match=r"an annotation by A. Reader, expected one of your own"):
        other.change("a", [_put(id="mine", kind="coarse")], [], {})
    with pytest.raises(InputError, match=r"an annotation by A. Reader"):
        other.change("a", [], ["mine"], {})
    with pytest.raises(InputError, match="nothing to undo"):
        other.undo()


def test_two_windows_of_one_reader_lose_nothing(tmp_path: Path) -> None:
    one, other = _open(tmp_path / "o"), _open(tmp_path / "o")
    for n in range(5):
        one.change("a", [_put(n, 1, id=f"one{n}")], [], {})
        other.change("a", [_put(n, 2, id=f"other{n}")], [], {})
    assert {r.id for r in one.state("a")["rows"]} == {r.id for r in other.state("a")["rows"]}
    assert one.fold() == other.fold() == ""
    assert len(read_table(tmp_path / "o").annotations) == 10


def test_an_image_that_is_done_bears_a_tag(tmp_path: Path) -> None:
    notes = _open(tmp_path / "o")
    notes.mark("b", "done")
    notes.fold()
    assert [row.tags for row in read_table(tmp_path / "o").images] == ["", "annotated"]


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_line_that_was_not_finished_is_as_if_it_had_never_been(tmp_path: Path, cut: int) -> None:
    notes = _open(tmp_path / "o")
    notes.change("a", [_put(id="x1")], [], {})
    notes.change("a", [_put(10, 10, id="x2")], [], {})
    journal = tmp_path / "o" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-cut])
    notes = _open(tmp_path / "o")
    assert {r.id for r in notes.state("a")["rows"]} == {"x1"}
    notes.change("a", [_put(20, 20, id="x3")], [], {})
    assert [json.loads(line)["number"] for line in journal.read_bytes().splitlines()] == [1, 2]


def test_a_damaged_journal_is_named_and_kept(tmp_path: Path) -> None:
    notes = _open(tmp_path / "o")
    notes.change("a", [_put()], [], {})
    journal = tmp_path / "o" / "journal.jsonl"
    damaged = journal.read_bytes().replace(b'"annotate"', b'"annotate')
    journal.write_bytes(damaged)
    with pytest.raises(InputError, match=r"journal.jsonl line 1: damaged"):
        _open(tmp_path / "o")
    assert journal.read_bytes() == damaged


def _edit(table: Path, change: Callable[[str], str]) -> None:
    before = table.read_text()
    table.write_text(change(before))
    assert table.read_text() != before


def test_what_is_edited_by_hand_while_the_viewer_runs_is_kept_and_taken_over_by_the_next_start(tmp_path: Path) -> None:
    notes = _open(tmp_path / "o")
    notes.change("a", [_put(20, 20, id="stays"), _put(30, 30, id="goes"), _put(40, 40, id="changes")], [], {})
    notes.fold()
    table = tmp_path / "o" / "annotations.csv"
    _edit(table, lambda text: "".join(line for line in text.splitlines(keepends=True) if "goes" not in line))
    _edit(table, lambda text: text.replace("a,40.000,40.000,0.3,microcalcification", "a,41.25,40,0.5,coarse"))
    _edit(table, lambda text: text + "a,1,1,0,coarse,,,,me,round,,\n")
    edited = table.read_bytes()
    notes.change("a", [_put(50, 50, id="meanwhile")], [], {})
    assert "annotations.csv was changed by hand, and is kept; start microcalc view again" in notes.fold()
    assert table.read_bytes() == edited
    again = _open(tmp_path / "o")
    assert again.taken_over == "annotations.csv, 2 annotations added or changed, 1 removed"
    rows = {(r.row, r.column): (r.kind, r.diameter_mm, r.judge) for r in read_table(tmp_path / "o").annotations}
    assert rows == {
        (1, 1): ("coarse", 0, "me"),
        (20, 20): ("microcalcification", 0.3, "A. Reader"),
        (41.25, 40): ("coarse", 0.5, "A. Reader"),
        (50, 50): ("microcalcification", 0.3, "A. Reader"),
    }
    assert _open(tmp_path / "o").taken_over == ""
    assert notes.fold() == ""  # the window that was open meanwhile goes on
    again.undo()
    assert (40, 40) in {(r.row, r.column) for r in again.state("a")["rows"]}


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)), st.sets(st.integers(10, 14)), st.booleans())
def test_a_start_after_any_edit_by_hand_gives_the_table_that_was_left(
    removed: set[int], moved: set[int], added: set[int], killed: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "o"
        table = Table((ImageRow("a", Path(folder) / "a.png", "processed", (0.1, 0.1)),))
        notes = AnnotationFolder(out, table, "A. Reader")
        notes.change("a", [_put(10.0 * n, 5, id=f"id{n}") for n in range(5)], [], {})
        notes.fold()
        read = read_table(out)
        rows = [replace(r, column=7.5) if int(r.id[2]) in moved else r for r in read.annotations]
        rows = [r for r in rows if int(r.id[2]) not in removed]
        left = Table(read.images, (*rows, *(AnnotationRow("a", 10.0 * n, 9, judge="A. Reader") for n in added)))
        (out / ".microcalc.json").rename(out / "mark")
        write_table(left, out)
        (out / "mark").rename(out / ".microcalc.json")
        if killed:  # after the changes were in the journal, before the table was
            patched = mock.patch("microcalc.viewer.annotations.adopt_edited", side_effect=KeyboardInterrupt)
            with patched, suppress(KeyboardInterrupt):
                AnnotationFolder(out, table, "A. Reader")
        AnnotationFolder(out, table, "A. Reader")
        now = {(r.row, r.column, r.kind) for r in read_table(out).annotations}
        assert now == {(r.row, r.column, r.kind) for r in left.annotations}


def test_what_is_written_of_an_image_by_hand_stays(tmp_path: Path) -> None:
    _open(tmp_path / "o").mark("a", "done")
    _open(tmp_path / "o")
    images = tmp_path / "o" / "images.csv"
    _edit(images, lambda text: text.replace(",P0,", ",Q7,").replace("0.1,0.1,,", "0.094,0.094,test,"))
    again = _open(tmp_path / "o")
    assert again.taken_over == "images.csv, as it is"
    again.change("a", [_put()], [], {})
    again.fold()
    again = _open(tmp_path / "o")
    for row in read_table(tmp_path / "o").images:
        assert (row.patient, row.split, row.spacing_mm) == ("Q7", "test", (0.094, 0.094))
    assert [row.tags for row in again.folded().images] == ["annotated", ""]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("annotations.csv", ",coarse,", ",coarse calcium,", r"annotations.csv line 2: kind is 'coarse calcium'"),
        (
            "annotations.csv",
            "A. Reader",
            "B. Other",
            "judge of annotation x1 was changed by hand, expected 'A. Reader'",
        ),
        ("annotations.csv", "\na,", "\nb,", "annotations.csv: image 'b': an annotation of another image"),
        (
            "annotations.csv",
            "\na,100",
            "\na,100,50,0,coarse,,,,,,,\na,100",
            "annotations.csv: image 'a': there is an anno",
        ),
        ("images.csv", "b.png", "c.png", "file of image 'b' was changed by hand"),
        ("images.csv", "\nb,", "\nc,", "image 'b' was added or removed by hand"),
    ],
)
def test_an_edit_that_cannot_be_taken_over_is_refused_and_stays(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    notes = _open(tmp_path / "o")
    notes.change("a", [_put(id="x1", kind="coarse")], [], {})
    notes.fold()
    _edit(tmp_path / "o" / name, lambda text: text.replace(old, new))
    files = {f: f.read_bytes() for f in (tmp_path / "o").iterdir() if f.is_file()}
    with pytest.raises(InputError, match=message):
        _open(tmp_path / "o")
    assert {f: f.read_bytes() for f in files} == files


def test_another_image_under_a_known_name_is_refused(tmp_path: Path) -> None:
    _open(tmp_path / "o")
    table = read_table(tmp_path / "source")
    first, second = (Table((replace(table.images[0], sha256=digit * 64),)) for digit in "01")
    AnnotationFolder(tmp_path / "p", first, "A. Reader")
    with pytest.raises(InputError, match="image 'a' is another one than at first"):
        AnnotationFolder(tmp_path / "p", second, "A. Reader")


def test_more_images_may_come_later(tmp_path: Path) -> None:
    _open(tmp_path / "o").change("a", [_put()], [], {})
    more = write_images(tmp_path / "more", ("c",), annotated=False)
    notes = AnnotationFolder(tmp_path / "o", open_catalogue([more], NO_INFO).table, "A. Reader")
    assert [row.image for row in notes.folded().images] == ["a", "b", "c"]
    assert len(notes.folded().annotations) == 1


@pytest.mark.parametrize("name", ["", " a", "a,b", "a\nb", "NA", "x" * 61, '"a"'])
def test_a_name_that_a_table_could_not_hold_is_no_reader(name: str) -> None:
    with pytest.raises(InputError, match="--judge"):
        check_words(name, "--judge")


_STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 3), st.integers(0, 9)),
    st.tuples(st.just("remove"), st.integers(0, 3), st.just(0)),
    st.tuples(st.sampled_from(("undo", "redo")), st.just(0), st.just(0)),
)


@given(st.lists(st.tuples(st.integers(0, 1), _STEP), max_size=25))
@settings(max_examples=40)
def test_whatever_two_readers_do_a_new_reading_of_the_journal_gives_the_same_state(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, tuple[str, int, int]]]
) -> None:
    file = tmp_path_factory.mktemp("journal") / "j.jsonl"
    given_rows = [AnnotationRow("a", 600.0, 600.0, id="g")]
    journals = [Journal(file, given_rows), Journal(file, given_rows)]
    for reader, (action, name, place) in steps:
        journal, judge = journals[reader], f"reader {reader}"
        try:
            if action == "put":
                journal.annotate(judge, "a", [AnnotationRow("a", float(place), 1.0, id=f"{reader}{name}")], [], {})
            elif action == "remove":
                journal.annotate(judge, "a", [], [f"{reader}{name}"], {})
            else:
                journal.undo(judge, redo=action == "redo")
        except InputError:
            continue
    for journal in (*journals, Journal(file, given_rows)):
        journal.refresh()
        assert journal.rows == journals[0].rows
        assert journal.marks == journals[0].marks
        places = [(r.judge, r.row, r.column) for r in journal.rows.values()]
        assert len(set(places)) == len(places)


def _annotate_until_killed(folder: Path, source: Path, confirmed: Path) -> None:
    notes = AnnotationFolder(folder, open_catalogue([source], NO_INFO).table, "A. Reader")
    with confirmed.open("a") as file:
        for n in range(10_000):
            name = f"{os.getpid()}-{n}"
            notes.change("a", [_put(n % 600 + 0.001 * (os.getpid() % 500), n // 600, id=name)], [], {})
            file.write(f"{name}\n")
            file.flush()
            if n % 3 == 2:
                notes.fold()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12: the child starts no thread
def test_nothing_that_was_confirmed_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    source, confirmed = write_images(tmp_path / "source", annotated=False), tmp_path / "confirmed"
    _open(tmp_path / "o")
    context = multiprocessing.get_context("fork")
    for n in range(6):
        process = context.Process(target=_annotate_until_killed, args=(tmp_path / "o", source, confirmed))
        process.start()
        while process.is_alive() and (not confirmed.exists() or confirmed.read_text().count("\n") < 5 * (n + 1)):
            time.sleep(0.002)
        process.kill()
        process.join()
    names = set(confirmed.read_text().split("\n")[:-1])
    notes = _open(tmp_path / "o")
    assert len(names) >= 30
    assert names <= {r.id for r in notes.folded().annotations}
    assert names <= {r.id for r in read_table(tmp_path / "o").annotations}


def test_the_page_annotates_through_the_server_and_reads_it_back(tmp_path: Path) -> None:
    viewer = viewer_of(write_images(tmp_path / "t", annotated=False), out=tmp_path / "o")
    client = client_of(viewer)
    key = key_of(client, "a")
    answer = client.post(f"api/images/{key}/annotations", json={"put": [_put(id="x")], "note": {"likelihood": 0.9}})
    assert answer.json()["saved"] == 1
    assert [a["id"] for a in client.get(f"api/images/{key}/annotations").json()["annotations"]] == ["x"]
    assert client.post(f"api/images/{key}/state", json={"action": "done"}).json()["mark"] == "done"
    assert client.get("api/changes").json() == {"version": 2, "marked": {key: "done"}, "problem": ""}
    assert client.post("api/undo", json={}).json()["image"] == key
    assert client.get(f"api/images/{key}/annotations").json()["mark"] == ""
    assert client.post(f"api/images/{key}/annotations", json={"remove": ["nothing"]}).status_code == 422
    assert client.post(f"api/images/{key}/state", json={"action": "burn"}).status_code == 422
    assert client.post(f"api/images/{key}/annotations", json={"put": "x"}).status_code == 422
    assert client.post(f"api/images/{key}/annotations", json={"put": ["x"]}).status_code == 422


def test_without_out_nothing_is_annotated(tmp_path: Path) -> None:
    client = client_of(viewer_of(write_images(tmp_path / "t")))
    assert client.post("api/images/i0/annotations", json={"put": [_put()]}).status_code == 422
    assert sorted(f.name for f in tmp_path.iterdir()) == ["t"]


def test_microcalcifications_are_grouped_by_the_rule_in_one_change(tmp_path: Path) -> None:
    client = client_of(viewer_of(write_images(tmp_path / "t", annotated=False), out=tmp_path / "o"))
    key = key_of(client, "a")
    put = [_put(r, c) for r, c in SPECKS] + [_put(500, 20), _put(301, 151, kind="coarse")]
    client.post(f"api/images/{key}/annotations", json={"put": put})
    rows = client.post(f"api/images/{key}/clusters", json={}).json()["annotations"]
    assert sorted(r["cluster"] for r in rows) == ["", "", *["cluster 1"] * 4]
    assert client.post(f"api/images/{key}/clusters", json={}).json()["version"] == 2
    client.post("api/undo", json={})
    rows = client.get(f"api/images/{key}/annotations").json()["annotations"]
    assert {r["cluster"] for r in rows} == {""}


def test_a_cluster_that_gains_a_member_keeps_its_name(tmp_path: Path) -> None:
    image = read_table(write_images(tmp_path / "t")).images[0]
    rows = [AnnotationRow("a", *place, cluster="mine", id=str(n)) for n, place in enumerate(SPECKS)]
    new = AnnotationRow("a", 308.0, 158.0, id="new")
    assert grouped([*rows, new], image) == [replace(new, cluster="mine")]


def test_what_was_annotated_evaluates_detections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from microcalc import cli

    notes = _open(tmp_path / "o")
    notes.change("a", [_put(r, c, cluster="one") for r, c in SPECKS], [], {})
    notes.fold()
    file = write_detections(tmp_path / "d" / "a.json", "a", [(*SPECKS[0], 0.9), (*SPECKS[1], 0.8), (1, 1, 0.1)])
    call = ["evaluate", str(file), "--truth", str(tmp_path / "o"), "--out", str(tmp_path / "e"), "--resamples", "2"]
    assert cli.run(call) == 1, "b has no detections"
    summary = json.loads((tmp_path / "e" / "summary.json").read_text())
    assert "microcalcification" in json.dumps(summary)


def test_agreement_is_cohens_and_counts_places_that_both_marked(tmp_path: Path) -> None:
    one, other = _open(tmp_path / "o", "One"), _open(tmp_path / "o", "Other")
    one.change("a", [_put(10, 10), _put(20, 20), _put(30, 30, kind="coarse"), _put(40, 40)], [], {})
    other.change("a", [_put(10, 12), _put(20, 20, kind="coarse"), _put(33, 33, kind="coarse"), _put(300, 300)], [], {})
    for notes in (one, other):
        for image in ("a", "b"):
            notes.mark(image, "done")
    entry = agreement_entry(one, one.given, {"a": "i0", "b": "i1"})
    (pair,) = entry["pairs"]
    assert (pair["images"], pair["microcalcifications"], pair["both"], pair["pairs"]) == (2, [3, 2], 1, 3)
    assert pair["specific"] == pytest.approx(2 / 5)
    assert (pair["of_first"], pair["of_second"]) == (pytest.approx(1 / 3), pytest.approx(1 / 2))
    assert pair["kappa_images"] == 1


def test_kappa_agrees_with_scikit_learn() -> None:
    import numpy as np
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(4)
    for n in (2, 10, 200):
        first, second = (list(rng.choice(["a", "b", "c"], n)) for _ in range(2))
        ours = cohens_kappa(first, second)
        assert ours == pytest.approx(cohen_kappa_score(first, second), nan_ok=True)
    assert np.isnan(cohens_kappa(["a"], ["a"]))
    with pytest.raises(ValueError, match="1 and 0 categories"):
        cohens_kappa(["a"], [])


def test_pairs_take_each_place_once_and_the_nearest_first(tmp_path: Path) -> None:
    image = read_table(write_images(tmp_path / "t")).images[0]
    first = [AnnotationRow("a", 10, 10), AnnotationRow("a", 10, 14)]
    second = [AnnotationRow("a", 10, 13), AnnotationRow("a", 10, 30)]
    assert paired(first, second, image) == [(first[1], second[0])]
    assert paired(first, [], image) == []


def test_settling_takes_what_readers_agree_on_and_asks_for_the_rest(tmp_path: Path) -> None:
    source = write_images(tmp_path / "t", annotated=False)
    one, other = (viewer_of(source, out=tmp_path / "o", judge=judge).annotations for judge in ("One", "Other"))
    assert one is not None
    assert other is not None
    one.change("a", [_put(10, 10), _put(20, 20), _put(50, 50)], [], {})
    other.change("a", [_put(10, 11), _put(20, 20, kind="coarse")], [], {})
    for notes in (one, other):
        notes.mark("a", "done")
    client = client_of(viewer_of(source, out=tmp_path / "o", judge="Third"))
    key = key_of(client, "a")
    assert client.get("api/agreement").json()["to_settle"] == [{"image": key, "different": 2, "settled": False}]
    answer = client.post(f"api/images/{key}/settle", json={}).json()
    assert [(a["row"], a["judge"]) for a in answer["annotations"]] == [(10, "Third")]
    assert sorted(len(place) for place in answer["different"]) == [1, 2]
    assert client.post(f"api/images/{key}/settle", json={}).json()["version"] == answer["version"]
    client.post(f"api/images/{key}/annotations", json={"put": [answer["different"][0][0] | {"id": ""}]})
    client.post(f"api/images/{key}/state", json={"action": "settle"})
    client.get("api/changes")
    assert {r.judge for r in read_table(tmp_path / "o").annotations if r.image == "a"} == {"Third"}
    assert agreed_and_different(one, one.given.images[0]) == ([], [])
