from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cyclopts
import numpy as np
import pytest
from PIL import Image

from microcalc import __version__, cli
from microcalc.cli import log
from microcalc.cli.examples import EXAMPLES, flowing
from microcalc.cli.log import log_records_shown
from microcalc.cli.options import WhereItRuns
from microcalc.cli.output import PRINTING, print_error, print_line, print_more_faults
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import write_table
from microcalc.errors import MicrocalcError, OutputError
from microcalc.execution.executor import Processes, Serial
from microcalc.execution.progress import Progress, log_progress
from microcalc.models.model import shipped_model

_COMMANDS = (
    "detect",
    "train",
    "study",
    "simulate",
    "insert",
    "demo",
    "review",
    "evaluate",
    "roc",
    "card",
    "table",
    "show-report",
    "node",
    "realism",
    "info",
    "doctor",
    "view",
)


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([command, "--help"]) == 0
    assert "Usage: microcalc " + command in capsys.readouterr().out


def test_every_option_of_every_command_says_what_it_is() -> None:
    unsaid = [
        (*command, *argument.names)
        for command, app in _commands_below(cli.app)
        for argument in app.assemble_argument_collection(parse_docstring=True)
        if argument.show and not argument.parameter.help
    ]
    assert unsaid == []


def _commands_below(app: cyclopts.App, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], cyclopts.App]]:
    for name in app:
        if not name.startswith("-"):
            yield from _commands_below(app[name], (*names, name))
            if app[name].default_command is not None:
                yield (*names, name), app[name]


@pytest.mark.parametrize(("command", "text"), EXAMPLES.items())
def test_every_example_of_the_help_is_a_call_that_the_command_takes(command: str, text: str) -> None:
    calls = [line.strip() for line in text.splitlines()[1:]]
    assert all(len(line) <= 80 for line in text.splitlines())
    for call in calls:
        assert call.startswith("microcalc " if command == "microcalc" else f"microcalc {command} ") or call.endswith(
            command
        )
        cli.app.parse_args(shlex.split(call)[1:], exit_on_error=False)


