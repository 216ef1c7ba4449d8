"""Open what is given to the viewer: images, tables, detections, runs of training and studies, as one catalogue."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from microcalc.batch.folder import is_result
from microcalc.batch.inputs import find_inputs
from microcalc.datasets.lines import number_in, read_lines
from microcalc.datasets.open import open_table
from microcalc.datasets.table import ImageRow, Table, join_tables, refuse_repeated
from microcalc.datasets.table_files import is_table
from microcalc.detection.entries import ImageEntry
from microcalc.detection.result import SCHEMA, read_result
from microcalc.errors import InputError, MicrocalcError, MissingSpacingError, UnreadableImageError
from microcalc.evaluation.images import TableImages
from microcalc.images.dicom.facts import read_facts
from microcalc.images.dicom.shown import ExamFacts, read_exam_facts
from microcalc.images.dicom.sniff import is_dicom
from microcalc.images.info import ImageInfo
from microcalc.images.open import check_header, is_picture, stated_for_picture
from microcalc.images.picture import picture_shape
from microcalc.reports.cad_reader import is_cad_report
from microcalc.storage.index import counted, read_index
from microcalc.storage.key import file_sha256
from microcalc.storage.ownership import owner_of
from microcalc.viewer.catalogue import Catalogue, DetectionFiles, Link, group_into_exams
from microcalc.viewer.reports import detectors_of_reports, is_cad_report_or_refused
from microcalc.wording import grouped

_DETECTS: Final = ("detect", "demo")


@dataclass(slots=True)
class _Given:
    """What the paths are, before the images are looked at."""

    tables: list[Table] = field(default_factory=list)
    images: list[tuple[Path, str]] = field(default_factory=list)
    detections: list[Path] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    models: list[Path] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)
    examples: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def open_catalogue(paths: Sequence[Path], info: ImageInfo, *, show_identity: bool = False) -> Catalogue:
    """Return what can be viewed in files, folders, tables, folders of ``detect``, CAD reports, runs and studies.

    Parameters
    ----------
    info
        What pictures do not state.
    show_identity
        Whether names of patients and files are shown as they are.

    Raises
    ------
    InputError
        There is no image to show, or a detections document or table is malformed.
    """
    given = _Given()
    for path in paths:
        _add(path, given, with_pictures=info.pixel_spacing_mm is not None and info.intent is not None)
    table, facts = _described(given, info)
    if not table.images:
        lacking = [f"{file.name}: a CAD report without its images, expected these, too" for file in given.reports]
        raise InputError([*grouped(given.problems), *lacking, "no image given, expected at least one"][0])
    detectors = [_detection_files(path, n, table) for n, path in enumerate(given.detections)]
    if given.reports:
        reported, problems = detectors_of_reports(given.reports, _identified(table), len(detectors))
        detectors += reported
        given.problems += problems
    return Catalogue(
        group_into_exams(table.images, facts, show_identity=show_identity),
        table,
        tuple(detectors),
        tuple(given.models),
        tuple(link for file in given.examples for link in _links(file, table)),
        tuple(given.runs),
        tuple(given.problems),
    )


def _add(path: Path, given: _Given, *, with_pictures: bool) -> None:
    owner = owner_of(path) if path.is_dir() else None
    if owner in _DETECTS:
        given.detections.append(path)
    elif _is_detections(path):
        given.detections.append(path)
        if path.is_dir():  # the images may lie beside them
            _add_images(path, given, with_pictures=with_pictures, only_if_any=True)
    elif path.is_file() and is_dicom(path) and is_result(path):
        _add_report(path, given, otherwise=InputError(f"{path.name}: a result of microcalc, expected a mammogram"))
    elif owner == "train":
        _add_run(path, given)
    elif owner == "study":
        _add_study(path, given)
    else:
        _add_images(path, given, with_pictures=with_pictures)


def _add_images(path: Path, given: _Given, *, with_pictures: bool, only_if_any: bool = False) -> None:
    """Add the images and tables of a path, and say why there are none unless they are looked for ``only_if_any``."""
    found = find_inputs([path], with_pictures=with_pictures)
    if not only_if_any or found.images or found.tables:
        given.problems += [str(problem) for problem in found.problems]
    given.tables += [open_table(table) for table in found.tables]
    given.images += [(image.file, image.name) for image in found.images]
    if path.is_dir():  # reports of ours; those of others are among the images
        ours = (
            file for file in sorted(path.rglob("*.dcm")) if is_result(file) and owner_of(file.parent) not in _DETECTS
        )
        given.reports += [file for file in ours if is_cad_report(file)]


def _is_detections(path: Path) -> bool:
    """Return whether a path is a CSV file of marks, a detections document, or a folder of such documents."""
    if path.is_dir():
        return not is_table(path) and any(_is_document(file) for file in sorted(path.glob("*.json"))[:3])
    return path.is_file() and ((path.suffix.lower() == ".csv" and not is_table(path)) or _is_document(path))


def _is_document(path: Path) -> bool:
    if path.suffix.lower() != ".json":
        return False
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("schema") == SCHEMA


def _add_run(run: Path, given: _Given) -> None:
    if not is_table(run / "table"):
        raise InputError(f"{run.name}: a run without its table, expected one whose images have been normalised")
    given.tables.append(open_table(run / "table"))
    if (run / "model" / "model.json").is_file():
        given.models.append(run / "model")
    given.runs.append(run)


def _add_study(study: Path, given: _Given) -> None:
    tables = sorted((f.parent for f in study.glob("**/table/images.csv")), key=lambda f: f.stat().st_mtime)
    if not tables:
        raise InputError(f"{study.resolve().name}: a study without a table, expected one with its images")
    given.tables.append(open_table(tables[-1]))
    given.models += sorted(f.parent for f in (study / "models").glob("*/model.json"))
    given.examples += sorted((study / "report").glob("examples.csv"))


def _described(given: _Given, info: ImageInfo) -> tuple[Table, list[ExamFacts]]:
    """Return all images as one table, and the exam facts of each."""
    rows: list[ImageRow] = []
    facts: list[ExamFacts] = []
    for file, name in given.images:
        try:
            row, fact = _describe(file, name, info)
        except MicrocalcError as error:
            _add_report(file, given, otherwise=error)
        else:
            rows.append(row)
            facts.append(fact)
    loose = Table(tuple(rows))
    refuse_repeated(loose.images, "the images")
    table = join_tables([loose, *given.tables]) if given.tables else loose
    facts += [_facts_of_row(row, given) for row in table.images[len(rows) :]]
    return Table(tuple(_sized(row) for row in table.images), table.annotations), facts


def _add_report(file: Path, given: _Given, *, otherwise: MicrocalcError) -> None:
    """Add a file that is no image if it is a CAD report, or else why it is not shown."""
    try:
        if is_cad_report_or_refused(file):
            given.reports.append(file)
        else:
            given.problems.append(str(otherwise))
    except MicrocalcError as error:
        given.problems.append(str(error))


def _sized(row: ImageRow) -> ImageRow:
    """Return the line of a table with the size of the image, as far as its file tells: a place outside is refused."""
    if row.shape is not None or not row.file.is_file():
        return row
    try:
        shape = picture_shape(row.file) if is_picture(row.file) else read_facts(row.file).shape
    except InputError:  # whoever looks at the image is told
        return row
    return row if shape is None else replace(row, rows=shape[0], columns=shape[1])


def _describe(file: Path, name: str, info: ImageInfo) -> tuple[ImageRow, ExamFacts]:
    """Return a file as a line of a table, by its header and by what the user says of it."""
    if not file.is_file():
        raise UnreadableImageError(f"{file.name}: no such file, expected an image")
    if is_picture(file):
        shape = picture_shape(file)
        facts, uid = ExamFacts(), ""
        spacing, intent = stated_for_picture(file, info)
    else:
        stated, facts = read_facts(file), read_exam_facts(file)
        shape_or_none, spacing_or_none = stated.shape, stated.spacing_mm or info.pixel_spacing_mm
        intent_or_none = facts.intent or (None if "intent" in stated.stated else info.intent)
        if shape_or_none is None or intent_or_none is None:
            check_header(file, info, any_view=True)  # says why
            raise UnreadableImageError(f"{file.name}: not a mammogram, expected one")
        if spacing_or_none is None:
            raise MissingSpacingError(f"{file.name}: no pixel spacing in the header, expected --pixel-spacing MM")
        shape, spacing, intent, uid = shape_or_none, spacing_or_none, intent_or_none, stated.uid
    row = ImageRow(
        image=name, file=file.absolute(), intent=intent, spacing_mm=spacing, view=facts.view or info.view or "",
        laterality=facts.laterality or info.laterality or "", sop_instance_uid=uid,
        sha256="" if uid else file_sha256(file), rows=shape[0], columns=shape[1],
    )  # fmt: skip
    return row, facts


def _facts_of_row(row: ImageRow, given: _Given) -> ExamFacts:
    """Return the exam facts of a table's image; the table goes before the header, and a missing file is named."""
    facts = ExamFacts()
    try:
        if row.file.is_file() and not is_picture(row.file):
            facts = read_exam_facts(row.file)
        elif not row.file.is_file():
            given.problems.append(f"{row.file.name}: no such file, expected the image of the table")
    except MicrocalcError as error:
        given.problems.append(str(error))
    return replace(facts, view=row.view or facts.view, laterality=row.laterality or facts.laterality)


