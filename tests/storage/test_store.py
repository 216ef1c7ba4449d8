from pathlib import Path

import pytest

from microcalc.storage.key import key_of
from microcalc.storage.store import Store


def test_a_result_is_made_once_and_found_again(tmp_path: Path) -> None:
    store, made = Store(tmp_path / "store", ".txt"), []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("result")

    key = key_of("x")
    assert not store.has(key)
    assert store.get(key, make) == store.get(key, make) == store.path(key)
    assert store.path(key).read_text() == "result"
    assert len(made) == 1


def test_a_result_whose_making_fails_is_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path, ".txt")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.get(key_of("x"), fail)
    assert not store.has(key_of("x"))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_clearing_removes_results_and_what_kills_left_of_them_and_no_other_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", ".bin")
    for key in ("ab12", "cd34"):
        store.get(key, Path.touch)
    (tmp_path / "store" / "ab" / f".{'0f' * 8}.part.bin").touch()
    theirs = tmp_path / "store" / "cd" / "notes.txt"
    theirs.touch()
    store.clear()
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [theirs]
    theirs.unlink()
    store.clear()
    assert list(tmp_path.iterdir()) == []
