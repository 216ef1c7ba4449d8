"""Every command and every Python line of README and documentation is valid, and runs on small images where it can."""

from __future__ import annotations

import contextlib
import csv
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cyclopts
import numpy as np
import pytest
from PIL import Image

from microcalc import cli
from microcalc.dicom.header import PROCESSED, AcquisitionHeader, ExposureHeader, ReceptorHeader
from microcalc.dicom.write import write_dicom
from microcalc.domain import Window

if TYPE_CHECKING:
    import nbformat

_ROOT: Final = Path(__file__).resolve().parents[1]
_NOT_READ: Final = ("results", "cards", "decisions", "command-line.md", "recipes.md")
_PAGES: Final = [
    _ROOT / "README.md",
    _ROOT / "CONTRIBUTING.md",
    *(p for p in sorted((_ROOT / "docs").rglob("*.md")) if not {*p.relative_to(_ROOT / "docs").parts} & {*_NOT_READ}),
]

_RECORDS: Final = [*sorted((_ROOT / "docs" / "decisions").glob("0*.md")), _ROOT / "benchmarks" / "README.md"]
"""Pages of which no command runs, since most ran once: figures of the past, and hours."""

_NOTEBOOK: Final = _ROOT / "docs" / "tutorials" / "notebook.ipynb"

_OTHER_PROGRAMS: Final = {
    "pip": "needs the network",
    "python3": "makes an environment",
    ".": "activates it",
    "OMP_NUM_THREADS=1": "runs tests",
    "make": "the continuous integration runs the targets",
    "python": "draws or measures for minutes",
    "sudo": "changes the machine",
    "curl": "tests/node talks to a PACS",
    "Orthanc": "tests/node starts it",
    "for": "tests/node sends images",
    "journalctl": "needs a service",
    "docker": "deploy/try-image builds and runs the images",
    "apptainer": "not among Debian's packages",
    "export": "sets variables for a batch system",
    "shards=$(sbatch": "needs Slurm; tests/test_deploy runs the script",
    "sbatch": "needs Slurm; tests/test_deploy runs the script",
    "kubectl": "needs Kubernetes; tests/test_deploy checks the jobs",
    "openssl": "is the outside tool; tests/execution/test_connection makes such a certificate",
    "dask": "tests/end_to_end starts a cluster",
}
"""Programs that the pages name and no test runs, with the reason."""

_PARSED_ONLY: Final = {
    "study": "minutes; tests/study runs the smoke scale",
    "train": "minutes; tests/training and tests/end_to_end train",
    "demo": "minutes; tests/end_to_end runs it",
    "realism": "needs real images",
    "roc": "needs a model of one's own",
    "simulate": "whole mammograms take a minute; tests/datasets makes small ones",
    "insert": "tests/datasets inserts; needs a breast of full size",
    "table": "needs the published images; tests/datasets reads them",
    "node": "runs until it is stopped; tests/node runs it",
    "view": "runs until it is stopped; tests/viewer runs it",
    "card": "needs a finished run",
    "operating-points": "minutes; tests/training measures them",
}
"""Commands of ours of which the options are checked and that do not run here, with the reason."""

_PAGES_PARSED_ONLY: Final = {
    "annotate-and-train.md": "an hour, and real images; tests/viewer, tests/training and tests/datasets do its steps",
    "pacs.md": "needs a PACS; tests/node runs the page's exchange",
    "results.md": "hours, and real images",
    "cluster.md": "needs several machines; tests/end_to_end runs shards and a cluster of this machine",
}
"""Pages of which the options are checked and no command runs, with the reason."""

_PYTHON_NOT_RUN: Final = {"simulate.md": "simulates eight whole images; tests/simulate makes one"}


