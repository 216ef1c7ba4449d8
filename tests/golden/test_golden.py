"""What is computed does not change by accident."""

from __future__ import annotations

import pytest
from tests.golden.remake import FOLDER, PARTS, SLOW, differences, remake, stored


@pytest.mark.parametrize("part", [part for part in PARTS if part not in SLOW])
def test_what_is_computed_is_what_the_golden_file_states(part: str) -> None:
    assert list(differences(remake(part), stored(part))) == []


def test_each_part_has_its_file() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(PARTS)


def test_a_missed_mark_another_likelihood_and_another_word_are_differences() -> None:
    golden = {"candidates": [[1.0, 2.0, 0.5], [3.0, 4.0, 0.25]], "name": "a"}
    assert list(differences({**golden, "candidates": golden["candidates"][:1]}, golden))
    assert list(differences({**golden, "candidates": [[1.0, 2.0, 0.502], [3.0, 4.0, 0.25]]}, golden))
    assert list(differences({**golden, "name": "b"}, golden))
    assert list(differences({"name": "a"}, golden))
    assert not list(differences({**golden, "candidates": [[1.0, 2.0, 0.5000001], [3.0, 4.0, 0.25]]}, golden))
