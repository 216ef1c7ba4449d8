"""A start brings folder and queue together, whatever it finds, and removes nothing that anybody could miss."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID
from tests.node.histories import MODELS, Archive, Life
from tests.node.mammograms import VIEWS, write_exam
from tests.node.test_jobs import first_version

from microcalc.errors import InputError
from microcalc.node.files import Folder

Start = Callable[[], Life]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    lives: list[Life] = []

    def begin() -> Life:
        for life in lives:
            life.queue.close()
        lives.append(Life(tmp_path / "node", MODELS[len(lives) % 2], Archive(), lambda: 1e6))
        return lives[-1]

    yield begin
    for life in lives:
        life.queue.close()


def _take(life: Life, file: Path) -> str:
    uid = str(dcmread(file).SOPInstanceUID)
    assert life.intake.take(uid, file.read_bytes(), sender="t") == "taken"
    return uid


def _quarantined(life: Life) -> dict[bytes, str]:
    files = life.folder.quarantine.glob("*.dcm")
    return {file.read_bytes(): file.with_suffix(".txt").read_text().strip() for file in files}


def test_another_model_finds_the_image_where_it_was_and_goes_on(start: Start, tmp_path: Path) -> None:
    first, second = write_exam(tmp_path / "exam", "p", views=VIEWS[:2], shape=(16, 12))
    life = start()
    uid = _take(life, first)
    assert life.step()
    life = start()
    assert life.folder.image(uid).read_bytes() == first.read_bytes()
    _take(life, second)
    assert [life.step() for _ in range(3)] == [True, True, False]  # both, and no exam is ready yet
    assert life.queue.counts().images["done"] == 2


def test_a_file_that_the_queue_does_not_know_is_taken_in_or_quarantined(start: Start, tmp_path: Path) -> None:
    (file,) = write_exam(tmp_path / "exam", "p", views=VIEWS[:1], shape=(16, 12))
    life = start()
    (life.folder.images / "anything.dcm").write_bytes(file.read_bytes())
    (life.folder.images / "notes.txt").write_bytes(b"mine")
    (life.folder.reports / "also.dcm").write_bytes(b"mine too")
    (life.folder.temporary / "half.dcm").write_bytes(b"never answered")
    life = start()
    (image,) = life.queue.open_images()
    assert life.folder.image(image.uid).read_bytes() == file.read_bytes()
    assert set(_quarantined(life)) == {b"mine", b"mine too"}
    assert all(_quarantined(life).values())


def test_what_somebody_took_from_the_folder_is_said_to_be_lost_and_taken_again(start: Start, tmp_path: Path) -> None:
    (file,) = write_exam(tmp_path / "exam", "p", views=VIEWS[:1], shape=(16, 12))
    life = start()
    uid = _take(life, file)
    life.folder.image(uid).unlink()
    life = start()
    assert life.queue.counts().images["lost"] == 1
    assert not life.step()
    _take(life, file)
    assert life.queue.counts().images["waiting"] == 1


def test_a_folder_of_the_first_version_is_taken_over_with_its_images(start: Start, tmp_path: Path) -> None:
    root = tmp_path / "node"
    for name in ("images", "found", "reports", "quarantine"):
        (root / name).mkdir(parents=True)
    (root / "lock").touch()
    first_version(root / "queue.sqlite")
    files = write_exam(tmp_path / "exam", "p", views=VIEWS[:2], shape=(16, 12))
    contents = {}
    for uid, model, file in (("1.1", "new", files[0]), ("1.3", "a model before it", files[1])):
        dataset = dcmread(file)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid)
        old = root / "images" / f"{hashlib.sha256(f'{uid} {model}'.encode()).hexdigest()[:20]}.dcm"
        dataset.save_as(old)
        contents[uid] = old.read_bytes()
    life = start()
    assert {i.uid: life.folder.image(i.uid).read_bytes() for i in life.queue.open_images()} == contents
    assert len({i.exam for i in life.queue.open_images()}) == 1
    assert len(list(life.folder.images.iterdir())) == 2


def test_a_folder_of_somebody_else_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "holiday.jpg").write_bytes(b"beach")
    with pytest.raises(InputError, match="did not make"):
        Folder(tmp_path).make()
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "holiday.jpg"]


def test_two_patients_under_one_study_are_two_exams(start: Start, tmp_path: Path) -> None:
    life = start()
    for patient in ("p", "q"):
        (file,) = write_exam(tmp_path / "exam", patient, views=VIEWS[:1], shape=(16, 12))
        dataset = dcmread(file)
        dataset.StudyInstanceUID = "1.2.3"
        dataset.save_as(file)
        _take(life, file)
    assert len({image.exam for image in life.queue.open_images()}) == 2
    assert b"GEHEIM" not in b"".join(file.read_bytes() for file in life.folder.root.glob("queue.sqlite*"))


def test_a_lost_queue_is_made_anew_from_the_images(start: Start, tmp_path: Path) -> None:
    (file,) = write_exam(tmp_path / "exam", "p", views=VIEWS[:1], shape=(16, 12))
    life = start()
    uid = _take(life, file)
    life.queue.close()
    for part in life.folder.root.glob("queue.sqlite*"):
        part.unlink()
    assert [image.uid for image in start().queue.open_images()] == [uid]
