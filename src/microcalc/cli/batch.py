"""Detecting in many images: one that fails is named, and the others go on."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from microcalc.cli.output import print_error, print_line
from microcalc.errors import InputError, MicrocalcError, OutputError
from microcalc.images.open import unforeseen

if TYPE_CHECKING:
    from datetime import datetime

    from microcalc.batch.inputs import Input
    from microcalc.cli.inputs import Given
    from microcalc.detection.result import Result
    from microcalc.domain import Intent
    from microcalc.images.info import ImageInfo
    from microcalc.models.model import Models
    from microcalc.reports.cad_report import CodeScheme
    from microcalc.reports.header import ReportKind
    from microcalc.reports.image_header import ImageHeader
    from microcalc.reports.reported_image import Algorithm, ReportedImage

_COMMAND: Final = "detect"
LIMIT_REACHED: Final = "; unusually many conspicuous places, so only the most conspicuous ones were fully rated"
BURNED_IN: Final = (
    "text is burned into its pixels, as the header says (BurnedInAnnotation YES); it may be taken for calcium"
)
_OF_ONE_FILE: Final = (None, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for; ``settings`` are those that change what is found."""

    said: ImageInfo
    any_view: bool
    settings: Mapping[str, object]
    overlay: bool
    reports: Sequence[ReportKind]
    report_per_image: bool
    codes: CodeScheme
    model: str | None


@dataclass(slots=True)
class _Item:
    """One image, what its results are called, and what came of it."""

    image: Input
    stem: str
    found: Result | MicrocalcError | None = None


@dataclass(slots=True)
class _Count:
    """What failed, beside images."""

    unreported: int = 0
    reports: int = 0
    named: set[str] = field(default_factory=set)


class Batch:
    """One call of ``microcalc detect``.

    Raises
    ------
    InputError
        There is no image at all; the folder for the results cannot be used; no image can be reported.
    """

    def __init__(self, given: Given, out: Path, paths: Sequence[Path], options: Options, models: Models) -> None:
        from microcalc.batch.folder import ResultsFolder
        from microcalc.batch.names import Identity, place_of, result_stems
        from microcalc.batch.settings import settings_of

        if not given.images and len(given.problems) == 1:
            raise given.problems[0]
        self._options, self._models, self._problems = options, models, given.problems
        self._results = ResultsFolder(
            out, _COMMAND, settings=settings_of(options.model, **options.settings), inputs=paths
        )
        identities = [
            Identity("" if fact is None else fact.uid, place_of(image.file))
            for image, fact in zip(given.images, given.facts, strict=True)
        ]
        stems = result_stems(
            [(image.file.stem, identity) for image, identity in zip(given.images, identities, strict=True)],
            self._results.taken,
        )
        self._items = [_Item(image, stem) for image, stem in zip(given.images, stems, strict=True)]
        self._identities = dict(zip(stems, identities, strict=True))
        if options.reports:
            _check_reportable([image.file for image in given.images])

    def run(self) -> int:
        """Detect in all images, and write the reports; the exit code."""
        for problem in self._problems:
            print_error(str(problem))
        if not self._items:
            return print_error(f"{len(self._problems)} files or folders could not be used")
        self._begin()
        try:
            for item in self._items:
                self._detect(item)
            count = self._report() if self._options.reports else _Count()
        finally:
            with suppress(OutputError):  # the disk is full: what stopped the work says so
                self._results.write_index()
        return self._end(count)

    def _begin(self) -> None:
        """Say what stays beside the new results, and remove what they take the place of."""
        from microcalc.images.open import printable
        from microcalc.storage.index import IndexEntry

        others = self._results.others([item.stem for item in self._items])
        if others:
            images = f"{others} other image{'s' * (others != 1)}"
            print_line(f"{self._results.folder.resolve().name}: also holds results of {images}, which stay")
        self._results.begin(
            IndexEntry(
                item.stem,
                "/".join(printable(part) for part in item.image.name.split("/")),
                *self._identities[item.stem],
                image="" if item.image.row is None else item.image.row.image,
            )
            for item in self._items
        )

    def _detect(self, item: _Item) -> None:
        """Detect in one image and write what was found; on a failure, name it.

        Raises
        ------
        MicrocalcError
            The only image fails, and nothing is to be reported; or nothing more can be written.
        """
        try:
            item.found = self._found(item)
        except OutputError as error:
            if getattr(error.__cause__, "errno", None) not in _OF_ONE_FILE:
                raise
            item.found = error
        except MicrocalcError as error:
            item.found = error
        except Exception as error:
            if self._alone and not isinstance(error, MemoryError):
                raise  # with its traceback
            item.found = unforeseen(item.image.file, error)
        if isinstance(item.found, MicrocalcError):
            self._results.failed(item.stem, str(item.found))
            if self._alone and not self._options.reports:
                raise item.found
            print_error(str(item.found))

    @property
    def _alone(self) -> bool:
        return len(self._items) == 1 and not self._problems

    def _found(self, item: _Item) -> Result:
        from microcalc.batch import analyse

        suffixes = [".json", ".png"] if self._options.overlay else [".json"]
        for suffix in suffixes:
            self._results.check_free(f"{item.stem}{suffix}")
        row, asked = item.image.row, self._options.settings
        found = analyse.detect_in(
            item.image.file if row is None else row,
            self._models,
            info=self._options.said,
            any_view=self._options.any_view,
            whole_image=bool(asked["whole_image"]),
            min_likelihood=asked["min_likelihood"],  # type: ignore[arg-type]
            max_candidates=asked["max_candidates"],  # type: ignore[arg-type]
        )
        self._results.open()
        found.write(item.stem, self._results.folder, overlay=self._options.overlay)
        print_line(_line(item.image.file.name, found.result))
        if found.mammogram.burned_in:
            print_error(f"{item.image.file.name}: {BURNED_IN}")
        return found.result

    def _report(self) -> _Count:
        """Write the reports, exam by exam and kind by kind: one that cannot be made is named."""
        from datetime import datetime

        from microcalc.reports.exam import EXAM_KINDS
        from microcalc.reports.reported_image import by_exam, remarks

        count, made = _Count(), datetime.now().astimezone()
        stems = self._image_results(count)
        results = list(stems)
        for exam in [[r] for r in results] if self._options.report_per_image else by_exam(results):
            for kind in self._options.reports:
                for part in [exam] if kind in EXAM_KINDS else [[result] for result in exam]:
                    self._write_report(kind, part, stems, made, count)
        for kind in self._options.reports:
            if kind not in EXAM_KINDS and kind not in count.named:
                print_line(f"report {kind}: none, since no image has a finding")
        for line in remarks([result.header for result in results]):
            print_error(line)
        return count

    def _image_results(self, count: _Count) -> dict[ReportedImage, str]:
        """What reports say of each image that one can speak of, with its stem."""
        from microcalc.reports.from_results import reported_image
        from microcalc.reports.image_header import read_image_header

        stems: dict[ReportedImage, str] = {}
        for item in self._items:
            if item.found is None:
                continue
            try:
                header = _completed(read_image_header(item.image.file), item.found)
                stems[reported_image(header, self._algorithm(header.intent), item.found)] = item.stem
            except MicrocalcError as error:
                if not isinstance(item.found, MicrocalcError):  # else all has been said
                    count.unreported += 1
                    print_error(str(error))
        return stems

    def _algorithm(self, intent: Intent) -> Algorithm:
        from microcalc.reports.from_results import algorithm_of

        parameters = [f"{name}={value}" for name, value in self._options.settings.items() if _is_set(value)]
        return algorithm_of(self._models.of(intent), parameters)

    def _write_report(
        self,
        kind: ReportKind,
        part: Sequence[ReportedImage],
        stems: Mapping[ReportedImage, str],
        made: datetime,
        count: _Count,
    ) -> None:
        from microcalc.reports.exam import exam_reports, write_report

        first = part[0].header.file
        try:
            for report in exam_reports(part, [kind], made=made, codes=self._options.codes):
                path = self._results.check_free(f"{stems[report.results[0]]}.{kind}.dcm")
                self._results.open()
                write_report(report, path)
                self._results.reported(path.name, (stems[result] for result in report.results))
                count.named.add(kind)
                print_line(f"report: {path.name}{_said_of(report.results)}")
        except OutputError as error:
            if getattr(error.__cause__, "errno", None) not in _OF_ONE_FILE:
                raise
            count.reports += 1
            print_error(str(error))
        except MicrocalcError as error:
            count.reports += 1
            count.named.add(kind)
            said = str(error)
            print_error(said if said.startswith(first.name) else f"{first.name}: {said}")
        except Exception as error:
            count.reports += 1
            count.named.add(kind)
            print_error(str(unforeseen(first, error)))

    def _end(self, count: _Count) -> int:
        """Say what was lost; the exit code."""
        failed = sum(not _is_found(item.found) for item in self._items) + len(self._problems)
        total = len(self._items) + len(self._problems)
        lost = [f"{failed} of {total} files could not be used"] * bool(failed)
        lost += [f"{count.unreported} could not be reported"] * bool(count.unreported)
        lost += [f"{count.reports} reports could not be made"] * bool(count.reports)
        return print_error(", ".join(lost), code=2 if failed == total == 1 else 1) if lost else 0


