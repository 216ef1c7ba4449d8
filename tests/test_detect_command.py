"""``microcalc detect`` on what users have: copies, files of one name, folders in folders, bad files, second runs."""

from __future__ import annotations

import csv
import functools
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image

from microcalc import cli
from microcalc.batch import analyse
from microcalc.batch.inputs import GivenImages, Input
from microcalc.batch.options import DetectOptions, ImageOptions
from microcalc.batch.run import Batch
from microcalc.dicom.header import PROCESSED, AcquisitionHeader, ExposureHeader, ReceptorHeader, View
from microcalc.dicom.write import write_dicom
from microcalc.domain import Window
from microcalc.execution.executor import Processes
from microcalc.images.info import ImageInfo
from microcalc.storage.index import counted, read_index

_PICTURE = ("--pixel-spacing", "0.1", "--intent", "processed")


@functools.cache
def _breast(seed: int = 1) -> NDArray[np.float64]:
    """Half a disc of breast in grey levels of 8 bits, hardly more than the 5 cm2 that a breast needs."""
    rows, columns = np.mgrid[:420, :320]
    breast = np.hypot(rows - 210, columns) < 190
    noise = np.random.default_rng(seed).normal(0, 4, breast.shape)
    return np.where(breast, 140 - columns / 10 + noise, 0).clip(0, 255)


def _picture(file: Path, seed: int = 1) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_png(seed))
    return file


@functools.cache
def _png(seed: int) -> bytes:
    content = BytesIO()
    Image.fromarray(_breast(seed).astype(np.uint8)).save(content, "png")
    return content.getvalue()


