from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cascade.cascades import random_cascade

from microcalc.cascade.cascade import Cascade, load_cascade, save_cascade
from microcalc.cascade.haar import Features
from microcalc.errors import InputError


@pytest.fixture
def cascade() -> Cascade:
    return random_cascade(np.random.default_rng(1), depth=2)


def _same(a: Cascade, b: Cascade) -> bool:
    parts = [(getattr(x, f.name), getattr(y, f.name)) for x, y in ((a.features, b.features),) for f in fields(Features)]
    parts += [(getattr(a, f.name), getattr(b, f.name)) for f in fields(Cascade) if f.name != "features"]
    return all(np.array_equal(x, y) and np.asarray(x).dtype == np.asarray(y).dtype for x, y in parts)


def test_a_cascade_saved_and_loaded_is_the_same(cascade: Cascade, tmp_path: Path) -> None:
    save_cascade(cascade, tmp_path / "c.npz")
    assert _same(load_cascade(tmp_path / "c.npz"), cascade)
    assert [f.name for f in tmp_path.iterdir()] == ["c.npz"]


def test_the_same_cascade_makes_the_same_bytes(cascade: Cascade, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_cascade(cascade, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_a_missing_file_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^c\.npz: no such file, expected a cascade$"):
        load_cascade(tmp_path / "c.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing more", b"\x80\x04K\x01."])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"^c\.npz: not a cascade [^\n]*$"):
        load_cascade(tmp_path / "c.npz")


def test_a_file_cut_short_is_refused(cascade: Cascade, tmp_path: Path) -> None:
    save_cascade(cascade, tmp_path / "c.npz")
    whole = (tmp_path / "c.npz").read_bytes()
    for size in (len(whole) // 3, len(whole) - 10):
        (tmp_path / "c.npz").write_bytes(whole[:size])
        with pytest.raises(InputError, match="not a cascade"):
            load_cascade(tmp_path / "c.npz")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    with (tmp_path / "c.npz").open("wb") as handle:
        np.savez(handle, schema=np.array([{"any": "object"}], dtype=object))
    with pytest.raises(InputError, match="not a cascade"):
        load_cascade(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"spacing_mm": 10.0}, "spacing_mm"),
        ({"threshold": np.zeros(5, dtype=np.int32)}, "threshold"),
        ({"threshold": np.zeros(27)}, "TypeError"),
        ({"vote": np.full((9, 4), np.nan, dtype=np.float32)}, "vote"),
        ({"vote": np.ones((9, 3), dtype=np.float32)}, "vote"),
        ({"vote": np.zeros((9, 4), dtype=np.float32)}, "do not vote"),
        ({"node_start": np.array([0, 5, 2, 9], dtype=np.int32)}, "node_start"),
        ({"node_start": np.array([0, 9], dtype=np.int32)}, "node_start"),
        ({"pass_score": np.full(3, np.nan, dtype=np.float32)}, "pass_score"),
    ],
)
def test_numbers_that_are_no_cascade_are_refused(
    cascade: Cascade, changes: dict[str, Any], names: str, tmp_path: Path
) -> None:
    save_cascade(replace(cascade, **changes), tmp_path / "c.npz")
    with pytest.raises(InputError, match=names):
        load_cascade(tmp_path / "c.npz")


@pytest.mark.parametrize("part", ["row", "column"])
@pytest.mark.parametrize("place", [-1, 14])
def test_a_corner_outside_the_window_is_refused(cascade: Cascade, part: str, place: int, tmp_path: Path) -> None:
    wrong = getattr(cascade.features, part).copy()
    wrong[3] = place
    save_cascade(replace(cascade, features=replace(cascade.features, **{part: wrong})), tmp_path / "c.npz")
    with pytest.raises(InputError, match=f"corner_{part}"):
        load_cascade(tmp_path / "c.npz")


def test_another_schema_is_named(tmp_path: Path) -> None:
    with (tmp_path / "c.npz").open("wb") as handle:
        np.savez(handle, schema=np.array("microcalc/cascade/9"))
    with pytest.raises(InputError, match="schema 'microcalc/cascade/9', expected 'microcalc/cascade/1'"):
        load_cascade(tmp_path / "c.npz")
