import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from microcalc.errors import OutputError
from microcalc.storage.lock import locked
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


def _kill_while_writing(path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from microcalc.storage.write import writing\n"
        "with writing(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half of a long file')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_used_by_the_next_that_writes_the_file(tmp_path: Path) -> None:
    users = tmp_path / f".{'0f' * 8}.part.bin"
    users.write_bytes(b"theirs")
    _kill_while_writing(tmp_path / "a.bin")
    assert len(list(tmp_path.iterdir())) == 2
    write_whole(tmp_path / "a.bin", b"short")
    assert {p.name for p in tmp_path.iterdir()} == {"a.bin", users.name}
    assert (tmp_path / "a.bin").read_bytes() == b"short"
    assert users.read_bytes() == b"theirs"


def test_two_that_write_one_file_at_a_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    with writing(tmp_path / "a.bin") as first:
        with writing(tmp_path / "a.bin") as second:
            first.write_bytes(b"first")
            second.write_bytes(b"second")
        assert (tmp_path / "a.bin").read_bytes() == b"second"
        write_whole(tmp_path / "a.bin", b"third")
    assert (tmp_path / "a.bin").read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_file_that_was_finished_stays_when_its_writer_fails_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("microcalc.storage.write.sync_folder", full)
    with pytest.raises(OutputError):
        write_whole(tmp_path / "a.bin", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_where_there_are_no_locks_a_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    write_whole(tmp_path / "a.bin", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    message = rf"{tmp_path.name}: .lock cannot be written \(No locks available\)"
    with pytest.raises(OutputError, match=message), locked(tmp_path / ".lock"):
        pass


def test_where_a_lock_keeps_every_other_descriptor_out_as_on_an_smb_share_a_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """flock(2): on CIFS, any IO on a locked file from another descriptor fails with EACCES."""
    flock, write_bytes = fcntl.flock, Path.write_bytes
    held: set[int] = set()

    def recording(descriptor: int, operation: int) -> None:
        flock(descriptor, operation)
        held.add(descriptor)

    def is_locked(file: Path) -> bool:
        still_open = (descriptor for descriptor in held if Path(f"/proc/self/fd/{descriptor}").exists())
        return file.exists() and any(os.path.samestat(os.fstat(fd), file.stat()) for fd in still_open)

    def refused(file: Path, content: bytes) -> int:
        if is_locked(file):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return write_bytes(file, content)

    monkeypatch.setattr("fcntl.flock", recording)
    monkeypatch.setattr(Path, "write_bytes", refused)
    write_whole(tmp_path / "a.bin", b"whole")
    assert held
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"whole"


def test_a_name_that_its_last_writer_has_just_renamed_is_not_taken_for_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second writer opens the temporary file; before it has the lock, the first has renamed the file."""
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        (temporary,) = tmp_path.glob(".*.part.bin")
        temporary.write_bytes(b"first")
        temporary.rename(tmp_path / "a.bin")
        flock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", late)
    with writing(tmp_path / "a.bin") as second:
        assert (tmp_path / "a.bin").read_bytes() == b"first"
        second.write_bytes(b"second")
    assert (tmp_path / "a.bin").read_bytes() == b"second"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_no_descriptor_stays_open_where_the_temporary_name_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patched:
        patched.setattr("fcntl.flock", refuse)
        patched.setattr(Path, "unlink", refuse)
        before = len(list(Path("/proc/self/fd").iterdir()))
        write_whole(tmp_path / "a.bin", b"whole")
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    with writing(tmp_path / "a.bin") as temporary:
        name = temporary.name
        temporary.write_bytes(b"whole")
    (tmp_path / name).symlink_to(tmp_path / "theirs")
    write_whole(tmp_path / "a.bin", b"again")
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert (tmp_path / "a.bin").read_bytes() == b"again"