@dataclass(frozen=True, slots=True)
class _Example:
    """A fenced block of a page."""

    page: Path
    language: str
    text: str
    line: int

    def commands(self) -> Iterator[str]:
        """Yield the command lines of a console block, with those that continue them."""
        joined = self.text.replace("\\\n", " ")
        yield from (line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ "))


def _examples(page: Path) -> list[_Example]:
    text = page.read_text(encoding="utf-8")
    blocks = re.finditer(r"^```([\w{}-]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [_Example(page, b[1], b[2], text.count("\n", 0, b.start()) + 1) for b in blocks]


def _own(command: str) -> list[str] | None:
    """Return the arguments of a command of ours, and None for another program's."""
    words = shlex.split(command, comments=True)
    if Path(words[0]).name != "microcalc":
        assert words[0] in _OTHER_PROGRAMS, f"{command}: of which no test knows"
        return None
    return [word for word in words[1:] if word != "&"]


def _run(arguments: list[str], page: str) -> None:
    """Run what is quick; of the rest, check that the command and its options exist."""
    needs_more = "--model" in arguments or "cuda" in arguments  # a model of one's own, a GPU
    if page in _PAGES_PARSED_ONLY or arguments[0] in _PARSED_ONLY or needs_more:
        cli.app.parse_args(arguments, exit_on_error=False, print_error=False)
        return
    files = [str(f) for word in arguments for f in (sorted(Path().glob(word)) if "*" in word else [word])]
    assert cli.run(files) == 0, " ".join(files)


@pytest.fixture(scope="module")
def named_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the files that the pages name."""
    folder = tmp_path_factory.mktemp("named")
    pixels = _breast()
    for name in (
        "MAMMOGRAM.dcm",
        "view.dcm",
        "mammograms/ge-1-00000/ge-1-00000-LCC-processed.dcm",
        "EXAM/a.dcm",
        "images/a.dcm",
    ):
        _write_mammogram(folder / name, pixels)
    Image.fromarray((pixels / 16).astype(np.uint8)).save(folder / "view.png")
    shutil.copy(folder / "view.png", folder / "PICTURE.png")
    for table in ("TABLE", "IMAGES"):
        _write_table(folder / table, folder / "view.png")
    (folder / "theirs.csv").write_text("image,row,column,likelihood\na1,300,150,0.9\n")
    return folder


@pytest.fixture
def folder(named_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with copies of the files that the pages name."""
    shutil.copytree(named_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _breast() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Half a disc of breast with a cluster of five specks."""
    rows, columns = np.mgrid[:600, :450]
    breast = np.hypot(rows - 300, columns) < 280
    pixels = np.where(breast, 2200 - columns + np.random.default_rng(1).normal(0, 30, breast.shape), 0)
    for row, column in ((290, 140), (300, 160), (312, 150), (305, 131), (288, 158)):
        pixels[row : row + 2, column : column + 2] += 700
    return pixels.clip(0, 4095).astype(np.uint16)


def _write_mammogram(file: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    header = AcquisitionHeader(
        manufacturer="GE MEDICAL SYSTEMS",
        model="Senographe Essential",
        software="1",
        intent="processed",
        laterality="L",
        view="CC",
        spacing_mm=(0.1, 0.1),
        stored=PROCESSED,
        receptor=ReceptorHeader("SCINTILLATOR", (0.1, 0.1)),
        exposure=ExposureHeader(29, 125, "RHODIUM", "RHODIUM", 0.025, 35, 90),
        patient_id="P",
        exam_id="E1",
        patient_name="",
        windows=(Window(2048, 4096),),
    )
    write_dicom(file, pixels, header=header)


def _write_table(folder: Path, picture: Path) -> None:
    folder.mkdir()
    shutil.copy(picture, folder / "a1.png")
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as handle:
        lines = csv.writer(handle)
        lines.writerow(["image", "file", "patient", "intent", "row_spacing_mm", "column_spacing_mm", "split"])
        lines.writerow(["a1", "a1.png", "P1", "processed", 0.1, 0.1, "test"])
    (folder / "annotations.csv").write_text(
        "image,row,column,kind,cluster\n"
        + "".join(f"a1,{r},{c},microcalcification,1\n" for r, c in ((290, 140), (300, 160), (312, 150)))
    )


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_every_command_of_a_page_runs_or_is_named_with_the_reason(page: Path, folder: Path) -> None:
    consoles = [e for e in _examples(page) if e.language == "console"]
    for command in (c for e in consoles for c in e.commands()):
        arguments = _own(command)
        if arguments is not None:
            _run(arguments, page.name)


def test_every_command_in_a_line_of_text_or_a_table_is_one_of_ours(folder: Path) -> None:
    for page in _PAGES:
        for command in re.findall(r"`(microcalc [a-z][^`]*)`", page.read_text(encoding="utf-8")):
            with contextlib.suppress(cyclopts.MissingArgumentError):  # a name in a sentence, such as `microcalc detect`
                cli.app.parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)


def test_every_command_of_a_decision_or_of_the_benchmarks_page_has_options_that_exist() -> None:
    for page in _RECORDS:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for command in re.findall(r"^\$ (microcalc .*)$|`(microcalc [a-z][^`]*)`", text, re.MULTILINE):
            with contextlib.suppress(cyclopts.MissingArgumentError):  # a name in a sentence
                words = shlex.split("".join(command), comments=True)[1:]
                cli.app.parse_args(words, exit_on_error=False, print_error=False)


def test_every_benchmark_that_a_page_names_is_there_with_its_options() -> None:
    for page in {*_PAGES, *_RECORDS}:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, options in re.findall(r"python -m benchmarks[. ]([a-z_]+)([^`\n]*)", text):
            source = (_ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
            for option in re.findall(r"--[a-z-]+", options):
                assert f'"{option}"' in source, f"{page.name}: python -m benchmarks.{name} {option}"


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_every_python_line_of_a_page_runs(page: Path, folder: Path) -> None:
    blocks = [e for e in _examples(page) if e.language == "python"]
    if page.name in _PYTHON_NOT_RUN:
        for block in blocks:
            compile(block.text, f"{page.name} line {block.line}", "exec")
        return
    import matplotlib  # takes a second
    from matplotlib import pyplot as plt

    matplotlib.use("Agg")
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile("\n" * block.line + block.text, page.name, "exec"), names)
    plt.close("all")


def test_every_block_of_a_page_says_its_language() -> None:
    for page in _PAGES:
        unnamed = [e.line for e in _examples(page) if not e.language]
        assert not unnamed, f"{page.name}: blocks without a language at lines {unnamed}"


@pytest.mark.filterwarnings("default")  # of the libraries that run a notebook
def test_the_notebook_runs_and_its_outputs_are_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rfc3987_syntax", None)  # jsonschema's, for addresses; takes two seconds to import
    import nbformat
    from nbclient import NotebookClient

    stored = nbformat.read(_NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    assert all(cell.outputs or "simulate.log" in cell.source for cell in _shown(stored))
    assert _NOTEBOOK.stat().st_size < 300_000
    (simulate,) = (cell for cell in stored.cells if "simulate.log" in cell.source)
    before, command = simulate.source.split("!{sys.executable} -m microcalc simulate ")
    _run(["simulate", *shlex.split(command.removesuffix(" > simulate.log 2>&1"))], _NOTEBOOK.name)
    simulate.source = before  # the small image of the same name is there
    NotebookClient(stored, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    assert (folder / "result.json").is_file()
    assert list((folder / "results").glob("*.sr.dcm"))


def _shown(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells that are meant to show something: those that end in an assertion do not."""
    return [c for c in notebook.cells if c.cell_type == "code" and "assert" not in c.source]
