"""Any image that we read opens by its content, and is the one that the table describes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import UID
from tests.dicom.fixtures import Write

from microcalc.datasets.open import open_row
from microcalc.datasets.table import ImageRow
from microcalc.errors import MissingSpacingError, NoBreastError, NotAMammogramError, TableError, UnreadableImageError
from microcalc.images.info import ImageInfo
from microcalc.images.open import facts_of, naming, open_mammogram

VALUES = np.arange(80 * 70, dtype=np.uint16).reshape(80, 70)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    Image.fromarray(VALUES).save(file)
    return file


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_the_content_decides_not_the_name(tmp_path: Path, form: str) -> None:
    file = tmp_path / "no_suffix"
    Image.fromarray(VALUES).save(file, format=form)
    found = open_mammogram(file, ImageInfo((0.08, 0.08), "processed", view="CC", laterality="R", system="GE"))
    np.testing.assert_array_equal(found.pixels, VALUES)
    assert (found.spacing_mm, found.view, found.laterality, found.system) == ((0.08, 0.08), "CC", "R", "GE")


def test_what_a_picture_cannot_say_has_to_be_said(picture: Path) -> None:
    with pytest.raises(MissingSpacingError, match=r"MM and --intent raw or processed, or a table .*microcalc table\)$"):
        open_mammogram(picture)
    with pytest.raises(MissingSpacingError, match=r"picture\.png: a picture has no pixel spacing, expected --pixel-sp"):
        open_mammogram(picture, ImageInfo(intent="raw"))
    with pytest.raises(UnreadableImageError, match=r"picture\.png: a picture has no intent, expected --intent"):
        open_mammogram(picture, ImageInfo((0.1, 0.1)))


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"absent\.dcm: no such file"):
        open_mammogram(tmp_path / "absent.dcm")
    with pytest.raises(UnreadableImageError, match="a folder, expected a DICOM, PNG, TIFF, JPEG or PGM file"):
        open_mammogram(tmp_path)


def _row(picture: Path) -> ImageRow:
    return ImageRow("one", picture, "raw", (0.08, 0.08), system="Siemens", view="CC", laterality="L")


def test_a_line_of_the_table_says_what_the_picture_does_not(picture: Path) -> None:
    found = open_row(_row(picture))
    np.testing.assert_array_equal(found.pixels, -VALUES.astype(np.float32))
    assert (found.intent, found.spacing_mm, found.system) == ("raw", (0.08, 0.08), "Siemens")
    assert open_row(replace(_row(picture), system="", view="", laterality="")).view is None


def test_a_picture_with_oblong_pixels_is_refused(picture: Path) -> None:
    with pytest.raises(MissingSpacingError, match=r"pixel spacing 0\.08 x 0\.1 mm, expected 0\.02 to 0\.2, the same"):
        open_row(replace(_row(picture), spacing_mm=(0.08, 0.10)))


def test_a_header_that_contradicts_the_table_is_refused(shared_data: Path) -> None:
    row = ImageRow("real", shared_data / "fo-dicom" / "GH133.dcm", "processed", (0.0940909, 0.0940909))
    assert open_row(row).view == "MLO"
    with pytest.raises(TableError, match=r"GH133\.dcm: pixels of 0\.09409 x 0\.09409 mm, expected 0\.1 x"):
        open_row(replace(row, spacing_mm=(0.1, 0.1)))
    with pytest.raises(TableError, match=r"GH133\.dcm: a processed image, expected a raw one as in the table"):
        open_row(replace(row, intent="raw"))


def test_a_file_that_must_not_be_read_is_refused_by_name(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(picture))

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(UnreadableImageError, match=rf"^{picture.name}: cannot be opened \(Permission denied\)"):
        open_mammogram(picture)


def test_an_error_without_a_file_gets_its_name_once() -> None:
    for message in ("nothing there", "a.dcm: nothing there"):
        with pytest.raises(NoBreastError, match=r"^a\.dcm: nothing there$"), naming(Path("x/a.dcm")):
            raise NoBreastError(message)


@pytest.mark.parametrize("said", ["LMLO", "medio-lateral oblique", "mlo"])
def test_a_view_that_is_said_is_known_however_it_is_spelt(said: str, picture: Path) -> None:
    assert open_mammogram(picture, ImageInfo((0.07, 0.07), "raw", view=said)).view == "MLO"


def test_digitised_film_in_a_secondary_capture_image_needs_an_intent(write: Write, picture: Path) -> None:
    def capture(dataset: Dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
        del dataset.PresentationIntentType, dataset.ImagerPixelSpacing

    file = write(edit=capture)
    assert not {"intent", "pixel_spacing"} & facts_of(file).stated
    with pytest.raises(NotAMammogramError, match=r"Secondary Capture Image, expected .* \(--intent accepts it\)$"):
        open_mammogram(file)
    found = open_mammogram(file, ImageInfo((0.05, 0.05), "processed"))
    assert (found.intent, found.spacing_mm) == ("processed", (0.05, 0.05))
    assert open_row(ImageRow("film", file, "processed", (0.05, 0.05), tags="film")).intent == "processed"

    def capture_of_something_else(dataset: Dataset) -> None:
        capture(dataset)
        dataset.Modality = "OT"

    other = write(edit=capture_of_something_else, name="other.dcm")
    with pytest.raises(NotAMammogramError, match=r"Secondary Capture Image, expected [^(]*$"):
        open_mammogram(other, ImageInfo((0.05, 0.05), "processed"))
