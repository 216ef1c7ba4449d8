from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from microcalc.errors import InputError, OutputError
from microcalc.storage.index import INDEX, Index, IndexEntry, counted, read_index, update_index
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
