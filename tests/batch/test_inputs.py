from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from microcalc.batch.inputs import find_inputs
from microcalc.storage.ownership import open_output_folder


def _names(path: Path) -> list[str]:
    return [image.name for image in find_inputs([path]).images]


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_stands_for_the_images_in_it_and_below_it(tmp_path: Path) -> None:
    _touch(tmp_path, "b.dcm", "a.png", "CD/DICOM/IM000001", "CD/DICOM/1.2.3", "CD/DICOMDIR", ".hidden", ".git/x.png")
    assert _names(tmp_path) == ["CD/DICOM/1.2.3", "CD/DICOM/IM000001", "a.png", "b.dcm"]


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "README.txt", "viewer/run.exe")
    inputs = find_inputs([tmp_path])
    assert (len(inputs.images), inputs.passed_over) == (1, 2)


def test_an_image_of_any_name_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "scan.bak").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "scan.old").write_bytes(bytes(128) + b"DICM")
    assert _names(tmp_path) == ["scan.bak", "scan.old"]


def test_a_link_to_a_folder_above_does_not_go_round_for_ever(tmp_path: Path) -> None:
    _touch(tmp_path, "d/a.png")
    (tmp_path / "d" / "loop").symlink_to(tmp_path)
    (tmp_path / "d" / "again").symlink_to(tmp_path / "d")
    assert _names(tmp_path) == ["d/a.png"]


def test_an_empty_folder_is_named_and_the_others_are_taken(tmp_path: Path) -> None:
    _touch(tmp_path, "d/a.png")
    (tmp_path / "empty").mkdir()
    inputs = find_inputs([tmp_path / "empty", tmp_path / "d"])
    assert [image.name for image in inputs.images] == ["a.png"]
    assert [str(problem) for problem in inputs.problems] == [
        "empty: no images in this folder, expected DICOM, PNG, TIFF, JPEG or PGM files"
    ]


def test_our_overlays_and_folders_of_results_are_no_input(tmp_path: Path) -> None:
    mark = PngInfo()
    mark.add_text("Software", "microcalc")
    Image.new("L", (8, 8)).save(tmp_path / "overlay.png", pnginfo=mark)
    open_output_folder(tmp_path / "results", "detect")
    _touch(tmp_path, "results/a.png", "view.png")
    inputs = find_inputs([tmp_path])
    assert [image.name for image in inputs.images] == ["view.png"]
    assert inputs.results == 2
    (problem,) = find_inputs([tmp_path / "overlay.png"]).problems
    assert str(problem) == "overlay.png: a result of microcalc, expected a mammogram"


def test_what_we_simulated_is_an_input(tmp_path: Path) -> None:
    open_output_folder(tmp_path / "simulated", "simulate")
    _touch(tmp_path, "simulated/a.dcm")
    assert _names(tmp_path) == ["simulated/a.dcm"]


@pytest.mark.parametrize("given", ["", "sub", "sub/images.csv"])
def test_an_images_csv_makes_a_table_of_its_folder_wherever_it_is_found(tmp_path: Path, given: str) -> None:
    _touch(tmp_path, "sub/images.csv", "sub/a.png")
    inputs = find_inputs([tmp_path / given])
    assert inputs.images == []
    assert len(inputs.tables) == 1


def test_pictures_among_dicom_files_are_skipped_where_nobody_describes_them(tmp_path: Path) -> None:
    (tmp_path / "view.dcm").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "logo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    inputs = find_inputs([tmp_path], with_pictures=False)
    assert [image.name for image in inputs.images] == ["view.dcm"]
    assert inputs.pictures == 1
    assert _names(tmp_path) == ["logo.jpg", "view.dcm"]
    (tmp_path / "view.dcm").unlink()
    assert [image.name for image in find_inputs([tmp_path], with_pictures=False).images] == ["logo.jpg"]


def test_an_archive_that_does_not_exist_is_a_missing_file(tmp_path: Path) -> None:
    assert [image.name for image in find_inputs([tmp_path / "cd.zip"]).images] == ["cd.zip"]
