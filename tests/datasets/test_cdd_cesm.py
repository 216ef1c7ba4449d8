from __future__ import annotations

import csv
import hashlib
import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from microcalc import cli
from microcalc.datasets import cdd_cesm
from microcalc.datasets.cdd_cesm import SPLITS, read_cdd_cesm, reviewed_in_source_tree
from microcalc.datasets.table import ImageRow
from microcalc.datasets.table_files import read_table, write_table
from microcalc.errors import TableError

_COLUMNS = "file,tcia_name,width,height,category,system,pixel_spacing_mm,density,calcification,sha256\n"


def _folder(tmp_path: Path, *, name: str = "P35_L_DM_CC.jpg", size: str = "1627,2410", sha256: str = "") -> Path:
    (tmp_path / "IM0101.jpg").write_bytes(b"pixels")
    sha256 = sha256 or hashlib.sha256(b"pixels").hexdigest()
    line = f"IM0101.jpg,{name},{size},benign,GE Senographe (inferred),0.094,B,macro,{sha256}\n"
    (tmp_path / "images.csv").write_text(_COLUMNS + line)
    return tmp_path


def test_patient_side_and_system_come_from_the_published_names(tmp_path: Path) -> None:
    (image,) = read_cdd_cesm(_folder(tmp_path)).images
    assert (image.image, image.patient, image.laterality, image.view) == ("IM0101", "P35", "L", "CC")
    assert (image.system, image.spacing_mm, image.intent) == ("GE Senographe", (0.094, 0.094), "processed")
    assert image.split == "train"
    assert image.tags == "benign cdd-cesm density-B system-inferred calcification-macro"


def test_an_unnamed_image_has_no_patient_and_no_side(tmp_path: Path) -> None:
    (image,) = read_cdd_cesm(_folder(tmp_path, name="")).images
    assert (image.patient, image.laterality) == ("", "")


def test_an_image_larger_than_the_largest_ge_matrix_is_no_ge_image(tmp_path: Path) -> None:
    (image,) = read_cdd_cesm(_folder(tmp_path, size="2084,3323")).images
    assert (image.system, image.spacing_mm[0]) == ("Hologic Selenia Dimensions", 0.070)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"IM0101.jpg: sha256 [0-9a-f]{12}…, expected 0{12}…"):
        read_cdd_cesm(_folder(tmp_path, sha256="0" * 64))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "IM0101.jpg").unlink()
    with pytest.raises(TableError, match=r"IM0101.jpg: no such file"):
        read_cdd_cesm(folder)


def test_a_folder_without_the_list_of_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no images\.csv"):
        read_cdd_cesm(tmp_path)


def test_a_name_that_tells_no_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"images\.csv line 2: tcia_name is 'P35_B_DM_CC.jpg'"):
        read_cdd_cesm(_folder(tmp_path, name="P35_B_DM_CC.jpg"))


def test_every_published_image_has_its_line_in_the_splits(shared_data: Path) -> None:
    images = read_cdd_cesm(shared_data / "cdd-cesm").images
    with SPLITS.open() as handle:
        assert {line["file"] for line in csv.DictReader(handle)} == {i.file.name for i in images}
    assert len(images) == 65


def test_the_table_of_real_images_is_accepted_with_its_splits(shared_data: Path, tmp_path: Path) -> None:
    write_table(read_cdd_cesm(shared_data / "cdd-cesm"), tmp_path)
    table = read_table(tmp_path)
    assert {i.split for i in table.images} == {"train", "validation", "test", ""}
    assert all(i.file.is_file() for i in table.images)


def test_no_unnamed_image_can_belong_to_a_patient_of_another_split(shared_data: Path) -> None:
    images = read_cdd_cesm(shared_data / "cdd-cesm").images
    _check_apart(images, {i.image: i.split for i in images if i.split})


def test_no_unnamed_image_can_belong_to_a_patient_of_another_fold(shared_data: Path) -> None:
    with (Path(__file__).parents[2] / "data" / "cdd-cesm" / "folds.csv").open() as handle:
        fold_of = {line["image"]: line["fold"] for line in csv.DictReader(handle)}
    images = read_cdd_cesm(shared_data / "cdd-cesm").images
    assert {i.image for i in images} - set(fold_of) == {"IM0092"}  # may show a patient of any fold but one
    assert set(fold_of.values()) == set("01234")
    _check_apart(images, fold_of)


