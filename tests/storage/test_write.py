import errno
import os
from pathlib import Path

import pytest

from microcalc.errors import OutputError
from microcalc.storage.write import write_json, write_whole, writing


def test_a_file_is_written_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.bin", b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"content"


def test_a_block_that_raises_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")

    def fail() -> None:
        with writing(tmp_path / "a.bin") as temporary:
            temporary.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path: Path) -> None:
    name = "n" * 250 + ".json"
    write_json(tmp_path / name, {})
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_said_in_one_line_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"^{tmp_path.name}: n+….*too long") as caught:
        write_whole(tmp_path / ("n" * 300), b"")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_with_the_folder_and_the_file(tmp_path: Path) -> None:
    def fill() -> None:
        with writing(tmp_path / "a.bin"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=f"{tmp_path.name}: a.bin cannot be written .the disk is full."):
        fill()


def test_a_file_that_cannot_be_read_meanwhile_is_not_said_to_be_unwritable(tmp_path: Path) -> None:
    def read() -> None:
        with writing(tmp_path / "a.bin"):
            (tmp_path / "elsewhere" / "missing").read_bytes()

    with pytest.raises(FileNotFoundError):
        read()


def test_what_a_library_makes_of_a_full_disk_is_said_too(tmp_path: Path) -> None:
    words = r"a\.npy cannot be written \(the system took only a part of it\)"
    with pytest.raises(OutputError, match=words), writing(tmp_path / "a.npy"):
        raise OSError("512 requested and 0 written")  # numpy's
    assert list(tmp_path.iterdir()) == []
