"""What is given is found, grouped into exams, and named without identity."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from tests.dicom.fixtures import Write
from tests.viewer.tables import client_of, viewer_of, write_detections, write_images, write_picture

from microcalc.dicom.header import AcquisitionHeader
from microcalc.errors import InputError
from microcalc.images.dicom.shown import GreyTable, read_exam_facts, read_presets
from microcalc.images.info import NO_INFO, ImageInfo
from microcalc.images.open import open_mammogram
from microcalc.storage.ownership import open_output_folder
from microcalc.viewer.catalogue import without_identity
from microcalc.viewer.sources import open_catalogue
from microcalc.viewer.training import training_entry


def test_a_table_is_shown_exam_by_exam_in_the_order_of_hanging(tmp_path: Path) -> None:
    table = write_images(tmp_path / "t", ("rcc", "lcc", "rmlo", "lmlo", "other"))
    exams = open_catalogue([table], NO_INFO).exams
    assert [[image.row.image for image in exam.images] for exam in exams] == [["rcc", "lcc", "rmlo", "lmlo"], ["other"]]


def test_priors_are_the_earlier_exams_of_the_patient_the_latest_first(
    write: Write, raw_header: AcquisitionHeader
) -> None:
    def of_study(uid: str, date: str, patient: str = "SIM0001") -> Path:
        def edit(dataset: Dataset) -> None:
            dataset.StudyInstanceUID, dataset.StudyDate, dataset.PatientID = f"1.2.{uid}", date, patient
            dataset.SOPInstanceUID = UID(f"1.3.{uid}")

        return write(edit=edit, name=f"{uid}.dcm")

    files = [
        of_study("1", "20200101"),
        of_study("2", "20240101"),
        of_study("3", "20220101"),
        of_study("4", "20230101", "X"),
    ]
    exams = open_catalogue(files, NO_INFO).exams
    priors_of = {exam.images[0].row.image: [prior.key for prior in exam.priors] for exam in exams}
    key_of = {exam.images[0].row.image: exam.key for exam in exams}
    assert priors_of == {
        "1.dcm": [],
        "2.dcm": [key_of["3.dcm"], key_of["1.dcm"]],
        "3.dcm": [key_of["1.dcm"]],
        "4.dcm": [],
    }
    assert [exam.images[0].row.image for exam in exams] == ["2.dcm", "3.dcm", "1.dcm", "4.dcm"]  # latest first
    years = next(e.priors for e in exams if e.images[0].row.image == "2.dcm")
    assert [prior.years_before for prior in years] == pytest.approx([2, 4], abs=0.01)


def test_neither_names_nor_ids_are_shown(write: Write, tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.PatientName, dataset.PatientID = "Curie^Marie", "MRN-77123"
        dataset.PatientBirthDate, dataset.AccessionNumber = "18671107", "ACC4711"

    file = write(edit=edit, name="CURIE_MARIE_mrn-77123_ACC4711_18671107.dcm")
    results = tmp_path / "Curie results"
    write_detections(results / "a.json", file.stem, [(1, 1, 0.9), (2, 2, 0.1)])
    document = json.loads((results / "a.json").read_text())
    document["image"] = {"file": file.name}
    (results / "a.json").write_text(json.dumps(document))
    viewer = viewer_of(file, results, tmp_path / "none_MRN-77123.dcm")
    client = client_of(viewer)
    paths = ("", "api/catalogue", "api/images/i0", "api/images/i0/marks", "api/detectors/d0/findings")
    texts = [client.get(path).text for path in paths]
    for word in ("curie", "marie", "77123", "acc4711", "18671107"):
        assert all(word not in text.lower() for text in texts)
    assert "patient 1.dcm" in texts[1]


def test_names_are_shown_where_they_are_asked_for(write: Write) -> None:
    exam = open_catalogue([write(name="SIM0001.dcm")], NO_INFO, show_identity=True).exams[0]
    assert exam.images[0].name == "SIM0001.dcm"
    assert "SIM0001" in exam.name


def test_a_short_word_is_hidden_where_it_stands_alone() -> None:
    assert without_identity("La_LCC.dcm", ("La", "L"), "patient 1") == "patient 1_LCC.dcm"
    assert without_identity("Lad_7.dcm", ("La", "7"), "patient 1") == "Lad_patient 1.dcm"
    assert without_identity("x.+y.dcm", ("X.+Y", " "), r"\1") == r"\1.dcm"
    assert without_identity("a.dcm", (), "patient 1") == "a.dcm"


def test_detections_are_found_in_folders_documents_and_csv(tmp_path: Path) -> None:
    table = write_images(tmp_path / "t")
    folder = write_detections(tmp_path / "ours" / "a.json", "a", [(300, 150, 0.9), (1, 1, 0.2)]).parent
    csv = tmp_path / "theirs.csv"
    csv.write_text("image,row,column,likelihood\na,300,150,0.9\nb,1,1,0.5\n")
    catalogue = open_catalogue([table, folder, csv], NO_INFO)
    assert [(d.name, sorted(d.files)) for d in catalogue.detectors] == [("ours", ["a"]), ("theirs", ["a", "b"])]


def test_images_beside_detections_are_shown_with_them(tmp_path: Path, write: Write) -> None:
    write_detections(tmp_path / "case.json", "case", [(10, 20, 0.9), (1, 1, 0.2)])
    (tmp_path / "case.json").write_text(
        (tmp_path / "case.json")
        .read_text()
        .replace(', "rows": 640, "columns": 700', "")
        .replace('"pixel_spacing_mm": [0.1, 0.1]', '"view": null')
    )
    write()
    catalogue = open_catalogue([tmp_path], NO_INFO)
    assert [image.row.image for image in catalogue.images] == ["case.dcm"]
    assert [sorted(d.files) for d in catalogue.detectors] == [["case.dcm"]]


def test_a_run_is_shown_with_its_images_and_its_losses_so_far(tmp_path: Path) -> None:
    run = tmp_path / "run"
    open_output_folder(run, "train")
    write_images(run / "table")
    (run / "cnn1").mkdir()
    (run / "cnn1" / "metrics.jsonl").write_text('{"step": 10, "loss": 0.5}\n{"step": 20, "loss": 0.25}\n{"st')
    catalogue = open_catalogue([run], NO_INFO)
    (network,) = training_entry(catalogue.runs[0])["networks"]
    assert network["points"] == [{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.25}]
    assert len(list(catalogue.images)) == 2


def test_a_study_is_shown_with_its_examples(tmp_path: Path) -> None:
    study = tmp_path / "study"
    open_output_folder(study, "study")
    write_images(study / "stages" / "exams" / "table")
    (study / "report").mkdir()
    (study / "report" / "examples.csv").write_text(
        "what,method,image,vendor,row,column\nmiss,pair,a,ge,300,150\nhit,pair,gone,ge,1,1\n"
    )
    links = open_catalogue([study], NO_INFO).links
    assert [(link.image, link.row, link.group) for link in links] == [("a", 300.0, "miss")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.dcm", "none.dcm: no such file"),
        (lambda folder: folder, "no images in this folder"),
        (
            lambda folder: write_detections(folder / "d" / "a.json", "a", [(1, 1, 0.1), (2, 2, 0.1)]).parent,
            "no image given",
        ),
    ],
)
def test_what_shows_no_image_is_refused(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_catalogue([make(tmp_path)], NO_INFO)  # type: ignore[operator]


def test_pictures_need_what_they_do_not_state(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    with pytest.raises(
        InputError, match=r"a.png: .* no pixel spacing and no intent, expected --pixel-spacing MM and --intent"
    ):
        open_catalogue([tmp_path / "a.png"], NO_INFO)
    info = ImageInfo((0.1, 0.1), "processed", None, "CC", "L")
    image = next(iter(open_catalogue([tmp_path / "a.png"], info).images))
    assert (image.row.view, image.row.laterality, image.row.shape) == ("CC", "L", (640, 700))


def test_digitised_film_in_a_secondary_capture_image_is_shown_with_an_intent(write: Write) -> None:
    def capture(dataset: Dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
        del dataset.PresentationIntentType, dataset.ImagerPixelSpacing

    file = write(edit=capture)
    with pytest.raises(InputError, match=r"Secondary Capture Image, expected .* \(--intent accepts it\)$"):
        open_catalogue([file], NO_INFO)
    (image,) = open_catalogue([file], ImageInfo((0.05, 0.05), "processed")).images
    assert (image.row.intent, image.row.spacing_mm) == ("processed", (0.05, 0.05))


def test_one_bad_image_is_named_and_the_others_are_shown(tmp_path: Path, write: Write) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(write().read_bytes()[:600])
    catalogue = open_catalogue([bad, write()], NO_INFO)
    assert len(list(catalogue.images)) == 1
    assert len(catalogue.problems) == 1
    assert catalogue.problems[0].startswith("bad.dcm: ")


def test_all_windows_of_the_header_are_presets(write: Write, processed_header: AcquisitionHeader) -> None:
    presets = read_presets(write(processed_header))
    assert [(p.name, p.grey) for p in presets] == list(
        zip(processed_header.window_names, processed_header.windows, strict=True)
    )


def test_a_raw_image_has_no_presets(write: Write) -> None:
    assert read_presets(write()) == ()


@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_a_voi_lut_gives_each_stored_value_its_grey_level(
    write: Write, processed_header: AcquisitionHeader, photometric: str
) -> None:
    entries = np.linspace(0, 4095, 1000).astype("<u2")

    def edit(dataset: Dataset) -> None:
        lut = Dataset()
        lut.LUTDescriptor, lut.LUTExplanation, lut.LUTData = [1000, 1000, 12], "SOFT", entries.tobytes()
        dataset.VOILUTSequence = [lut]
        del dataset.WindowCenter, dataset.WindowWidth
        dataset.PhotometricInterpretation = photometric

    file = write(processed_header, edit=edit)
    (preset,) = read_presets(file)
    grey = preset.grey
    assert preset.name == "SOFT"
    assert isinstance(grey, GreyTable)
    pixels = open_mammogram(file).pixels
    import pydicom

    stored = pydicom.dcmread(file).pixel_array.astype(float)
    index = np.clip(np.rint((pixels - grey.first) / grey.step), 0, 999).astype(int)
    expected = entries[np.clip(stored - 1000, 0, 999).astype(int)] * (255 / 4095)
    expected = expected.astype(np.uint8) if photometric == "MONOCHROME2" else 255 - expected.astype(np.uint8)
    np.testing.assert_array_equal(grey.levels[index], expected)


def test_a_damaged_lut_or_window_is_no_preset(write: Write, processed_header: AcquisitionHeader) -> None:
    def edit(dataset: Dataset) -> None:
        lut = Dataset()
        lut.LUTDescriptor, lut.LUTData = [2, 0, 99], b"\0\0\1\0"
        dataset.VOILUTSequence = [lut, Dataset()]
        dataset.WindowCenter, dataset.WindowWidth = [100, 200], [0, 50]

    presets = read_presets(write(processed_header, edit=edit))
    assert [p.grey.width for p in presets if not isinstance(p.grey, GreyTable)] == [50]
    assert len(presets) == 1


def test_the_chest_wall_is_where_the_header_says(write: Write) -> None:
    facts = read_exam_facts(write(edit=lambda d: setattr(d, "PatientOrientation", ["P", "L"])))
    assert facts.chest_wall == "right"
    assert read_exam_facts(write(edit=lambda d: delattr(d, "PatientOrientation"))).chest_wall is None
