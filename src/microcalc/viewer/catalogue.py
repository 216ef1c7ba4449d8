"""What can be viewed: images, grouped into exams, and the detections and annotations on them.

Nothing here names a patient. Images, exams and sets of marks have opaque keys, which are all that the page's addresses
contain; a file's name is shown without the words that the header or the table identifies the patient with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from microcalc.datasets.table import ImageRow, Table
from microcalc.detection.result import Result
from microcalc.images.dicom.shown import ExamFacts

_VIEW_ORDER: Final = {"CC": 0, "MLO": 1}
_DAYS_PER_YEAR: Final = 365.25


@dataclass(frozen=True, slots=True)
class ViewedImage:
    """An image, and how it is shown.

    Attributes
    ----------
    key
        Opaque; identifies the image in addresses.
    row
        The image as a line of a table; ``row.image`` names it in journals and tables.
    facts
        What its header, or else its table, says.
    exam
        Key of the exam that it belongs to.
    name
        Its name for people, without identity.
    """

    key: str
    row: ImageRow
    facts: ExamFacts
    exam: str
    name: str


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier exam: its key, and the years from it to the later one."""

    key: str
    years_before: float


@dataclass(frozen=True, slots=True)
class Exam:
    """Images of one patient, study and intent, in the order of hanging.

    Attributes
    ----------
    priors
        The earlier exams of the patient with that intent, the latest first.
    """

    key: str
    name: str
    images: tuple[ViewedImage, ...]
    priors: tuple[Prior, ...] = ()


@dataclass(frozen=True, slots=True)
class DetectionFiles:
    """The results of one detector: the file with the detections on each image, by the name of the image.

    Attributes
    ----------
    path
        What was given: folder or file.
    results
        Detections that have been read, such as those of CAD reports; those of other images are read when needed.
    threshold
        Likelihood from which clusters are shown at first, where the detections do not state one.
    """

    key: str
    name: str
    path: Path
    files: Mapping[str, Path]
    results: Mapping[str, Result] = field(default_factory=dict)
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A place that the page can jump to, such as an example of a study."""

    image: str
    row: float
    column: float
    text: str
    group: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that was given.

    Attributes
    ----------
    exams
        In the order given.
    table
        All images and their annotations as one table.
    detectors
        Detections on them.
    models
        Folders of models of the runs that were given.
    links
        Examples of studies.
    runs
        Folders of trainings.
    problems
        Why a path or an image cannot be shown; one line each.
    """

    exams: tuple[Exam, ...]
    table: Table
    detectors: tuple[DetectionFiles, ...] = ()
    models: tuple[Path, ...] = ()
    links: tuple[Link, ...] = ()
    runs: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    _by_key: Mapping[str, ViewedImage] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the images by their keys."""
        images = {image.key: image for exam in self.exams for image in exam.images}
        object.__setattr__(self, "_by_key", images)

    @property
    def images(self) -> Iterable[ViewedImage]:
        """Return all images, exam by exam."""
        return self._by_key.values()

    def image(self, key: str) -> ViewedImage | None:
        """Return an image by its key."""
        return self._by_key.get(key)


def group_into_exams(rows: Sequence[ImageRow], facts: Sequence[ExamFacts], *, show_identity: bool) -> tuple[Exam, ...]:
    """Return the images as exams, patient by patient in the order given, each patient's latest first.

    Parameters
    ----------
    rows, facts
        One of each for every image, in the order given. An image without patient is an exam of its own.
    show_identity
        Whether names are shown as they are.
    """
    members: dict[tuple[str, str, str], list[int]] = {}
    patients: dict[str, int] = {}
    for number, (row, fact) in enumerate(zip(rows, facts, strict=True)):
        patient = row.patient or fact.patient or f"image:{number}"
        patients.setdefault(patient, len(patients) + 1)
        members.setdefault((patient, fact.study, row.intent), []).append(number)
    keys = {identity: f"e{n}" for n, identity in enumerate(members)}
    dates = {identity: max(facts[n].date for n in numbers) for identity, numbers in members.items()}
    exams = []
    for identity in sorted(sorted(members, key=dates.__getitem__, reverse=True), key=lambda who: patients[who[0]]):
        (patient, study, intent), numbers = identity, members[identity]
        label = patient if show_identity and not patient.startswith("image:") else f"patient {patients[patient]}"
        key = keys[patient, study, intent]
        images = [
            ViewedImage(
                f"i{n}",
                rows[n],
                facts[n],
                key,
                rows[n].image
                if show_identity
                else without_identity(rows[n].image, (patient, rows[n].patient, *facts[n].identity), label),
            )
            for n in numbers
        ]
        date = dates[identity]
        priors = _priors(patient, intent, date, dates, keys)
        name = f"{label.splitlines()[0]}, {intent}" + (f", {date}" if show_identity and date else "")
        exams.append(Exam(key, name, tuple(sorted(images, key=_hanging_order)), priors))
    return tuple(exams)


def without_identity(text: str, identity: Iterable[str], replacement: str) -> str:
    """Return a text in which words that identify the patient are replaced, whatever their case.

    A word of fewer than three characters is replaced where it stands alone, any other wherever it stands.

    >>> without_identity("DOE_JANE_LCC.dcm", ("Doe", "Jane"), "patient 1")
    'patient 1_LCC.dcm'
    >>> without_identity("7-L7.dcm", ("7",), "patient 1")
    'patient 1-L7.dcm'
    """
    words = sorted({word for word in identity if word.strip() and not word.startswith("image:")}, key=len)
    if not words:
        return text
    pattern = "|".join(_pattern_of(word) for word in reversed(words))
    return re.sub(rf"(?:{pattern})(?:[\s_^-]*(?:{pattern}))*", lambda _: replacement, text, flags=re.IGNORECASE)


def _pattern_of(word: str) -> str:
    escaped = re.escape(word)
    return escaped if len(word) >= 3 else rf"(?<![^\W_]){escaped}(?![^\W_])"


def _priors(
    patient: str,
    intent: str,
    date: str,
    dates: Mapping[tuple[str, str, str], str],
    keys: Mapping[tuple[str, str, str], str],
) -> tuple[Prior, ...]:
    """Return the exams of the patient before a date, the latest first; those without a date are not among them."""
    dated = [(before, keys[key]) for key, before in dates.items() if key[0] == patient and key[2] == intent]
    return tuple(
        Prior(key, (_days(date) - _days(before)) / _DAYS_PER_YEAR)
        for before, key in sorted(dated, reverse=True)
        if before and before < date
    )


def _days(date: str) -> int:
    from datetime import date as calendar

    try:
        return calendar(int(date[:4]), int(date[4:6]), int(date[6:8])).toordinal()
    except ValueError:
        return 0


def _hanging_order(image: ViewedImage) -> tuple[int, str, int]:
    """CC before MLO, and the right breast on the left."""
    view = image.row.view or image.facts.view or ""
    side = image.row.laterality or image.facts.laterality or ""
    return _VIEW_ORDER.get(view, 2), view, 0 if side == "R" else 1