def _completed(header: ImageHeader, found: Result | MicrocalcError) -> ImageHeader:
    """The header with what it lacks and the user said."""
    if isinstance(found, MicrocalcError):
        return header
    image = found.image
    return replace(
        header,
        spacing_mm=header.spacing_mm or image.pixel_spacing_mm,
        view=header.view or image.view,
        laterality=header.laterality or image.laterality,
    )


def _is_found(found: Result | MicrocalcError | None) -> bool:
    return found is not None and not isinstance(found, MicrocalcError)


def _is_set(value: object) -> bool:
    return value is not None and value is not False


def _line(name: str, document: Result) -> str:
    """What a person reads of one image, in one line whatever its name."""
    from microcalc.images.open import printable

    found = sum(cluster.finding for cluster in document.clusters)
    point = document.operating_point
    where = "" if point is None else f" at the default operating point (likelihood from {point.threshold:.3f})"
    return (
        f"{printable(name)}: {found} finding{'s' * (found != 1)}{where}, {len(document.candidates)} candidates, "
        f"{document.total_seconds:.1f} s{LIMIT_REACHED * (document.survivor_limit_reached is True)}"
    )


def _said_of(results: Sequence[ReportedImage]) -> str:
    """How many findings a report holds, by operating point."""
    points = [point for result in results for _, point in result.reported_clusters()]
    more = sum(point > 0 for point in points)
    optional = f", {more} more at operating points of higher sensitivity" * bool(more)
    return f" ({len(points) - more} finding{'s' * (len(points) - more != 1)} at the default operating point{optional})"


def _check_reportable(files: Sequence[Path]) -> None:
    """Refuse to report on pictures alone, before any work."""
    from microcalc.images.open import is_picture

    if files and all(file.is_file() and is_picture(file) for file in files):
        raise InputError("--report: pictures alone, whose patient and study nobody says; expected DICOM files")