def _detection_files(path: Path, number: int, table: Table) -> DetectionFiles:
    """Return which file has the detections on which image; documents that an index lists are not read yet."""
    images = TableImages(_identified(table))
    files: dict[str, Path] = {}
    for entry, file in _entries(path):
        image = images.find(entry, file.name)
        if image is not None:
            files[image.image] = file
    if not files:
        raise InputError(
            f"{path.resolve().name}: no detections on the images given, expected some (are the images given, too?)"
        )
    return DetectionFiles(f"d{number}", path.resolve().stem if path.is_file() else path.resolve().name, path, files)


def _identified(table: Table) -> Table:
    """Return the table with what identifies its images, as far as the headers tell."""
    rows = []
    for row in table.images:
        uid = row.sop_instance_uid
        if not uid and not row.sha256 and row.file.is_file() and not is_picture(row.file):
            uid = read_facts(row.file).uid
        rows.append(replace(row, sop_instance_uid=uid))
    return Table(tuple(rows))


def _entries(path: Path) -> list[tuple[ImageEntry, Path]]:
    """Return the images that detections are on, and the file of each."""
    if path.suffix.lower() == ".csv":
        lines = read_lines(path, required=("image", "row", "column", "likelihood"))
        return [(ImageEntry(file=name), path) for name in dict.fromkeys(line["image"] for _, line in lines)]
    if path.is_file():
        return [(read_result(path).image, path)]
    index = read_index(path)
    if index is None:
        return [(read_result(f).image, f) for f in sorted(path.glob("*.json")) if _is_document(f)]
    made = set(counted(path) or ())
    found = []
    for entry in index.entries:
        file = path / f"{entry.stem}.json"
        if file in made:
            is_uid = "." in entry.uid
            name = entry.image or Path(entry.file).name
            found.append(
                (
                    ImageEntry(
                        file=name,
                        sop_instance_uid=entry.uid if is_uid else None,
                        sha256=None if is_uid else entry.uid or None,
                    ),
                    file,
                )
            )
    return found


def _links(file: Path, table: Table) -> list[Link]:
    """Return the examples of a study's report."""
    known = {row.image for row in table.images}
    links = []
    for number, line in read_lines(file, required=("what", "method", "image", "row", "column")):
        where = f"{file.name} line {number}"
        if line["image"] in known:
            row, column = number_in(line, "row", where), number_in(line, "column", where)
            links.append(Link(line["image"], row, column, f"{line['what']}, {line['method']}", line["what"]))
    return links