def _dicom(
    file: Path,
    change: Callable[[pydicom.Dataset], object] | None = None,
    *,
    patient_id: str = "P",
    view: View = "CC",
) -> Path:
    """A processed mammogram; ``change`` is made to its header and pixels, and leaves its UID as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    header = AcquisitionHeader(
        manufacturer="GE MEDICAL SYSTEMS",
        model="Senographe Essential",
        software="1",
        intent="processed",
        laterality="L",
        view=view,
        spacing_mm=(0.1, 0.1),
        stored=PROCESSED,
        receptor=ReceptorHeader("SCINTILLATOR", (0.1, 0.1)),
        exposure=ExposureHeader(29, 125, "RHODIUM", "RHODIUM", 0.025, 35, 90),
        patient_id=patient_id,
        exam_id="E1",
        patient_name="SECRET^NAME",
        windows=(Window(2048, 4096),),
    )
    write_dicom(file, (_breast() * 16).astype(np.uint16), header=header)
    if change is not None:
        dataset = pydicom.dcmread(file)
        change(dataset)
        dataset.save_as(file)
    return file


def _detect(*arguments: object) -> int:
    return cli.run(["detect", *map(str, arguments), "--model", "log", "--threads", "1", "--workers", "1"])


def _tree(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _stems(out: Path) -> list[str]:
    return [file.stem for file in counted(out) or ()]


def test_files_of_one_name_are_all_detected_in_and_keep_their_stems(tmp_path: Path) -> None:
    for patient in ("P1", "P2"):
        _dicom(tmp_path / "d" / patient / "LCC" / "1-1.dcm", patient_id=patient)
    out = tmp_path / "out"
    assert _detect(tmp_path / "d", "--out", out) == 0
    index = read_index(out)
    assert index is not None
    assert sorted(entry.file for entry in index.entries) == ["P1/LCC/1-1.dcm", "P2/LCC/1-1.dcm"]
    before = _stems(out)
    assert len(before) == 2
    assert _detect(tmp_path / "d" / "P2" / "LCC" / "1-1.dcm", "--out", out) == 0
    assert _stems(out) == before


def test_a_copy_and_the_same_uid_with_other_pixels_are_named_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _dicom(tmp_path / "d" / "a.dcm")
    shutil.copy(first, tmp_path / "d" / "b.dcm")
    _dicom(tmp_path / "d" / "c.dcm", lambda d: setattr(d, "PixelData", bytes(len(d.PixelData))))
    _dicom(tmp_path / "d" / "z.dcm", patient_id="other")
    assert _detect(tmp_path / "d", tmp_path / "d" / "a.dcm", "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "b.dcm: a copy of a.dcm, expected each image once; used once" in said
    assert "c.dcm: the SOP Instance UID of a.dcm with other content" in said
    assert "a.dcm: given twice" in said
    assert _stems(tmp_path / "out") == ["a", "z"]


def test_an_empty_folder_and_a_missing_file_beside_a_good_one_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    good = _picture(tmp_path / "good.png")
    long = tmp_path / ("n" * 300 + ".png")
    assert _detect(tmp_path / "empty", tmp_path / "none.png", long, good, "--out", tmp_path / "out", *_PICTURE) == 1
    lines = capsys.readouterr().err.splitlines()
    starts = ("empty: no images in this folder", "none.png: no such file", "nnn")
    assert all(any(line.startswith(f"microcalc: {start}") for line in lines) for start in starts)
    assert lines[-1] == "microcalc: 3 of 4 files could not be used"
    assert _stems(tmp_path / "out") == ["good"]


def test_a_name_as_long_as_the_file_system_allows_is_detected_in(tmp_path: Path) -> None:
    file = _picture(tmp_path / ("n" * 245 + ".png"))
    assert _detect(file, "--out", tmp_path / "out", *_PICTURE) == 0
    assert len(_stems(tmp_path / "out")) == 1


def test_a_name_that_is_no_text_is_detected_in(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    good = _picture(tmp_path / "d" / "a.png")
    shutil.copy(good, Path(str(tmp_path / "d" / "b\udcff\nb.png")))
    assert _detect(tmp_path / "d", "--out", tmp_path / "out", *_PICTURE) == 1  # a copy
    good.unlink()
    assert _detect(tmp_path / "d", "--out", tmp_path / "out", *_PICTURE) == 0


@pytest.mark.parametrize(
    "call", [["detect", "IN", "--out", "OUT"], ["review", "IN", "--out", "OUT"], ["view", "IN", "--no-browser"]]
)
def test_pictures_that_lack_the_same_are_one_line_before_any_work(
    tmp_path: Path, call: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        _picture(tmp_path / "d" / f"{number:02}.png", number)
    paths = {"IN": str(tmp_path / "d"), "OUT": str(tmp_path / "out")}
    assert cli.run([*(paths.get(word, word) for word in call), "--intent", "processed"]) == 2
    assert capsys.readouterr().err == (
        "microcalc: 12 files, the first 00.png: a picture has no pixel spacing, expected --pixel-spacing MM, "
        "or a table of the images (see microcalc table)\n"
    )
    assert not (tmp_path / "out").exists()


def test_beside_pictures_that_lack_something_the_others_go_on_and_each_picture_is_in_the_summary_and_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = [_picture(tmp_path / f"{number}.png", number) for number in range(3)]
    files = [_dicom(tmp_path / "a.dcm"), *pictures]
    assert _detect(*files, "--out", tmp_path / "out", "--json") == 1
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("microcalc: ")]
    assert [line.partition(": a picture has no pixel spacing and no intent")[0] for line in errors] == [
        "microcalc: 3 files, the first 0.png", "microcalc: 3 of 4 files could not be used"
    ]  # fmt: skip
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8") as file:
        rows = [(row["image"], bool(row["error"])) for row in csv.DictReader(file)]
    lines = [json.loads(line) for line in printed.out.splitlines()]
    everyone = [("a.dcm", False), *((picture.name, True) for picture in pictures)]
    assert sorted(rows) == sorted(everyone)
    assert sorted((line["image"], bool(line["error"])) for line in lines) == sorted(everyone)


def test_a_device_that_is_not_there_is_refused_before_earlier_results_are_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = _picture(tmp_path / "a.png"), tmp_path / "out"
    assert _detect(file, "--out", out, *_PICTURE) == 0
    before = _tree(out)
    capsys.readouterr()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cli.run(["detect", str(file), "--out", str(out), *_PICTURE, "--device", "cuda", "--workers", "1"]) == 2
    assert capsys.readouterr().err.startswith("microcalc: --device cuda: no CUDA device, expected a GPU")
    assert _tree(out) == before


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [_folder, lambda file: file.write_text("mine")], ids=["unreadable", "a user's"])
def test_an_index_that_cannot_be_read_is_refused_before_results_are_removed(
    tmp_path: Path, spoil: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = _picture(tmp_path / "a.png"), tmp_path / "out"
    assert _detect(file, "--out", out, *_PICTURE) == 0
    spoil(out / "index.json")
    before = _tree(out)
    capsys.readouterr()
    assert _detect(file, "--out", out, *_PICTURE, "--again") == 2
    assert re.fullmatch(r"microcalc: out.*index\.json.*, .*expected an? .*\n", capsys.readouterr().err)
    assert _tree(out) == before


def test_a_folder_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", refuse)
        assert _detect(tmp_path / "locked", "--out", tmp_path / "out", *_PICTURE) == 2
    assert capsys.readouterr().err == "microcalc: locked: Permission denied, expected a folder to read\n"


def test_an_image_that_fails_in_a_second_run_no_longer_counts(tmp_path: Path) -> None:
    files, out = [_picture(tmp_path / f"{n}.png", n) for n in (1, 2)], tmp_path / "out"
    assert _detect(*files, "--out", out, *_PICTURE) == 0
    assert _stems(out) == ["1", "2"]
    files[0].write_bytes(files[0].read_bytes()[:300])
    assert _detect(*files, "--out", out, *_PICTURE) == 1
    assert _stems(out) == ["2"]


def test_a_dicom_image_that_fails_in_a_second_run_takes_its_results_and_reports_with_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = [_dicom(tmp_path / "a.dcm", view="CC"), _dicom(tmp_path / "b.dcm", view="MLO")]
    assert _detect(*files, "--out", out, "--report", "sr") == 0
    assert (out / "a.sr.dcm").is_file()
    _dicom(files[1], lambda d: setattr(d, "PixelData", d.PixelData[:100]), view="MLO")
    assert _detect(files[1], "--out", out) == 2
    assert _stems(out) == ["a"]
    assert sorted(f.name for f in out.iterdir()) == [".microcalc.json", "a.json", "a.png", "index.json", "summary.csv"]


def test_results_of_other_images_stay_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _detect(_picture(tmp_path / "1.png", 1), "--out", out, *_PICTURE) == 0
    assert _detect(_picture(tmp_path / "2.png", 2), "--out", out, *_PICTURE) == 0
    assert "out: also holds results of 1 other image" in capsys.readouterr().out
    assert _stems(out) == ["1", "2"]
    assert _detect(_picture(tmp_path / "x" / "1.png", 3), "--out", out, *_PICTURE) == 0
    assert len(_stems(out)) == 3  # another image of that name does not take its place


@pytest.mark.parametrize("other", [("--whole-image",), ("--min-likelihood", "0.9"), ("--max-candidates", "3")])
def test_results_of_other_settings_never_stay_beside_new_ones(
    tmp_path: Path, other: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    files, out = [_picture(tmp_path / f"{n}.png", n) for n in (1, 2)], tmp_path / "out"
    assert _detect(*files, "--out", out, *_PICTURE) == 0
    before = _tree(out)
    assert _detect(files[0], "--out", out, *_PICTURE, *other) == 2
    assert "for 1 image not in this call, expected a new folder" in capsys.readouterr().err
    assert cli.run(["detect", str(files[0]), "--out", str(out), *_PICTURE, "--model", "processed"]) == 2
    assert "out: holds results of another model for 1 image" in capsys.readouterr().err
    assert _tree(out) == before
    assert _detect(*files, "--out", out, *_PICTURE, *other) == 0
    assert "finished before" not in capsys.readouterr().out
    assert _stems(out) == ["1", "2"]
    assert {name for name, sha in _tree(out).items() if before.get(name) != sha} >= {"1.json", "index.json"}


def test_an_image_that_failed_under_other_settings_is_forgotten(tmp_path: Path) -> None:
    good, bad, out = _picture(tmp_path / "1.png"), tmp_path / "2.png", tmp_path / "out"
    bad.write_bytes(good.read_bytes()[:300])
    assert _detect(good, bad, "--out", out, *_PICTURE) == 1
    assert _detect(good, "--out", out, *_PICTURE, "--max-candidates", "3") == 0
    index = read_index(out)
    assert index is not None
    assert [entry.stem for entry in index.entries] == ["1"]


def test_the_limit_on_candidates_says_when_it_binds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _picture(tmp_path / "1.png")
    limit = "more candidates than may be listed (--max-candidates), the least likely left out"
    assert _detect(file, "--out", tmp_path / "few", *_PICTURE, "--max-candidates", "3") == 0
    assert limit in capsys.readouterr().out
    assert _detect(file, "--out", tmp_path / "all", *_PICTURE, "--max-candidates", "5000") == 0
    assert limit not in capsys.readouterr().out


def test_what_is_finished_is_skipped_unless_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, out = [_picture(tmp_path / f"{n}.png", n) for n in (1, 2)], tmp_path / "out"
    assert _detect(files[0], "--out", out, *_PICTURE) == 0
    before = (out / "1.json").stat().st_mtime_ns
    assert _detect(*files, "--out", out, *_PICTURE) == 0
    said = capsys.readouterr().out
    assert "1.png: 0 findings" in said
    assert "results of 2 images, 0 with findings; 1 finished before (--again repeats them)" in said
    assert (out / "1.json").stat().st_mtime_ns == before
    assert _detect(*files, "--out", out, *_PICTURE, "--again") == 0
    assert "finished before" not in capsys.readouterr().out
    assert (out / "1.json").stat().st_mtime_ns > before


def _changed_bytes(file: Path, out: Path) -> tuple[str, ...]:
    _picture(file, 7)
    return ()


def _other_spacing(file: Path, out: Path) -> tuple[str, ...]:
    return ("--pixel-spacing", "0.11")


def _result_removed(file: Path, out: Path) -> tuple[str, ...]:
    (out / "1.json").unlink()
    return ()


def _overlay_removed(file: Path, out: Path) -> tuple[str, ...]:
    (out / "1.png").unlink()
    return ()


@pytest.mark.parametrize("change", [_changed_bytes, _other_spacing, _result_removed, _overlay_removed])
def test_an_image_whose_result_would_differ_is_not_finished(
    tmp_path: Path, change: Callable[[Path, Path], tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = _picture(tmp_path / "1.png"), tmp_path / "out"
    assert _detect(file, "--out", out, *_PICTURE) == 0
    options = change(file, out) or _PICTURE[:2]
    assert _detect(file, "--out", out, *_PICTURE[2:], *options) == 0
    assert "finished before" not in capsys.readouterr().out
    assert _stems(out) == ["1"]


def test_reports_are_written_about_finished_images_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = [_dicom(tmp_path / "a.dcm", view="CC"), _dicom(tmp_path / "b.dcm", view="MLO")]
    assert _detect(*files, "--out", out, "--report", "sr", "--report-per", "image") == 0
    before = (out / "a.json").stat().st_mtime_ns
    assert _detect(*files, "--out", out, "--report", "sr") == 0
    assert (out / "a.json").stat().st_mtime_ns == before
    assert [file.name for file in sorted(out.glob("*.dcm"))] == ["a.sr.dcm"]


def test_results_are_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for n in range(3):
        _picture(folder / f"{n}.png", n)
    (folder / "bad.png").write_bytes((folder / "0.png").read_bytes()[:200])
    trees = []
    for workers in ("1", "3"):
        out = tmp_path / workers
        words = ["detect", str(folder), "--model", "log", *_PICTURE, "--workers", workers, "--out", str(out)]
        assert cli.run(words) == 1
        for file in (*out.glob("[0-9].json"), out / "summary.csv"):
            file.write_text(re.sub(r'"seconds": .*|,[0-9.]+(?=,,)', "", file.read_text(), flags=re.MULTILINE))
        trees.append(_tree(out))
        trees[-1].pop(".microcalc.json")  # it holds the hash of summary.csv, and so the seconds
    assert trees[0] == trees[1]


def test_a_worker_that_dies_costs_its_image_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microcalc.execution.executor._DEATHS_ALONE", 1)  # each costs a new process
    given = GivenImages(
        tuple(Input(_picture(tmp_path / f"{n}.png", n), f"{n}.png") for n in range(3)), (None, None, None)
    )
    info = ImageInfo((0.1, 0.1), "processed")
    batch = Batch(
        given, tmp_path / "out", [], DetectOptions(model="log", image=ImageOptions(info)), executor=Processes(2)
    )
    batch.begin()
    monster = batch.images[1]
    monster.image = Monster(monster.image.file, monster.image.name)
    failed = [image.stem for image in batch.detect() if image.error is not None]
    batch.close()
    assert failed == ["1"]
    assert str(monster.error).startswith("1.png: its worker process died")
    assert _stems(tmp_path / "out") == ["0", "2"]


class Monster(Input):
    """An image that kills the worker that opens it."""

    def __getattribute__(self, name: str) -> Any:
        if name == "row" and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getattribute__(name)


def test_a_summary_lists_every_image_and_is_never_written_over_a_users_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, out = _picture(tmp_path / "1.png"), tmp_path / "2.png", tmp_path / "out"
    bad.write_bytes(good.read_bytes()[:300])
    assert _detect(good, bad, tmp_path / "none.png", "--out", out, *_PICTURE) == 1
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["result"], bool(row["error"])) for row in rows] == [
        ("1.png", "1.json", False),
        ("2.png", "", True),
        ("none.png", "", True),
    ]
    document = json.loads((out / "1.json").read_text())
    assert float(rows[0]["breast_area_cm2"]) == document["breast_area_cm2"]
    assert int(rows[0]["findings"]) == sum(cluster["finding"] for cluster in document["clusters"])
    with (out / "summary.csv").open("a") as file:
        file.write("mine\n")
    before = _tree(out)
    assert _detect(good, "--out", out, *_PICTURE) == 2
    assert "summary.csv was changed by hand, and is kept" in capsys.readouterr().err
    assert _tree(out) == before


def test_json_is_one_object_for_each_image_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = _picture(tmp_path / "1.png"), tmp_path / "2.png"
    bad.write_bytes(good.read_bytes()[:300])
    assert _detect(good, bad, "--out", tmp_path / "out", *_PICTURE, "--json") == 1
    out, err = capsys.readouterr()
    first, second = map(json.loads, out.splitlines())
    assert (first["image"], first["result"], first["findings"]) == ("1.png", "1.json", 0)
    assert second["error"].startswith("2.png: ")
    assert "1.png: 0 findings" in err
    assert _detect(good, "--out", tmp_path / "out2", *_PICTURE, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["1.png", "1.json", "index.json"])
def test_a_users_file_in_our_folder_stays(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _detect(_picture(tmp_path / "2.png", 2), "--out", out, *_PICTURE) == 0
    (out / name).write_text("mine")
    assert _detect(_picture(tmp_path / "1.png"), "--out", out, *_PICTURE) == 2
    assert f"out: {name} was not made by microcalc, and is kept" in capsys.readouterr().err
    assert (out / name).read_text() == "mine"


def test_a_second_run_on_the_folder_of_the_results_takes_none_of_them_for_an_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "d"
    _dicom(folder / "a.dcm")
    assert _detect(folder, "--out", folder / "results", "--report", "sr", "--report", "gsps") == 0
    assert _detect(folder, "--out", folder / "results") == 0
    assert _stems(folder / "results") == ["a"]
    capsys.readouterr()
    assert _detect(folder / "results", "--out", tmp_path / "other") == 2
    assert "results: only results of microcalc in this folder" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError("SECRET"), MemoryError()])
def test_a_fault_in_one_image_is_named_and_the_others_go_on(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    detect_in = analyse.detect_in

    def faulty(file: Path, *arguments: Any, **options: Any) -> analyse.DetectedFile:
        if file.name == "1.png":
            raise error
        return detect_in(file, *arguments, **options)

    monkeypatch.setattr(analyse, "detect_in", faulty)
    files = [_picture(tmp_path / f"{n}.png", n) for n in (1, 2)]
    assert _detect(*files, "--out", tmp_path / "out", *_PICTURE) == 1
    said = capsys.readouterr().err
    assert said.startswith("microcalc: 1.png: ")
    assert "SECRET" not in said
    assert _stems(tmp_path / "out") == ["2"]


def test_an_interruption_leaves_whole_files_and_no_stale_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, out = [_picture(tmp_path / f"{n}.png", n) for n in (1, 2)], tmp_path / "out"
    assert _detect(*files, "--out", out, *_PICTURE) == 0
    detect_in = analyse.detect_in

    def interrupted(file: Path, *arguments: Any, **options: Any) -> analyse.DetectedFile:
        if file.name == "2.png":
            raise KeyboardInterrupt
        return detect_in(file, *arguments, **options)

    monkeypatch.setattr(analyse, "detect_in", interrupted)
    assert _detect(*files, "--out", out, *_PICTURE, "--again") == 130
    assert capsys.readouterr().err == "microcalc: interrupted\n"
    assert _stems(out) == ["1"]
    assert sorted(f.name for f in out.iterdir()) == [".microcalc.json", "1.json", "1.png", "index.json", "summary.csv"]


@pytest.mark.parametrize(
    "option",
    [
        ("--pixel-spacing", "0.1"), ("--intent", "processed"), ("--view", "CC"), ("--laterality", "L"),
        ("--system", "X"), ("--split", "test"), ("--report-per", "image"), ("--codes", "srt"),
        ("--codes", "srt", "--report", "gsps"),
    ],
)  # fmt: skip
def test_an_option_without_effect_on_a_dicom_file_is_refused(
    tmp_path: Path, option: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _detect(_dicom(tmp_path / "a.dcm"), "--out", tmp_path / "out", *option) == 2
    assert option[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option", [("--pixel-spacing", "0.1"), ("--intent", "processed"), ("--view", "CC"), ("--any-view",)]
)
def test_an_option_without_effect_on_a_table_is_refused(
    tmp_path: Path, option: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    _table(tmp_path, "0.1,0.1")
    assert _detect(tmp_path, "--out", tmp_path / "out", *option) == 2
    assert option[0] in capsys.readouterr().err


@pytest.mark.parametrize("report", ["sr", "gsps"])
def test_a_report_of_pictures_alone_is_refused_before_any_work(
    tmp_path: Path, report: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _detect(_picture(tmp_path / "a.png"), "--out", tmp_path / "out", *_PICTURE, "--report", report) == 2
    assert "--report: pictures alone" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("report", ["tid1500", "seg"])
def test_a_missing_extra_is_said_before_any_work(
    tmp_path: Path, report: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("microcalc.extras.find_spec", lambda name: None)
    assert _detect(_dicom(tmp_path / "a.dcm"), "--out", tmp_path / "out", "--report", report) == 2
    assert capsys.readouterr().err == "microcalc: highdicom is not installed, expected microcalc[report]\n"
    assert not (tmp_path / "out").exists()


def test_what_a_header_lacks_can_be_said_and_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _dicom(tmp_path / "a.dcm", lambda d: (d.pop("ViewPosition"), d.pop("ViewCodeSequence")))
    assert _detect(file, _dicom(tmp_path / "b.dcm", patient_id="2"), "--out", tmp_path / "out", "--view", "MLO") == 0
    said = capsys.readouterr().out
    assert "--view is used for 1 of 2 images; the others state it themselves" in said
    assert "a.dcm: the header has no view, using MLO" in said
    assert json.loads((tmp_path / "out" / "a.json").read_text())["image"]["view"] == "MLO"
    assert json.loads((tmp_path / "out" / "b.json").read_text())["image"]["view"] == "CC"


def test_an_image_whose_header_has_no_spacing_is_reported_with_the_one_that_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _dicom(tmp_path / "a.dcm", lambda d: d.pop("ImagerPixelSpacing"))
    kinds = [word for kind in ("sr", "tid1500", "gsps", "seg") for word in ("--report", kind)]
    assert _detect(file, "--out", tmp_path / "out", "--pixel-spacing", "0.1", *kinds) == 0
    said = capsys.readouterr().out
    assert "a.dcm: the header has no pixel spacing, using 0.1" in said
    assert "report: a.sr.dcm" in said
    assert "report: a.tid1500.dcm" in said


def test_text_in_the_pixels_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _dicom(tmp_path / "a.dcm", lambda d: setattr(d, "BurnedInAnnotation", "YES"))
    assert _detect(file, "--out", tmp_path / "out") == 0
    assert "a.dcm: text is burned into its pixels" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "a.json").read_text())["image"]["burned_in"] is True


def test_a_table_is_held_against_its_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _table(tmp_path, "0.1,0.05")
    assert _detect(tmp_path, "--out", tmp_path / "out") == 2
    assert (
        "a.png: pixel spacing 0.1 x 0.05 mm, expected 0.02 to 0.2, the same in rows and columns"
        in capsys.readouterr().err
    )


def test_an_images_csv_that_is_no_table_is_named_and_its_images_are_not_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _picture(tmp_path / "d" / "sub" / "a.png")
    (tmp_path / "d" / "sub" / "images.csv").write_text("name;kind\n1;2\n")
    good = _picture(tmp_path / "good.png", 2)
    assert _detect(tmp_path / "d", good, "--out", tmp_path / "out", *_PICTURE) == 1
    assert "images.csv" in capsys.readouterr().err
    assert _stems(tmp_path / "out") == ["good"]


def _table(folder: Path, spacing: str) -> None:
    _picture(folder / "a.png")
    (folder / "images.csv").write_text(
        f"image,file,intent,row_spacing_mm,column_spacing_mm\na,a.png,processed,{spacing}\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["simulate", "--verify", "--intent", "raw"], ["simulate", "--verify", "--exams", "1"],
        ["simulate", "--verify", "--dose", "1"], ["simulate", "--out", "o", "--quick"],
        ["review", "IN", "--out", "o", "--take", "t.csv", "--places", "3"],
        ["review", "IN", "--out", "o", "--take", "t.csv", "--model", "log"],
        ["review", "IN", "--out", "o", "--intent", "processed"],
        ["review", "IN", "--out", "o", "--pixel-spacing", "0.1"],
        ["detect", "IN", "--out", "o", "--model", "log", "--stage", "cnn1"],
        ["evaluate", "IN", "--truth", "IN", "--out", "o", "--false-marks", "reviewed", "--count-ignored"],
    ],
)  # fmt: skip
def test_an_option_without_effect_is_refused_by_every_command(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _table(tmp_path / "IN", "0.1,0.1")
    monkeypatch.chdir(tmp_path)
    assert cli.run(words) == 2
    assert words[-2 if not words[-1].startswith("--") else -1] in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["IN"]


def test_a_review_takes_no_picture_of_its_own_for_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "IN"
    _picture(folder / "sub" / "a.png")
    (folder / "empty.png").touch()
    words = ["review", str(folder), "--out", str(folder / "review"), "--model", "log", *_PICTURE]
    assert cli.run(words) == 1
    assert "empty.png: " in capsys.readouterr().err
    assert cli.run(words) == 1
    assert (folder / "review" / "round-02" / "verdicts.csv").is_file()
    assert "60 places in 1 image" in capsys.readouterr().out


def test_a_pipe_a_socket_and_a_dead_link_are_named_and_waited_for_by_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    _picture(folder / "good.png")
    os.mkfifo(folder / "pipe.dcm")
    (folder / "dead.png").symlink_to("nowhere.png")
    (folder / "device.dcm").symlink_to("/dev/zero")
    given = [folder, folder / "pipe.dcm"]
    assert cli.run(["detect", *map(str, given), *_PICTURE, "--out", str(tmp_path / "out")]) == 1
    said, errors = capsys.readouterr()
    assert "skipped: 1 file" in said
    assert "good.png: " in said
    assert "pipe.dcm: a pipe, socket or device" in errors
    assert "device.dcm: a pipe, socket or device" in errors
    assert "dead.png: a link to a missing file" in errors
    assert cli.run(["show-report", str(folder / "pipe.dcm")]) == 2


def test_a_name_of_two_lines_is_said_in_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = _picture(tmp_path / "in/a\nb\x1b[2J.png")
    assert cli.run(["detect", str(image), *_PICTURE, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 3
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("name", "said"), [("DICOMDIR", "expected the folder that holds it"), ("cd.ZIP", "expected the unpacked files")]
)
def test_a_list_of_images_and_an_archive_are_named_for_what_they_are(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"PK\3\4")
    assert cli.run(["detect", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
