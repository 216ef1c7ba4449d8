import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from microcalc.errors import InputError, OutputError
from microcalc.storage import ownership
from microcalc.storage.ownership import (
    MARK,
    check_not_input,
    check_output_folder,
    open_output_folder,
    output_folder,
    owner_of,
    write_editable,
)


def test_checking_makes_nothing(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "a" / "b", "detect")
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_an_empty_one_and_the_commands_own_are_taken(tmp_path: Path) -> None:
    for folder in (tmp_path / "a" / "b", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        open_output_folder(folder, "detect")
        (folder / "result").touch()
        open_output_folder(folder, "detect")
        assert owner_of(folder) == "detect"


def test_a_name_that_no_file_system_takes_is_refused_in_one_short_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^n{80}…: file name too long, expected a folder for the results$"):
        check_output_folder(tmp_path / ("n" * 300), "detect")


def test_anothers_results_are_refused_by_the_name_of_the_command(tmp_path: Path) -> None:
    open_output_folder(tmp_path / "run", "train")
    with pytest.raises(InputError, match="run: holds results of microcalc train, expected a new or empty folder"):
        check_output_folder(tmp_path / "run", "detect")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": "microcalc/folder/1"}', "\x00"])
def test_a_users_folder_is_refused_also_with_a_file_named_like_the_mark(tmp_path: Path, content: str) -> None:
    (tmp_path / MARK).write_text(content)
    with pytest.raises(InputError, match="holds files that microcalc detect did not make"):
        open_output_folder(tmp_path, "detect")
    assert (tmp_path / MARK).read_text() == content


def test_the_folder_of_an_input_is_refused(tmp_path: Path) -> None:
    (tmp_path / "view.png").touch()
    for source in (tmp_path, tmp_path / "view.png"):
        with pytest.raises(InputError, match="the folder of the input"):
            check_output_folder(tmp_path, "detect", inputs=[source])


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="file: a file, expected a folder"):
            check_output_folder(folder, "detect")


def test_an_output_is_never_an_input_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "soft.png").symlink_to("a.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "a.png")
    for name in ("a.png", "soft.png", "hard.png"):
        with pytest.raises(InputError, match="is an input and would be overwritten"):
            check_not_input(tmp_path / name, [tmp_path / "a.png"])
    check_not_input(tmp_path / "new.png", [tmp_path / "a.png"])


def test_a_table_that_was_edited_is_kept(tmp_path: Path) -> None:
    open_output_folder(tmp_path / "out", "simulate")
    file = tmp_path / "out" / "images.csv"
    write_editable(file, b"first")
    write_editable(file, b"second")
    assert file.read_bytes() == b"second"
    file.write_bytes(b"edited by hand")
    with pytest.raises(OutputError, match=r"out: images.csv was changed by hand"):
        write_editable(file, b"third")
    assert file.read_bytes() == b"edited by hand"


def test_a_table_that_we_did_not_write_is_kept(tmp_path: Path) -> None:
    open_output_folder(tmp_path / "out", "simulate")
    (tmp_path / "out" / "images.csv").write_bytes(b"theirs")
    with pytest.raises(OutputError, match="was changed by hand"):
        write_editable(tmp_path / "out" / "images.csv", b"ours")


@pytest.mark.parametrize("killed_at", range(6))
def test_a_kill_at_any_step_leaves_a_table_that_is_still_ours(
    tmp_path: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_output_folder(tmp_path / "out", "view")
    file = tmp_path / "out" / "images.csv"
    write_editable(file, b"first")
    steps = iter(range(100))

    def at_each_step(write: Callable[..., None]) -> Callable[..., None]:
        def one(*arguments: object) -> None:
            if next(steps) == killed_at:
                raise KeyboardInterrupt
            write(*arguments)

        return one

    with monkeypatch.context() as patched:
        for name in ("write_whole", "write_json"):
            patched.setattr(ownership, name, at_each_step(getattr(ownership, name)))
        with suppress(KeyboardInterrupt):
            write_editable(file, b"second")
            write_editable(file, b"third")
    write_editable(file, b"last")
    assert file.read_bytes() == b"last"
    file.write_bytes(b"edited by hand")
    with pytest.raises(OutputError, match="was changed by hand"):
        write_editable(file, b"more")


def test_a_table_as_it_was_written_may_be_written_again_after_a_kill_before_the_record(tmp_path: Path) -> None:
    open_output_folder(tmp_path / "out", "simulate")
    mark = (tmp_path / "out" / MARK).read_bytes()
    write_editable(tmp_path / "out" / "images.csv", b"content")
    (tmp_path / "out" / MARK).write_bytes(mark)
    write_editable(tmp_path / "out" / "images.csv", b"content")
    assert json.loads(mark)["command"] == "simulate"


def test_another_process_may_begin_in_the_folder_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f".{'0f' * 8}.part.json").touch()  # the other has not renamed its mark yet
    check_output_folder(out, "detect")
    listed = Path.iterdir

    def iterdir(folder: Path) -> Iterator[Path]:
        open_output_folder_of_the_other()
        return listed(folder)

    def open_output_folder_of_the_other() -> None:
        monkeypatch.setattr(Path, "iterdir", listed)
        open_output_folder(out, "detect")
        (out / "a.json").touch()

    monkeypatch.setattr(Path, "iterdir", iterdir)  # it marks the folder and writes while this one looks
    check_output_folder(out, "detect")


def test_a_folder_that_others_work_in_stays_when_one_fails(tmp_path: Path) -> None:
    with pytest.raises(InputError), output_folder(tmp_path / "out", "insert", is_shared=True):
        raise InputError("nothing was written")
    assert owner_of(tmp_path / "out") == "insert"
