from __future__ import annotations

import errno
import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.waiting import wait_until

from microcalc.errors import InputError, OutputError
from microcalc.storage.index import INDEX, Index, IndexEntry, counted, read_index, stamp_of, update_index
from microcalc.storage.ownership import open_output_folder

_SETTINGS = {"model": "m"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    open_output_folder(tmp_path / "out", "detect")
    return tmp_path / "out"


def test_what_is_written_is_read(folder: Path) -> None:
    entry = IndexEntry("a", "x/a.dcm", "1.2.3", "ff", "A", "no breast", ("a.sr.dcm",))
    update_index(folder, _SETTINGS, [entry])
    assert read_index(folder) == Index(_SETTINGS, (entry,))


def test_what_failed_or_was_not_tried_does_not_count(folder: Path) -> None:
    assert counted(folder) is None
    for stem in ("done", "failed", "stranger"):
        (folder / f"{stem}.json").write_text("{}")
    update_index(
        folder,
        _SETTINGS,
        [IndexEntry("done", "d"), IndexEntry("failed", "f", failed="damaged"), IndexEntry("stopped", "s")],
    )
    assert counted(folder) == [folder / "done.json"]


def test_a_later_entry_takes_the_place_of_the_one_of_its_stem_and_the_others_stay(folder: Path) -> None:
    update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm"), IndexEntry("b", "b.dcm")])
    update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm", failed="damaged")])
    index = read_index(folder)
    assert index is not None
    assert {stem: entry.failed for stem, entry in index.by_stem().items()} == {"a": "damaged", "b": ""}


def test_calls_at_the_same_time_lose_no_entry(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: update_index(folder, _SETTINGS, [IndexEntry(f"{n}", f"{n}.dcm")]), range(40)))
    index = read_index(folder)
    assert index is not None
    assert len(index.entries) == 40


def test_the_index_is_locked_by_a_descriptor_for_writing_as_nfs_wants_and_where_there_are_no_locks_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flock(2): on NFS, in order to place an exclusive lock, the file must be opened for writing."""
    modes = []

    def no_locks(descriptor: int, operation: int) -> None:
        modes.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm")])
    assert (folder / INDEX).is_file()
    assert modes
    assert os.O_RDONLY not in modes


def test_a_users_file_of_that_name_stays(folder: Path) -> None:
    (folder / INDEX).write_text('{"mine": 1}')
    assert read_index(folder) is None
    with pytest.raises(OutputError, match=r"out: index\.json was not made by microcalc"):
        update_index(folder, _SETTINGS, [])
    assert (folder / INDEX).read_text() == '{"mine": 1}'


@pytest.mark.parametrize("images", [None, [{}], [{"stem": 1, "file": ""}], [{"stem": "a", "file": "", "more": ""}]])
def test_a_broken_index_is_an_error(folder: Path, images: object) -> None:
    (folder / INDEX).write_text(json.dumps({"schema": "microcalc/index/1", "settings": {}, "images": images}))
    with pytest.raises(InputError, match=r"out/index\.json: damaged"):
        read_index(folder)


def test_the_indexes_of_shards_are_one_index_and_the_next_call_writes_it_as_one(folder: Path) -> None:
    update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm")], shard=(0, 2))
    update_index(folder, _SETTINGS, [IndexEntry("b", "b.dcm", failed="damaged")], shard=(1, 2))
    index = read_index(folder)
    assert index is not None
    assert [entry.stem for entry in index.entries] == ["a", "b"]
    assert not (folder / INDEX).exists()
    update_index(folder, _SETTINGS, [IndexEntry("c", "c.dcm")])
    assert [file.name for file in folder.glob("index*")] == [INDEX]
    merged = read_index(folder)
    assert merged is not None
    assert [entry.stem for entry in merged.entries] == ["a", "b", "c"]


def test_what_was_written_last_counts_where_the_number_of_shards_has_changed(folder: Path) -> None:
    update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm", failed="no memory")], shard=(1, 2))
    update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm")], shard=(0, 3))
    os.utime(folder / "index.shard-1-of-2.json", ns=(0, 0))
    index = read_index(folder)
    assert index is not None
    assert index.by_stem()["a"].failed == ""


def test_a_shard_with_other_settings_is_refused_and_leaves_nothing(folder: Path) -> None:
    update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm")], shard=(0, 2))
    with pytest.raises(InputError, match=r"another model than those of .*, expected the same model and options"):
        update_index(folder, {"model": "n"}, [IndexEntry("b", "b.dcm")], shard=(1, 2))
    assert [file.name for file in folder.glob("index*")] == ["index.shard-0-of-2.json"]


def test_a_users_file_in_the_place_of_a_shards_index_is_kept(folder: Path) -> None:
    (folder / "index.shard-0-of-2.json").write_text("notes")
    with pytest.raises(OutputError, match=r"index.shard-0-of-2.json was not made by microcalc, and is kept"):
        update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm")], shard=(0, 2))
    update_index(folder, _SETTINGS, [IndexEntry("a", "a.dcm")])
    assert (folder / "index.shard-0-of-2.json").read_text() == "notes"


def _time_of_a_change(folder: Path) -> int:
    (folder / "probe").write_text("")
    return (folder / "probe").stat().st_ctime_ns


def test_a_stamp_changes_with_the_content_and_there_is_none_without_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    assert stamp_of(file) == ""
    file.write_text("a")
    before = stamp_of(file)
    assert stamp_of(file) == before
    status = file.stat()
    wait_until(lambda: _time_of_a_change(tmp_path) > status.st_ctime_ns)  # a file system's clock may tick slowly
    file.write_text("b")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a program that keeps the time of a file
    assert stamp_of(file) != before
