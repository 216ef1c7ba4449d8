"""Images with masks: each component is an annotation, and a mask that does not fit leaves its image out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.datasets.public_sets import run_table

from microcalc.datasets.mask_images import BMCD_LICENCE, MaskNames, outlines_of_mask, read_bmcd, read_masks
from microcalc.datasets.outlines import is_inside
from microcalc.datasets.public import files_below
from microcalc.datasets.table_files import read_table
from microcalc.errors import InputError, TableError
from microcalc.images.info import ImageInfo

_SHAPE = (100, 90)
_SAID = ImageInfo((0.05, 0.05), "processed")


def _save(file: Path, values: NDArray[np.generic]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)


def _mask(*pixels: tuple[int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(_SHAPE, dtype=np.uint8)
    for pixel in pixels:
        mask[pixel] = 255
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "BMCD"
    for n, name in enumerate(("P1/prior_CC", "P1/recent_CC", "P2/recent_MLO")):
        _save(root / f"{name}.tif", np.random.default_rng(n).integers(0, 4000, _SHAPE).astype(np.uint16))
        _save(root / f"{name}_MASK.png", _mask((10 + n, 20), (11 + n, 21), (11 + n, 22), (50, 60)))
    return root


def test_pixels_that_touch_by_a_corner_are_one_microcalcification_at_their_centroid(folder: Path) -> None:
    found = read_bmcd(folder, ImageInfo((0.05, 0.05)), MaskNames(patient="^[^/]+"))
    table = found.table
    assert [(i.image, i.patient, i.intent) for i in table.images] == [
        ("P1/prior_CC", "P1", "processed"), ("P1/recent_CC", "P1", "processed"), ("P2/recent_MLO", "P2", "processed"),
    ]  # fmt: skip
    group, single = table.rows_of(table.images[0])
    assert (group.row, group.column) == pytest.approx((32 / 3, 21.0))
    assert group.diameter_mm == pytest.approx(2 * np.sqrt(3 * 0.05**2 / np.pi))
    assert (single.row, single.column, single.kind, single.judge) == (50.0, 60.0, "microcalcification", "BMCD")
    assert (found.problems, found.notes) == ((), ())


def test_masks_may_lie_in_a_folder_of_their_own_and_be_of_one_bit(tmp_path: Path) -> None:
    _save(tmp_path / "images" / "a.png", np.arange(9000, dtype=np.uint16).reshape(_SHAPE))
    _save(tmp_path / "masks" / "A.png", _mask((3, 4)).astype(bool))
    names = MaskNames("*", tmp_path / "masks")
    found = read_masks(tmp_path / "images", _SAID, names, source="Own", licence="ours")
    (row,) = found.table.annotations
    assert (row.row, row.column) == (3.0, 4.0)
    assert [(i.source, i.licence) for i in found.table.images] == [("Own", "ours")]
    assert found.notes[0].startswith("no patient is known")


def test_components_can_be_regions_with_their_outlines(folder: Path) -> None:
    mask = _mask((50, 60))
    mask[20:40, 10:30] = 1
    mask[mask > 0] = 1
    mask[25:30, 15:20] = 0  # a hole
    _save(folder / "P1" / "prior_CC_MASK.png", mask)
    table = read_masks(folder, _SAID, kind="calcification_region").table
    wide, single = table.rows_of(table.images[0])
    assert {wide.kind, single.kind} == {"calcification_region"}
    assert np.min(wide.outline, axis=0).tolist() == [19.5, 9.5]
    assert np.max(wide.outline, axis=0).tolist() == [39.5, 29.5]
    inside = np.array([[is_inside((r, c), wide.outline) for c in range(90)] for r in range(100)])
    assert inside.sum() == 400
    assert len(outlines_of_mask(mask > 0)) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((100, 91), dtype=np.uint8), "a mask of 100 x 91 pixels, expected 100 x 90 as its image has"),
        (np.arange(9000, dtype=np.uint16).reshape(_SHAPE), "a mask with 9000 values (0, 1, 2 ...), expected 0 and one"),
        (_mask((3, 4)) // 2 + 1, "a mask with 2 values (1, 128 ...), expected 0 and one other"),
    ],
)
def test_a_mask_that_does_not_fit_leaves_out_its_image(folder: Path, values: NDArray[np.generic], message: str) -> None:
    _save(folder / "P1" / "recent_CC_MASK.png", values)
    found = read_bmcd(folder, _SAID)
    assert [i.image for i in found.table.images] == ["P1/prior_CC", "P2/recent_MLO"]
    assert f"recent_CC_MASK.png: {message}" in found.problems[0]


def test_what_has_no_partner_is_named(folder: Path) -> None:
    (folder / "P1" / "prior_CC.tif").unlink()
    (folder / "P2" / "recent_MLO_MASK.png").unlink()
    found = read_bmcd(folder, _SAID)
    assert found.problems == (
        "images without a mask: recent_MLO", "masks of images that are not there: prior_CC_MASK"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (MaskNames("*"), r"--mask-name \*: expected one \* for the name of the image"),
        (MaskNames("mask"), r"--mask-name mask: expected one \*"),
        (MaskNames("*_roi"), r"BMCD: no mask of a name such as \*_roi among 6 images, expected some"),
        (MaskNames(patient="("), r"--patient \(: missing \), unterminated subpattern, expected a regular expression"),
        (
            MaskNames(patient="Q"),
            r"BMCD: no image of BMCD that can be used; the first: prior_CC.tif: --patient Q",
        ),
    ],
)
def test_names_that_cannot_be_used_are_refused(folder: Path, names: MaskNames, message: str) -> None:
    with pytest.raises((InputError, TableError), match=message):
        read_bmcd(folder, _SAID, names)


def test_pictures_need_a_pixel_spacing(folder: Path) -> None:
    with pytest.raises(InputError, match="no pixel spacing, expected --pixel-spacing"):
        read_bmcd(folder, ImageInfo())


def test_the_commands_write_the_tables(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--pixel-spacing", 0.05, "--patient", "^[^/]+", "--out")
    assert run_table("bmcd", folder, *arguments, tmp_path / "one") == 0
    assert BMCD_LICENCE in capsys.readouterr().out.replace("\n", " ")
    assert len(read_table(tmp_path / "one").annotations) == 6
    both = ("--intent", "processed", "--kind", "calcification_region", *arguments)
    assert run_table("masks", folder, *both, tmp_path / "two") == 0
    assert {a.kind for a in read_table(tmp_path / "two").annotations} == {"calcification_region"}
    assert run_table("bmcd", folder / "none", *arguments, tmp_path / "three") == 2
    assert not (tmp_path / "three").exists()


def test_a_folder_of_a_set_that_cannot_be_read_is_refused_and_its_files_are_not_left_out_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set" / "locked").mkdir(parents=True)
    (tmp_path / "set" / "a.csv").touch()
    (tmp_path / "set" / ".hidden.csv").touch()
    assert files_below(tmp_path / "set", ".csv") == [tmp_path / "set" / "a.csv"]
    scandir = os.scandir

    def refuse(folder: str | Path) -> object:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(TableError, match=r"^locked: permission denied, expected a folder to read$"):
        files_below(tmp_path / "set", ".csv")