def _check_apart(images: tuple[ImageRow, ...], part_of: Mapping[str, str]) -> None:
    """Assert that no two images of different parts can show one patient, who has one such image of each breast."""
    possible = [(i.image, *bounds) for i, bounds in _possible_patients(images).items() if i.image in part_of]
    for (a, a_low, a_high, a_side), (b, b_low, b_high, b_side) in itertools.combinations(possible, 2):
        if part_of[a] != part_of[b] and a_side != b_side:
            assert a_high < b_low or b_high < a_low, f"{a} ({part_of[a]}) and {b} ({part_of[b]})"


def test_the_table_of_real_images_takes_every_reviewed_place(shared_data: Path) -> None:
    table = read_cdd_cesm(shared_data / "cdd-cesm", reviewed=reviewed_in_source_tree())
    assert len(table.annotations) == 14090
    assert all(a.judge for a in table.annotations)


def test_without_a_file_of_reviewed_places_there_are_none(tmp_path: Path) -> None:
    assert read_cdd_cesm(_folder(tmp_path)).annotations == ()


def test_the_command_says_how_many_reviewed_places_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    folder = _folder(tmp_path / "in")
    sha256 = hashlib.sha256(b"pixels").hexdigest()
    reviewed = tmp_path / "mine.csv"
    reviewed.write_text(
        f"file,sha256,row,column,verdict,judge\nIM0101.jpg,{sha256},10,20,coarse,A\nother.jpg,{'0' * 64},1,2,coarse,A\n"
    )
    assert cli.run(["table", "cdd-cesm", str(folder), "--out", str(tmp_path / "out"), "--reviewed", str(reviewed)]) == 0
    assert "1 reviewed place taken from mine.csv" in capsys.readouterr().out
    assert [a.kind for a in read_table(tmp_path / "out").annotations] == ["coarse"]


def test_the_command_of_an_installed_wheel_says_where_the_reviewed_places_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdd_cesm, "_SOURCE_TREE", tmp_path)
    (tmp_path / "in").mkdir()
    arguments = ["table", "cdd-cesm", str(_folder(tmp_path / "in")), "--out", str(tmp_path / "out")]
    assert cli.run(arguments) == 0
    assert "No reviewed places" in (shown := capsys.readouterr().out)
    assert "data/cdd-cesm/reviewed.csv of the source tree" in shown
    assert cli.run([*arguments, "--rounds", "1"]) == 2
    assert "--rounds without reviewed places" in capsys.readouterr().err


def _possible_patients(images: tuple[ImageRow, ...]) -> dict[ImageRow, tuple[float, float, str]]:
    """Lowest and highest patient number and side, from the named images of the same run of file numbers."""
    bounds: dict[ImageRow, tuple[float, float, str]] = {}
    for run in _runs(images):
        (side,) = {i.laterality for i in run if i.laterality}
        named = [(n, int(i.patient[1:])) for n, i in enumerate(run) if i.patient]
        assert [p for _, p in named] == sorted(p for _, p in named)
        for n, image in enumerate(run):
            if image.patient:
                low = high = float(image.patient[1:])
            else:
                low = max((p + 1.0 for m, p in named if m < n), default=1.0)
                high = min((p - 1.0 for m, p in named if m > n), default=float("inf"))
            bounds[image] = (low, high, side)
    return bounds


def _runs(images: tuple[ImageRow, ...]) -> list[list[ImageRow]]:
    runs: list[list[ImageRow]] = []
    for image in sorted(images, key=lambda i: i.image):
        follows = runs and int(runs[-1][-1].image[2:]) + 1 == int(image.image[2:])
        if follows and runs[-1][-1].tags.split()[0] == image.tags.split()[0] and _same_side(runs[-1], image):
            runs[-1].append(image)
        else:
            runs.append([image])
    return runs


def _same_side(run: list[ImageRow], image: ImageRow) -> bool:
    return len({i.laterality for i in (*run, image) if i.laterality}) < 2
