from pathlib import Path

import pytest

from microcalc.storage import key
from microcalc.storage.key import code_version, file_sha256, key_of, key_of_lists


def test_keys_change_with_every_value_and_not_with_the_order_of_names() -> None:
    assert key_of({"a": 1, "b": [2.5]}) == key_of({"b": [2.5], "a": 1})
    assert len({key_of(v) for v in ({"a": 1}, {"a": 2}, {"a": 1.5}, {"b": 1}, ["a", 1])}) == 5


def test_a_files_key_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    first = file_sha256(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"2")
    assert file_sha256(tmp_path / "a") != first


def _code(tmp_path: Path, source: str) -> str:
    (tmp_path / "m.py").write_text(source)
    key._code_objects.cache_clear()
    key._code_sha256.cache_clear()
    return key._code_sha256(tmp_path / "m.py")


def test_code_that_does_another_thing_is_another_version(tmp_path: Path) -> None:
    first = _code(tmp_path, 'def f(a):\n    """Say."""\n    return a + 1\n')
    assert _code(tmp_path, "# reason\ndef f(a):\n    'Say otherwise.'\n    return (a + 1)\n") == first
    assert _code(tmp_path, 'def f(a):\n    """Say."""\n    return a + 2\n') != first


def test_the_version_holds_the_modules_that_are_imported_on_the_way() -> None:
    files = {file.name for file in key._imported_files(("microcalc.normalise.mammogram",)).values()}
    assert {"mammogram.py", "breast.py", "noise.py", "domain.py", "geometry.py"} <= files
    assert len(code_version("microcalc.normalise.mammogram")) == 64
    assert code_version("microcalc.normalise.mammogram") != code_version("microcalc.simulate.exam")


def test_a_module_that_does_not_exist_has_no_version() -> None:
    with pytest.raises(ModuleNotFoundError):
        code_version("microcalc.nothing")


def test_the_key_of_lists_is_that_of_their_list() -> None:
    several: list[list[list[object]]] = [[], [[]], [[1, "ä"], []], [[{"b": 1.5, "a": None}], [2], [[3]]]]
    for lists in several:
        assert key_of_lists(*(iter(elements) for elements in lists)) == key_of(lists)
