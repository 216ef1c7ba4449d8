"""Words that several rooms share: numbers agree with their nouns, and a file that cannot be read says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from microcalc.wording import grouped, listed, quantity, reading_fault


@pytest.mark.parametrize(
    ("number", "words", "expected"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("file or folder", "files or folders"), "1 file or folder"),
        (3, ("file or folder", "files or folders"), "3 files or folders"),
    ],
)
def test_a_number_agrees_with_its_noun(number: int, words: tuple[str, ...], expected: str) -> None:
    assert quantity(number, *words) == expected


def test_files_with_one_fault_are_one_message_in_the_place_of_the_first() -> None:
    messages = ["a.png: no intent", "the disk is full", "b.dcm: cut off", "c.png: no intent", "no such folder"]
    expected = ["2 files, the first a.png: no intent", "the disk is full", "b.dcm: cut off", "no such folder"]
    assert grouped(messages) == expected
    assert grouped([]) == []


def test_of_many_messages_the_first_are_listed_and_the_others_counted() -> None:
    assert listed(["a", "b"]) == "a; b"
    assert listed([str(number) for number in range(1000)]).endswith("; 18; 19; and 980 more")


def test_a_file_that_cannot_be_read_says_why_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    faults = []
    for name in ("missing.toml", ".", "latin.toml"):
        try:
            (tmp_path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(reading_fault(error))
    assert faults == ["no such file or directory", "is a directory", "not text in UTF-8"]
