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