def test_a_help_page_joins_the_lines_of_a_docstring() -> None:
    assert flowing("A\nb.\n\nP\n-\nx\n    c\n    d\ny\n    e") == "A b.\n\nP\n-\nx\n    c d\ny\n    e"


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_the_packages(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([flag]) == 0
    assert capsys.readouterr().out.strip() == __version__


def test_the_command_can_be_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "microcalc", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["detct"], 'Unknown command "detct"'),
        (["detect"], "FILES is missing (see"),
        (["detect", "a.dcm"], "--out is missing (see"),
        (["info", "nowhere/a.dcm"], "a.dcm: no such file or folder, expected a mammogram"),
        (["study", "--scale", "/nowhere/mine.toml", "--out", "o"], "no scale 'mine.toml', expected one of"),
        (["train", "--recipe", "/nowhere/mine.toml", "--data", "t", "--out", "o"], "no recipe 'mine.toml', expected"),
        (["detect", "a.dcm", "--out"], "--out needs a value (see"),
        (["detect", "a.dcm", "--out", "o", "--intend", "raw"], "Unknown option: --intend"),
        (["detect", "a.dcm", "--out", "o", "--intent", "log"], "'log', expected raw (for processing) or processed"),
        (["detect", "a.dcm", "--out", "o", "--laterality", "left"], "--laterality"),
        (["detect", "a.dcm", "--out", "o", "--pixel-spacing", "wide"], "--pixel-spacing"),
        (["detect", "a.dcm", "--out", "o", "--pixel-spacing", "0"], 'Invalid value "0.0" for --pixel-spacing'),
        (["detect", "a.dcm", "--out", "o", "--min-likelihood", "nan"], 'Invalid value "nan" for --min-likelihood'),
        (["detect", "a.dcm", "--out", "o", "--max-candidates", "0"], "Must be >= 1 (see microcalc detect --help)"),
        (["detect", "a.dcm", "--out", "o", "--threads", "-1"], 'Invalid value "-1" for --threads'),
        (["detect", "a.dcm", "--out", "o", "--model", "nowhere"], "nowhere: no such model, expected raw,"),
        (["simulate", "--out", "o", "--exams", "0"], 'Invalid value "0" for --exams'),
        (["simulate", "--out", "o", "--seed", "-1"], 'Invalid value "-1" for --seed'),
        (["insert", "t", "--out", "o", "--clusters", "-1"], 'Invalid value "-1" for --clusters'),
        (
            ["train", "--recipe", "raw", "--data", "t", "--out", "o", "--workers", "0"],
            'Invalid value "0" for --workers',
        ),
        (["detect", "a.dcm", "--out", "o", "--threads", str(10**20)], "for --threads. Must be <= 1024"),
        (["simulate", "--out", "o", "--workers", "5000"], "for --workers. Must be <= 1024"),
        (["roc", "--model", "m", "--truth", "t", "--out", "o", "--resamples", "1000000000"], "Must be <= 100000"),
        (["review", "t", "--out", "o", "--places", "0"], 'Invalid value "0" for --places'),
        (["evaluate", "d", "--truth", "t", "--out", "o", "--hit-mm", "0"], 'Invalid value "0.0" for --hit-mm'),
        (["table", "cdd-cesm", "nowhere", "--out", "o"], "nowhere: no images.csv"),
        (["detect", "a.dcm", "--out", "o", "--max-candidates", "1.5"], "'1.5', expected a whole number"),
        (["insert", "t", "--out", "o", "--singles", "1001"], "for --singles. Must be <= 1000"),
        (["simulate", "--out", "o", "--exams", str(10**25)], "for --exams. Must be <= 1000000"),
        (["insert", "t", "--out", "o", "--clusters", "1.5"], "for --clusters: '1.5', expected a whole number"),
        (["simulate", "--out", "o", "--seed", "2.0"], "for --seed: '2.0', expected a whole number"),
        (["roc", "--model", "m", "--truth", "t", "--out", "o", "--resamples", "1e3"], "'1e3', expected a whole number"),
        (["detect", "a.dcm", "--out", "o", "--workers", "1.5"], "for --workers: '1.5', expected a whole number"),
        (["view", "t", "--port", "0.5"], "for --port: '0.5', expected a whole number"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line_with_code_two(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("microcalc: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "LOOP", "--truth", "LOOP"],
        ["train", "--recipe", "raw", "--data", "LOOP"],
        ["operating-points", "raw", "--data", "LOOP"],
        ["study", "--scale", "smoke", "--data", "LOOP"],
        ["insert", "LOOP"],
        ["review", "LOOP"],
        ["detect", "LOOP"],
        ["roc", "--model", "raw", "--truth", "LOOP"],
        ["table", "masks", "LOOP"],
        ["table", "points", "LOOP", "--images", "LOOP"],
        ["table", "export", "LOOP", "--to", "csv"],
    ],
)
def test_a_link_that_leads_to_itself_is_said_in_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    given = [str(loop) if argument == "LOOP" else argument for argument in arguments]
    assert cli.run([*given, "--out", str(tmp_path / "out")]) == 2
    assert re.fullmatch(r"microcalc: loop: .*expected .*\n", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == [loop]


@pytest.mark.parametrize(
    "arguments",
    [
        ["detect", "a.dcm"],
        ["train", "--recipe", "raw", "--data", "t"],
        ["simulate"],
        ["insert", "t"],
        ["demo"],
        ["review", "t"],
        ["evaluate", "d", "--truth", "t"],
        ["roc", "--model", "m", "--truth", "t"],
        ["table", "cdd-cesm", "t"],
        ["table", "points", "p.csv", "--images", "t"],
        ["table", "coco", "c.json", "--images", "t"],
        ["table", "sr", "a.dcm", "--images", "t"],
        ["table", "export", "t", "--to", "sr"],
    ],
)
def test_a_file_where_the_results_should_go_is_said_before_the_work_begins(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").touch()
    for out in (tmp_path / "taken", tmp_path / "taken" / "o"):
        assert cli.run([*arguments, "--out", str(out)]) == 2
        assert capsys.readouterr().err == "microcalc: taken: a file, expected a folder for the results\n"


def test_images_are_never_inserted_over_the_table_that_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    _write_breast(tmp_path / "images" / "a.png")
    table = tmp_path / "t"
    table.mkdir()
    text = "image,file,intent,row_spacing_mm,column_spacing_mm\na,../images/a.png,processed,0.1,0.1\n"
    (table / "images.csv").write_text(text)
    for source in (table, table / "images.csv"):
        assert cli.run(["insert", str(source), "--out", str(table)]) == 2
        assert "t: the folder of the input, expected another folder" in capsys.readouterr().err
    assert (table / "images.csv").read_text() == text
    assert cli.run(["insert", str(table), "--out", str(tmp_path / "o"), "--clusters", "0"]) == 2
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("word", "intent"),
    [
        ("raw", "raw"),
        ("processing", "raw"),
        ("for-processing", "raw"),
        ("FOR PROCESSING", "raw"),
        ("processed", "processed"),
        ("presentation", "processed"),
        ("for-presentation", "processed"),
    ],
)
def test_an_intent_may_be_said_in_the_words_of_dicom(word: str, intent: str) -> None:
    _, bound, _ = cli.app.parse_args(["detect", "a.png", "--out", "o", "--intent", word])
    assert bound.arguments["intent"] == intent


def test_an_interruption_leaves_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run_raising(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == "microcalc: interrupted\n"


def test_an_error_of_ours_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run_raising(MicrocalcError("a.dcm: two\nlines"), monkeypatch) == 2
    assert capsys.readouterr().err == "microcalc: a.dcm: two lines\n"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run_raising(ModuleNotFoundError("No module named 'torch'", name="torch"), monkeypatch) == 2
    assert capsys.readouterr().err == "microcalc: torch is not installed, expected microcalc[train]\n"


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        _run_raising(ZeroDivisionError(), monkeypatch)
    with pytest.raises(ModuleNotFoundError):
        _run_raising(ModuleNotFoundError("No module named 'x'", name="x"), monkeypatch)


def test_a_full_disk_or_a_forbidden_folder_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run_raising(PermissionError(13, "Permission denied", "/home/someone/secret/out"), monkeypatch) == 2
    assert capsys.readouterr().err == "microcalc: out: permission denied, expected a file or folder that can be used\n"


def test_there_are_as_many_workers_as_cores_and_no_more_than_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microcalc.cli.options.core_count", lambda: 3)
    assert WhereItRuns().executor() == Processes(3)
    assert WhereItRuns().executor(items=2) == Processes(2)
    assert WhereItRuns(workers=5).executor() == Processes(5)
    assert isinstance(WhereItRuns().executor(items=1), Serial)


def test_a_reader_that_stops_reading_is_no_error() -> None:
    code = "import sys; from microcalc.cli import run; sys.exit(run(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == 1


def test_roc_takes_the_model_that_is_named_and_images_of_its_intent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = ImageRow("a", tmp_path / "a.png", "processed", (0.1, 0.1))
    write_table(Table((picture,)), tmp_path / "t")
    options = ["--truth", str(tmp_path / "t"), "--out", str(tmp_path / "o")]
    assert cli.run(["roc", "--model", str(tmp_path / "nowhere" / "raw"), *options]) == 2
    assert "raw: no such model" in capsys.readouterr().err
    assert cli.run(["roc", "--model", "raw", *options]) == 2
    assert "the table has no raw image" in capsys.readouterr().err


def test_several_files_go_on_past_a_bad_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, out = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "out"
    _write_breast(good)
    bad.write_bytes(good.read_bytes()[:200])
    options = ["--out", str(out), "--model", "log", "--pixel-spacing", "0.1", "--intent", "processed", "--workers", "1"]
    assert cli.run(["detect", str(bad), str(good), *options]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("good.png: ")
    assert captured.err.splitlines()[0].startswith("microcalc: bad.png: ")
    assert captured.err.splitlines()[1:] == ["microcalc: 1 of 2 files could not be used"]
    assert sorted(f.name for f in out.iterdir()) == [
        ".microcalc.json",
        "good.json",
        "good.png",
        "index.json",
        "summary.csv",
    ]
    assert cli.run(["detect", str(bad), *options]) == 2


def test_a_file_that_cannot_be_used_leaves_nothing_behind(tmp_path: Path) -> None:
    assert cli.run(["detect", str(tmp_path / "none.dcm"), "--model", "log", "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_used_is_said_once_whatever_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(tmp_path / name) for name in ("a.dcm", "b.dcm")]
    assert cli.run(["detect", *files, "--model", str(tmp_path / "m"), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def _write_breast(file: Path) -> None:
    rows, columns = np.mgrid[:500, :400]
    breast = np.hypot(rows - 250, columns) < 220
    noise = np.random.default_rng(1).normal(0, 4, breast.shape)
    pixels = np.where(breast, 140 - columns / 10 + noise, 0)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)


def _run_raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", SimpleNamespace(meta=fail))
    return cli.run(["detect"])


def test_detect_takes_a_table_with_what_it_says_of_pictures(tmp_path: Path) -> None:
    _write_breast(tmp_path / "a.png")
    write_table(Table((ImageRow("a", tmp_path / "a.png", "processed", (0.1, 0.1), split="test"),)), tmp_path)
    out = tmp_path / "out"
    options = ["--model", "log", "--threads", "1", "--out", str(out)]
    assert cli.run(["detect", str(tmp_path), "--split", "test", *options]) == 0
    assert json.loads((out / "a.json").read_text())["image"]["pixel_spacing_mm"] == [0.1, 0.1]
    assert cli.run(["detect", str(tmp_path), "--split", "train", *options]) == 2


@pytest.mark.parametrize("arguments", [["detect", "", "--out", "o"], ["detect", "a.dcm", "--out="]])
def test_an_empty_path_is_not_the_current_folder(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    assert "empty, perhaps from a shell variable that is not set" in capsys.readouterr().err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_command_whose_output_is_closed_does_its_work_and_ends_without_a_traceback(closed: str) -> None:
    command = f'"{sys.executable}" -m microcalc --version {closed}'
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert ended.stderr == ""


class _Full(io.StringIO):
    """Standard output on a full disk."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_under_standard_output_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", _Full())
    with pytest.raises(OutputError, match="standard output: No space left on device"):
        print_line("found")


def test_records_of_the_library_are_lines_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("microcalc.somewhere")
    with log_records_shown():
        for number in range(1, 501):  # all in a moment: no line
            log_progress(Progress("reading headers", number, 500, 1.0))
        monkeypatch.setattr(log, "LINE_INTERVAL_S", 0.0)
        log_progress(Progress("normalising images", 1, 500, 1.0))
        monkeypatch.setattr(log, "LINE_INTERVAL_S", 10.0)
        for number in range(2, 501):
            log_progress(Progress("normalising images", number, 500, 1.0))
        logger.info("the second stage begins")
        logger.warning("a.dcm: no view")
        logger.debug("hidden")
    logger.info("nobody listens")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "normalising images: 1 of 500, 1 s left",
        "normalising images: 500 of 500",
        "the second stage begins",
        "microcalc: a.dcm: no view",
    ]


def test_of_many_files_with_one_fault_the_first_are_named_and_the_others_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("microcalc.somewhere")
    with log_records_shown():
        for number in range(1000):
            logger.warning("%d.dcm: no such file", number)
            logger.warning("%d.dcm: no view, found %d", number, number % 500)
    print_more_faults()
    print_more_faults()  # counted anew
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "no such" in line] == [
        *(f"microcalc: {number}.dcm: no such file" for number in range(20)),
        "microcalc: 980 more files: no such file",
    ]
    assert len([line for line in lines if "no view" in line]) == 1000


def test_the_log_of_the_node_is_not_shown_a_second_time(capsys: pytest.CaptureFixture[str]) -> None:
    with log_records_shown():
        logging.getLogger("microcalc.node").warning("an image was refused")
    assert capsys.readouterr() == ("", "")


def test_quiet_prints_errors_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(PRINTING, "quiet", True)
    with log_records_shown():
        log_progress(Progress("normalising images", 2, 2, 0.0))
        logging.getLogger("microcalc").info("a remark")
    print_line("a line")
    print_error("an error")
    assert capsys.readouterr() == ("", "microcalc: an error\n")


def test_no_name_breaks_a_line_or_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("a\nb\x1b[2J\x9b\u2028.png")
    print_error("c\x1b[2J\udcff.png: damaged")
    out, err = capsys.readouterr()
    assert out == "a\\nb\\x1b[2J\\x9b\\u2028.png\n"
    assert err == "microcalc: c\\x1b[2J\\udcff.png: damaged\n"


def test_a_mammogram_is_described_without_detecting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_breast(tmp_path / "a.png")
    options = ["--pixel-spacing", "0.1", "--intent", "processed"]
    picture = tmp_path / "mask.png"
    assert cli.run(["info", str(tmp_path / "a.png"), *options, "--picture", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "a.png: accepted" in out
    assert "0.1 x 0.1 mm (--pixel-spacing)" in out
    with Image.open(picture) as drawn:
        assert (255, 150, 30) in {color for _, color in drawn.convert("RGB").getcolors(1 << 20) or ()}
    assert cli.run(["info", str(tmp_path / "a.png"), *options, "--picture", str(picture)]) == 0  # our own is replaced
    (tmp_path / "mine.png").write_bytes(b"mine")
    assert cli.run(["info", str(tmp_path / "a.png"), *options, "--picture", str(tmp_path / "mine.png")]) == 2
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_what_would_be_refused_is_said_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_breast(tmp_path / "a.png")
    assert cli.run(["info", str(tmp_path / "a.png"), str(tmp_path / "none.dcm"), "--json"]) == 1
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["refused"] == (
        "a.png: a picture has no pixel spacing and no intent, expected --pixel-spacing MM and --intent raw or processed"
        ", or a table of the images (see microcalc table)"
    )
    assert (first["rows"], first["columns"]) == (500, 400)
    assert second["refused"].startswith("none.dcm: no such file")


def test_the_doctor_finds_this_installation_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    checks = {check["check"]: check for check in map(json.loads, capsys.readouterr().out.splitlines())}
    assert checks["model raw"]["state"] == "ok"
    assert "CPUExecutionProvider" in checks["run-time engine"]["detail"]


def test_a_changed_model_is_a_broken_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = shipped_model("cascade")
    copy = shutil.copytree(shipped, tmp_path / "cascade")
    with (copy / "cascade.npz").open("ab") as file:
        file.write(b"1")
    monkeypatch.setattr("microcalc.models.model.shipped_model", lambda name: copy)
    assert cli.run(["doctor"]) == 1
    assert "cascade/cascade.npz was changed" in capsys.readouterr().out


def test_a_mistyped_judge_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_breast(tmp_path / "a.png")
    picture = ImageRow("a", tmp_path / "a.png", "processed", (0.1, 0.1))
    write_table(Table((picture,), (AnnotationRow("a", 1.0, 1.0, judge="inserted"),)), tmp_path / "t")
    (tmp_path / "marks.csv").write_text("image,row,column,likelihood\na,250,100,0.5\n")
    call = ["evaluate", str(tmp_path / "marks.csv"), "--truth", str(tmp_path / "t"), "--out", str(tmp_path / "o")]
    assert cli.run([*call, "--lesions-by", "insertd"]) == 2
    assert (
        "--lesions-by insertd: no annotation by this judge in the table, expected inserted" in capsys.readouterr().err
    )


def test_the_completion_of_the_shell_knows_commands_and_options() -> None:
    script = cli.app.generate_completion(shell="bash")
    assert "show-report" in script
    assert "--pixel-spacing" in script
