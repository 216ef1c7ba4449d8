"""A data set with inserted microcalcifications: the truth is where the pixels changed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from scipy import ndimage

from microcalc import cli
from microcalc.datasets.inserted import insert_data_set
from microcalc.datasets.inserted_pixels import noise_map
from microcalc.datasets.open import open_row
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.domain import Intent, Mammogram
from microcalc.errors import InputError, NoBreastError, OutputError
from microcalc.execution.executor import Processes
from microcalc.normalise.breast import breast_mask
from microcalc.simulate.calcification import LAYOUTS, MORPHOLOGIES
from microcalc.simulate.insertion import system_of
from microcalc.simulate.placement import Insertion
from microcalc.storage.ownership import MARK

SPACING_MM = 0.1
SHAPE = (640, 420)
KNOWN = (
    AnnotationRow("raw", 320.0, 150.0, diameter_mm=1.5, kind="coarse", judge="by eye"),
    AnnotationRow("raw", 200.0, 100.0, kind="no_calcium", judge="by eye"),
)


def _values(intent: Intent) -> np.ndarray:
    """Half a disc of breast of 30 mm."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices(SHAPE) * SPACING_MM
    breast = np.hypot(rows - 32.0, columns) < 30.0
    exposure = np.where(breast, 600.0 + 150.0 * np.sin(rows / 6.0) * np.cos(columns / 5.0), 7000.0)
    noisy = exposure + rng.normal(size=SHAPE) * np.sqrt(0.117 * exposure)
    if intent == "raw":
        return np.rint(noisy)
    return np.where(breast, np.rint(4000.0 - 500.0 * np.log(noisy)), 0.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("source")
    images = []
    intents: tuple[Intent, ...] = ("raw", "processed")
    for intent in intents:
        Image.fromarray(_values(intent).astype(np.uint16)).save(folder / f"{intent}.png")
        images.append(
            ImageRow(
                intent,
                folder / f"{intent}.png",
                intent,
                (SPACING_MM, SPACING_MM),
                patient="p1" if intent == "raw" else "",
                system="GE",
                view="CC",
                laterality="L",
                split="train",
            )
        )
    table = Table(tuple(images), KNOWN)
    write_table(table, folder)
    return table


@pytest.fixture(scope="module")
def made(source: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    insert_data_set(source, out, insertion=Insertion(clusters=1, singles=1), variants=2, seed=4)
    return out


def test_the_table_reads_back_with_patients_splits_and_variants(source: Table, made: Path) -> None:
    table = read_table(made)
    assert [i.image for i in table.images] == ["raw-0", "raw-1", "processed-0", "processed-1"]
    assert [i.patient for i in table.images] == ["p1", "p1", "image:processed", "image:processed"]
    assert {i.split for i in table.images} == {"train"}
    for row in table.images:
        assert row.spacing_mm == source.images[0].spacing_mm
        assert (row.system, row.view, row.laterality) == ("GE", "CC", "L")


def test_the_other_images_stay_as_they_are_where_this_is_asked_for(
    source: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [replace(i, tags="normal" if i.image == "raw" else "", split="train") for i in source.images]
    kept = [AnnotationRow("processed", 200.0, 100.0, kind="coarse", judge="A. Reader", id="k")]
    write_table(Table(tuple(images), (*KNOWN, *kept)), tmp_path / "t")
    command = ["insert", str(tmp_path / "t"), "--clusters", "0", "--singles", "1", "--workers", "1"]
    assert cli.run([*command, "--tag", "normal", "--others", "--out", str(tmp_path / "o")]) == 0
    new = read_table(tmp_path / "o")
    assert [i.image for i in new.images] == ["raw", "processed"]
    assert new.images[1].file == images[1].file.resolve()
    assert [(a.row, a.kind, a.id) for a in new.annotations if a.image == "processed"] == [(200.0, "coarse", "k")]
    assert {a.judge for a in new.annotations if a.image == "raw"} >= {"inserted"}
    assert cli.run([*command, "--others", "--out", str(tmp_path / "p")]) == 2
    assert "--others: every image is inserted into" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_known_annotations_are_carried_over(made: Path) -> None:
    table = read_table(made)
    for name in ("raw-0", "raw-1"):
        kept = [a for a in table.annotations if a.image == name and a.judge == "by eye"]
        assert [(a.row, a.column, a.diameter_mm, a.kind) for a in kept] == [
            (a.row, a.column, a.diameter_mm, a.kind) for a in KNOWN
        ]


def test_clusters_have_at_least_four_members_inside_the_breast_and_all_can_be_seen(made: Path) -> None:
    table = read_table(made)
    for row in table.images:
        image = open_row(row)
        breast = breast_mask(image.pixels, spacing_mm=SPACING_MM, intent=image.intent, padding=None)
        inserted = [a for a in table.annotations if a.image == row.image and a.judge == "inserted"]
        assert len([a for a in inserted if a.cluster == "c1"]) >= 4
        assert len([a for a in inserted if not a.cluster]) == 1
        assert {a.kind for a in inserted} == {"microcalcification"}
        for a in inserted:
            assert breast[round(a.row), round(a.column)]
            assert a.d_prime is not None
            assert a.d_prime >= Insertion().min_d_prime
            assert a.outline
            morphology, layout = a.morphology.split()
            assert morphology in MORPHOLOGIES
            assert layout in LAYOUTS or (layout == "single") == (not a.cluster)


def _changes(source: Table, made: Path) -> list[tuple[str, np.ndarray, np.ndarray, list[AnnotationRow]]]:
    table = read_table(made)
    originals = {i.image: open_row(i).pixels for i in source.images}
    changes = []
    for row in table.images:
        truth = [a for a in table.annotations if a.image == row.image and a.judge == "inserted"]
        before = originals[row.image.split("-")[0]]
        changes.append((row.image, before, open_row(row).pixels - before, truth))
    return changes


def test_only_pixels_near_an_inserted_place_change_and_nearly_only_upwards(source: Table, made: Path) -> None:
    for name, _, change, truth in _changes(source, made):
        near = np.zeros(SHAPE, dtype=bool)
        for a in truth:
            near[max(0, round(a.row) - 25) : round(a.row) + 26, max(0, round(a.column) - 25) : round(a.column) + 26] = 1
        assert not change[~near].any(), name
        assert change.max() > 5
        assert change.min() > -0.15 * change.max(), "an unsharp mask leaves a faint dark rim"


def test_the_truth_is_the_centroid_of_the_change(source: Table, made: Path) -> None:
    checked = 0
    for name, _, change, truth in _changes(source, made):
        at = np.array([(a.row, a.column) for a in truth])
        for index, a in enumerate(truth):
            others = np.delete(at, index, axis=0)
            box = np.s_[round(a.row) - 4 : round(a.row) + 5, round(a.column) - 4 : round(a.column) + 5]
            weight = np.clip(change[box], 0, None).astype(np.float64)
            if np.abs(others - at[index]).max(axis=1).min() < 9 or weight.max() < 8:
                continue
            centroid = ndimage.center_of_mass(weight) + np.array([round(a.row) - 4, round(a.column) - 4])
            assert centroid == pytest.approx(at[index], abs=0.6), name
            checked += 1
    assert checked >= 5


def test_the_kind_of_pixel_stays(source: Table, made: Path) -> None:
    before = {i.image: np.asarray(Image.open(i.file)) for i in source.images}
    for row in read_table(made).images:
        with Image.open(row.file) as image:
            values = np.asarray(image)
        was = before[row.image.split("-")[0]]
        assert values.dtype == was.dtype
        assert values.shape == was.shape
        assert was.min() <= values.max() <= was.max()


def test_an_image_of_eight_bits_stays_one(tmp_path: Path) -> None:
    values = np.clip(_values("processed") / 8.0, 0, 255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "eight.png")
    table = Table((ImageRow("eight", tmp_path / "eight.png", "processed", (SPACING_MM, SPACING_MM)),))
    made, _ = insert_data_set(table, tmp_path / "out", insertion=Insertion(clusters=1))
    with Image.open(made.images[0].file) as image:
        assert image.mode == "L"


def test_what_was_compressed_is_compressed_again_and_stays_as_it_was_where_nothing_was_inserted(tmp_path: Path) -> None:
    """Else a microcalcification could be told by its lack of the marks of JPEG."""
    values = np.clip(_values("processed") / 8.0, 0, 255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "eight.jpg", quality=90)
    row = ImageRow("eight", tmp_path / "eight.jpg", "processed", (SPACING_MM, SPACING_MM))
    made, _ = insert_data_set(Table((row,)), tmp_path / "out", insertion=Insertion(clusters=1))
    with Image.open(tmp_path / "eight.jpg") as image:
        before = np.asarray(image)
        assert isinstance(image, JpegImageFile)
        tables = image.quantization
    with Image.open(made.images[0].file) as image:
        after = np.asarray(image)
    touched = np.zeros(values.shape, dtype=bool)
    for a in made.annotations:
        touched[max(0, round(a.row) - 40) : round(a.row) + 41, max(0, round(a.column) - 40) : round(a.column) + 41] = (
            True
        )
    assert np.mean(before[~touched] != after[~touched]) < 0.02
    assert np.abs(before[touched].astype(int) - after[touched]).max() > 5
    Image.fromarray(after).save(tmp_path / "again.jpg", qtables=[tables[0]])
    with Image.open(tmp_path / "again.jpg") as image:
        assert np.mean(np.asarray(image) != after) < 0.02, "it bears the marks of compression everywhere"


@pytest.mark.parametrize(
    ("words", "spacing_mm", "name"),
    [
        ("GE Senographe", 0.094, "ge"),
        ("GE", 0.0940909, "ge"),
        ("GE", 0.1, "ge-pristina"),
        ("GE MEDICAL SYSTEMS Senograph DS ADS_43.10.1", 0.0940909, "ge-ds"),
        ("Hologic Selenia Dimensions", 0.094, "hologic"),
        ("SIEMENS Mammomat Inspiration", 0.094, "siemens"),
        ("siemens", 0.07, "siemens"),
        ("ge-pristina", 0.1, "ge-pristina"),
        ("", 0.07, "hologic"),
        ("", 0.085, "siemens"),
        ("of another maker", 0.094, "ge"),
    ],
)
def test_the_system_is_that_of_the_words_and_else_that_of_the_pitch(words: str, spacing_mm: float, name: str) -> None:
    pixels = np.zeros((8, 8), dtype=np.float32)
    assert system_of(Mammogram(pixels, (spacing_mm, spacing_mm), "processed", "1", system=words)).name == name


def test_texture_in_a_part_of_the_breast_does_not_raise_the_measured_noise() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.indices((640, 640))
    noise = rng.normal(0.0, 5.0, rows.shape)
    texture = np.where(columns < 320, 12.0 * np.sin(rows * 1.2) * np.sin(columns * 1.1), 0.0)
    measured = noise_map((800.0 + noise + texture).astype(np.float32), np.ones(rows.shape, dtype=bool), spacing_mm=0.07)
    assert measured == pytest.approx(5.0, rel=0.08)


def test_nothing_is_put_where_the_image_is_saturated(tmp_path: Path) -> None:
    values = np.clip(_values("processed") / 8.0, 0, 255)
    values[:, :120] = np.where(values[:, :120] > 0, 255, 0)
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "white.png")
    row = ImageRow("white", tmp_path / "white.png", "processed", (SPACING_MM, SPACING_MM))
    made, _ = insert_data_set(Table((row,)), tmp_path / "out", insertion=Insertion(clusters=3), variants=2)
    assert made.annotations
    assert all(a.column > 112 for a in made.annotations)


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(
    source: Table, made: Path, tmp_path: Path
) -> None:
    insertion = Insertion(clusters=1, singles=1)
    insert_data_set(source, tmp_path / "again", insertion=insertion, variants=2, seed=4, executor=Processes(2))
    insert_data_set(source, tmp_path / "other", insertion=insertion, seed=5)
    for file in sorted(f for f in made.rglob("*") if f.is_file() and f.name != MARK):
        assert (tmp_path / "again" / file.relative_to(made)).read_bytes() == file.read_bytes(), file.name
    assert (tmp_path / "other" / "raw.png").read_bytes() != (made / "raw-0.png").read_bytes()


def test_the_folder_of_the_source_is_never_written_to(source: Table) -> None:
    with pytest.raises(InputError, match=r"holds images of the table, expected another folder"):
        insert_data_set(source, source.images[0].file.parent, insertion=Insertion())


def test_an_image_without_a_breast_is_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((200, 200), dtype=np.uint8)).save(tmp_path / "blank.png")
    table = Table((ImageRow("blank", tmp_path / "blank.png", "processed", (SPACING_MM, SPACING_MM)),))
    with pytest.raises(NoBreastError, match=r"^blank\.png: 0\.0 cm2 stand out"):
        insert_data_set(table, tmp_path / "out", insertion=Insertion())
    assert not (tmp_path / "out").exists()


def _tree(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_an_image_that_cannot_be_used_is_named_and_the_others_get_theirs(
    source: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn.png").write_bytes(source.images[0].file.read_bytes()[:200])
    images = (replace(source.images[0], image="torn", file=tmp_path / "torn.png", patient="p9"), source.images[0])
    beyond = AnnotationRow("raw", 700.0, 10.0)
    write_table(Table(images), tmp_path / "some")
    out = tmp_path / "out"
    command = ["insert", str(tmp_path / "some"), "--out", str(out), "--clusters", "1", "--workers", "1"]
    assert cli.run(command) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("microcalc: ")]
    assert errors[0].startswith("microcalc: torn.png: ")
    assert errors[1:] == ["microcalc: 1 of 2 images could not be used"]
    assert [i.image for i in read_table(out).images] == ["raw"]
    assert not list(out.rglob("*torn*"))
    write_table(Table(source.images[:1], (beyond,)), tmp_path / "beyond")
    assert cli.run(["insert", str(tmp_path / "beyond"), "--out", str(tmp_path / "none")]) == 2
    assert "row 700, column 10 lies outside image 'raw' of 640 x 420 pixels" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_no_folder_but_a_new_one_or_its_own_is_written_to(source: Table, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "raw.png").write_text("mine")
    with pytest.raises(InputError, match=r"^mine: holds files that microcalc insert did not make"):
        insert_data_set(source, mine, insertion=Insertion(clusters=1))
    assert _tree(mine) == {"raw.png": b"mine"}


def test_a_table_that_was_edited_since_is_kept_and_said_before_any_work(
    source: Table, made: Path, tmp_path: Path
) -> None:
    own = tmp_path / "made"
    shutil.copytree(made, own)
    with (own / "annotations.csv").open("a") as handle:
        handle.write("raw-0,320,150,1.5,coarse,,,,me,\n")
    before = _tree(own)
    with pytest.raises(OutputError, match=r"^made: annotations\.csv was changed by hand, and is kept"):
        insert_data_set(source, own, insertion=Insertion(clusters=1))
    assert _tree(own) == before


def test_the_name_of_an_image_is_no_path(source: Table, tmp_path: Path) -> None:
    images = tuple(
        replace(source.images[0], image=name, patient=name, file=_copy(source.images[0].file, tmp_path / f"{n}.png"))
        for n, name in enumerate(("../a", "P1/LCC"))
    )
    made, refused = insert_data_set(Table(images), tmp_path / "out", insertion=Insertion(clusters=1))
    assert not refused
    assert {i.file.parent for i in made.images} == {tmp_path / "out"}
    assert [i.image for i in read_table(tmp_path / "out").images] == ["../a", "P1/LCC"]


def _copy(file: Path, to: Path) -> Path:
    """A picture of the same pixels but one."""
    with Image.open(file) as image:
        values = np.asarray(image).copy()
    values[300, 100] += 1 + len(to.stem) + int(to.stem)
    Image.fromarray(values).save(to)
    return to


def test_nothing_is_inserted_into_a_region(source: Table, tmp_path: Path) -> None:
    lower = ((250.0, -5.0), (250.0, 430.0), (650.0, 430.0), (650.0, -5.0))
    region = AnnotationRow("raw", 450.0, 200.0, kind="calcification_region", outline=lower, judge="by eye")
    table = Table((replace(source.images[0], source="Set", licence="CC BY 4.0"),), (region,))
    made, _ = insert_data_set(table, tmp_path / "out", insertion=Insertion(2, 2), seed=5)
    inserted = [row for row in made.annotations if row.judge == "inserted"]
    assert inserted
    assert all(row.row < 250.0 for row in inserted)
    assert [row.outline for row in made.annotations if row.kind == region.kind] == [lower]
    assert {(image.source, image.licence) for image in read_table(tmp_path / "out").images} == {("Set", "CC BY 4.0")}
