"""The DICOM reports of a batch, exam by exam and kind by kind: one that cannot be made is named."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.batch.run import Batch, BatchImage, is_of_one_file
from microcalc.detection.result import Result, read_result
from microcalc.errors import InputError, MicrocalcError, OutputError
from microcalc.images.open import is_picture, unforeseen
from microcalc.models.model import models_of
from microcalc.reports.exam import EXAM_KINDS, Report, exam_reports, write_report
from microcalc.reports.from_results import algorithm_of, reported_image
from microcalc.reports.image_header import ImageHeader, read_image_header
from microcalc.reports.reported_image import ReportedImage, by_exam, remarks

if TYPE_CHECKING:
    from microcalc.reports.header import ReportKind

_LOG = logging.getLogger("microcalc.batch")


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report in the folder of the results.

    Attributes
    ----------
    findings, more
        Number of findings at the default operating point, and at operating points of higher sensitivity, which only a
        CAD report includes.
    singles
        Number of single calcifications.
    apart
        Number of clusters set apart.
    """

    file: Path
    kind: ReportKind
    findings: int
    more: int
    singles: int
    apart: int

    @classmethod
    def of(cls, path: Path, report: Report) -> WrittenReport:
        """Return what a report includes."""
        with_optional = report.kind == "sr"
        points = [point for image in report.results for _, point in image.reported_clusters()]
        findings, apart = points.count(0), points.count(None)
        more = len(points) - findings - apart if with_optional else 0
        singles = sum(len(image.singles(with_optional=with_optional)) for image in report.results)
        return cls(path, report.kind, findings, more, singles, apart)


@dataclass(slots=True)
class BatchReports:
    """Writes the reports of a batch whose images are done.

    Attributes
    ----------
    unreported
        Number of images with a result that no report can be written about.
    failed
        Number of reports that could not be made.
    """

    batch: Batch
    unreported: int = 0
    failed: int = 0
    _stems: dict[ReportedImage, str] = field(default_factory=dict)
    _kinds_tried: set[ReportKind] = field(default_factory=set)

    def write(self) -> Iterator[WrittenReport]:
        """Write the reports, and yield each; what cannot be reported is logged.

        Raises
        ------
        OutputError
            Nothing more can be written.
        """
        made, options = datetime.now().astimezone(), self.batch.options
        for image in self.batch.images:
            self._add(image)
        images = list(self._stems)
        for exam in [[image] for image in images] if options.report_per_image else by_exam(images):
            for kind in options.reports:
                for part in [exam] if kind in EXAM_KINDS else [[image] for image in exam]:
                    yield from self._write(kind, part, made)
        for kind in options.reports:
            if kind not in EXAM_KINDS and kind not in self._kinds_tried:
                _LOG.info("report %s: none, since no image has a finding or a single calcification", kind)
        for line in remarks([image.header for image in images]):
            _LOG.warning("%s", line)

    def _add(self, image: BatchImage) -> None:
        """Add an image to those that reports are written about, if its header allows."""
        options = self.batch.options
        if image.found is None and image.error is None:
            return
        parameters = [f"{name}={value}" for name, value in options.settings().items() if value not in (None, False)]
        try:
            result = None if image.found is None else read_result(self.batch.out / f"{image.stem}.json")
            header = read_image_header(image.image.file)
            model = models_of(options.model, options.stage, self.batch.threads, options.device).of(header.intent)
            algorithm = algorithm_of(model, parameters)
            outcome = result or image.error or ""
            self._stems[reported_image(_completed(header, result), algorithm, outcome)] = image.stem
        except MicrocalcError as error:
            if image.error is None:  # else the image's own error was logged
                self.unreported += 1
                _LOG.warning("%s", error)

    def _write(self, kind: ReportKind, part: Sequence[ReportedImage], made: datetime) -> Iterator[WrittenReport]:
        first, results = part[0].header.file, self.batch.results
        try:
            for report in exam_reports(part, [kind], made=made, codes=self.batch.options.codes):
                path = results.check_free(f"{self._stems[report.results[0]]}.{kind}.dcm")
                results.open()
                write_report(report, path)
                results.reported(path.name, (self._stems[image] for image in report.results))
                self._kinds_tried.add(kind)
                yield WrittenReport.of(path, report)
        except OutputError as error:
            if not is_of_one_file(error):
                raise
            self._fail(kind, str(error))
        except MicrocalcError as error:
            text = str(error)
            self._fail(kind, text if text.startswith(first.name) else f"{first.name}: {text}")
        except Exception as error:
            self._fail(kind, str(unforeseen(first, error)))

    def _fail(self, kind: ReportKind, message: str) -> None:
        self.failed += 1
        self._kinds_tried.add(kind)
        _LOG.warning("%s", message)


def check_reportable(files: Sequence[Path]) -> None:
    """Refuse to report on pictures alone, before any work.

    Raises
    ------
    InputError
        All files are pictures.
    """
    if files and all(file.is_file() and is_picture(file) for file in files):
        raise InputError("--report: pictures alone, which state no patient and no study; expected DICOM files")


def _completed(header: ImageHeader, result: Result | None) -> ImageHeader:
    """Return the header with what it lacks and the user stated."""
    if result is None:
        return header
    image = result.image
    return replace(
        header,
        spacing_mm=header.spacing_mm or image.pixel_spacing_mm,
        view=header.view or image.view,
        laterality=header.laterality or image.laterality,
    )
