"""Detecting in many images, several at a time: one that fails is named, and the others go on.

The images are analysed by an executor's workers, each of which reads a file, detects, and writes ``STEM.json`` and
the overlay; what comes back is small. A worker that dies costs its image alone. The results are the same bytes, but for
the seconds, in any executor and any number of shards.
"""

from __future__ import annotations

import errno
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

from microcalc.batch.folder import ResultsFolder
from microcalc.batch.inputs import GivenImages, Input
from microcalc.batch.names import Identity, place_of, result_stems
from microcalc.batch.options import DetectOptions
from microcalc.batch.settings import settings_of
from microcalc.batch.summary import SummaryRow, check_summary, write_summary
from microcalc.detection.result import Result, read_result
from microcalc.errors import InputError, MicrocalcError, OutputError, WorkerDiedError
from microcalc.execution.executor import SERIAL, Executor, threads_of
from microcalc.execution.memory import keep_freed_memory, keep_what_is_loaded
from microcalc.execution.progress import Progress, log_progress
from microcalc.execution.shard import Shard
from microcalc.images.open import printable, unforeseen
from microcalc.models.model import models_of, wherever
from microcalc.storage.index import IndexEntry, stamp_of
from microcalc.storage.key import file_sha256, key_of
from microcalc.storage.ownership import owner_of

COMMAND: Final = "detect"
_OF_ONE_FILE: Final = (None, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Found:
    """What is printed about a result; the result itself is in its file.

    Attributes
    ----------
    threshold
        Least likelihood at the default operating point; None: the model has none.
    has_mark_points
        Whether the model has operating points of single calcifications.
    """

    row: SummaryRow
    candidates: int
    threshold: float | None
    has_mark_points: bool
    survivor_limit_reached: bool
    candidate_limit_reached: bool
    burned_in: bool

    @classmethod
    def of(cls, image: Input, stem: str, result: Result) -> Found:
        """Return what is printed about the result of an image."""
        return cls(
            SummaryRow.of(printable(image.name), f"{stem}.json", result),
            len(result.candidates),
            None if result.operating_point is None else result.operating_point.threshold,
            bool(result.mark_operating_points),
            result.survivor_limit_reached is True,
            result.candidate_limit_reached is True,
            result.image.burned_in is True,
        )


@dataclass(slots=True)
class BatchImage:
    """One image of a batch, the name of its results, and what became of it.

    Attributes
    ----------
    stem
        Its results are ``STEM.json`` and so on.
    stamp
        See ``storage.index``.
    found
        None where the image failed, or was not tried.
    error
        Why it failed.
    finished
        Whether an earlier call made the result, and this one did not try the image.
    """

    image: Input
    stem: str
    stamp: str = ""
    found: Found | None = None
    error: MicrocalcError | None = None
    finished: bool = False

    def summary(self) -> SummaryRow:
        """Return the image's row of ``summary.csv``."""
        name = printable(self.image.name)
        if self.found is None:
            return SummaryRow(name, error="not tried" if self.error is None else str(self.error))
        return self.found.row


@dataclass(frozen=True, slots=True)
class _Done:
    """What a worker returns: a result in short, or an error.

    Attributes
    ----------
    made_from
        See ``storage.index``.
    stops
        Whether nothing more can be written: the disk is full, for example.
    """

    found: Found | None = None
    made_from: str = ""
    error: MicrocalcError | None = None
    stops: bool = False


@dataclass(slots=True)
class Batch:
    """One call of ``microcalc detect``: its images, and the folder of their results.

    Parameters
    ----------
    given
        The images, and what was given beside them that is none.
    out
        Folder for the results.
    paths
        What was given, as the caller wrote it: none of it is written to.
    options
        How images are detected in, and what is written.
    executor
        Where the images are analysed.
    threads
        Number of threads for each image; 0: the cores divided among the images in work.
    shard
        The part of the images that is analysed, while other calls may analyse the others in the same folder.

    Raises
    ------
    InputError
        There is no image; the folder cannot be used; results of another model, option or version of the code would
        stay beside the new ones.
    """

    given: GivenImages
    out: Path
    paths: Sequence[Path]
    options: DetectOptions
    executor: Executor = SERIAL
    threads: int = 0
    shard: Shard | None = None
    images: list[BatchImage] = field(init=False)
    results: ResultsFolder = field(init=False)
    _identities: dict[str, Identity] = field(init=False)

    def __post_init__(self) -> None:
        """Give each image its stem, and find those whose results are there."""
        given = self.given
        choice = wherever(self.options.model)
        self.options = replace(self.options, model=None if choice is None else str(choice))
        self.threads = self.threads or threads_of(self.executor)
        models_of(
            self.options.model, self.options.stage, self.threads, self.options.device
        )  # a wrong name is refused before any work
        if not given.images and len(given.problems) == 1:
            raise given.problems[0]
        settings = settings_of(self.options.model, **self.options.settings())
        self.results = ResultsFolder(self.out, COMMAND, settings=settings, inputs=self.paths, shard=self.shard)
        identities = [
            Identity("" if facts is None else facts.uid, place_of(image.file))
            for image, facts in zip(given.images, given.facts, strict=True)
        ]
        named = [(image.file.stem, identity) for image, identity in zip(given.images, identities, strict=True)]
        stems = result_stems(named, self.results.taken)
        self._identities = dict(zip(stems, identities, strict=True))
        named_in = ((image, stem) for image, stem in zip(given.images, stems, strict=True) if image.is_in(self.shard))
        self.images = [BatchImage(image, stem, _stamp(image, self.options)) for image, stem in named_in]
        if self.shard is not None:
            problems = tuple(problem for problem in given.problems if self.shard.has(_name_of(problem)))
            self.given = replace(given, problems=problems)
        self.results.check_settings([image.stem for image in self.images])
        check_summary(self.out)
        for image in self.images if not self.options.again else ():
            made_from = partial(_made_from, image.image, self.options)
            if self.results.is_finished(image.stem, image.stamp, made_from, overlay=self.options.overlay):
                image.found = Found.of(image.image, image.stem, read_result(self.out / f"{image.stem}.json"))
                image.finished = True

    @property
    def is_single(self) -> bool:
        """Return whether one image was given, and nothing else."""
        return len(self.given.images) == 1 and not self.given.problems

    @property
    def problems(self) -> list[SummaryRow]:
        """Return a row for each path that yields no image."""
        return [SummaryRow(_name_of(problem), error=str(problem)) for problem in self.given.problems]

    @property
    def others(self) -> int:
        """Return the number of other images that the folder holds results of, and that stay."""
        return 0 if self.shard is not None else self.results.others([image.stem for image in self.images])

    def begin(self) -> None:
        """Remove the results that this call replaces, and record which images it tries.

        Raises
        ------
        OutputError
            The system refused.
        """
        finished = [image.stem for image in self.images if image.finished]
        entries = (
            IndexEntry(
                image.stem,
                "/".join(printable(part) for part in image.image.name.split("/")),
                *self._identities[image.stem],
                image="" if image.image.row is None else image.image.row.image,
                made_from=self.results.known(image.stem) if image.finished else "",
                stamp=image.stamp,
            )
            for image in self.images
        )
        self.results.begin(entries, finished=finished, with_reports=bool(self.options.reports))

    def detect(self) -> Iterator[BatchImage]:
        """Detect in the images, and yield each when it is done; those finished before come first.

        Raises
        ------
        MicrocalcError
            The only image fails, and no report is to be written about it; or nothing more can be written.
        """
        yield from (image for image in self.images if image.finished)
        to_try = list(self._images_to_try())
        yield from (image for image in self.images if image.error is not None)
        start, before = monotonic(), len(self.images) - len(to_try)
        if to_try:
            self.results.open()
            log_progress(Progress("detecting", before, len(self.images), None))
        detect = partial(_detect, out=self.out, options=self.options, threads=self.threads)
        outcomes = self.executor.run(detect, to_try)
        for number, outcome in enumerate(outcomes, 1):
            image = outcome.item
            done = self._done(image, outcome.value, outcome.error)
            if done.stops and done.error is not None:
                raise done.error
            image.found, image.error = done.found, done.error
            if image.error is None:
                self.results.made(image.stem, done.made_from)
            else:
                self.results.failed(image.stem, str(image.error))
            yield image
            left = (monotonic() - start) / number * (len(to_try) - number)
            log_progress(Progress("detecting", before + number, len(self.images), left))

    def close(self) -> None:
        """Write the index and ``summary.csv``; where nothing was made, leave no folder behind.

        A shard leaves ``summary.csv`` to the call that completes the folder.
        """
        self.results.close()
        if self.shard is None and owner_of(self.out) == COMMAND:
            write_summary(self.out, [*(image.summary() for image in self.images), *self.problems])

    def _images_to_try(self) -> Iterator[BatchImage]:
        """Yield the images to try; an image whose result a user's file is in the way of fails here."""
        for image in self.images:
            if image.finished:
                continue
            try:
                for suffix in (".json", ".png") if self.options.overlay else (".json",):
                    self.results.check_free(f"{image.stem}{suffix}")
            except OutputError as error:
                if self.is_single:
                    raise
                image.error = error
                self.results.failed(image.stem, str(error))
            else:
                yield image

    def _done(self, image: BatchImage, done: _Done | None, error: Exception | None) -> _Done:
        file = image.image.file
        if done is None:
            if self.is_single and not isinstance(error, (MemoryError, WorkerDiedError)):
                raise error or RuntimeError("neither a result nor an error")  # with its traceback
            if isinstance(error, WorkerDiedError):
                done = _Done(error=WorkerDiedError(f"{file.name}: {error}"))
            else:
                done = _Done(error=unforeseen(file, error or RuntimeError()))
        if done.error is not None and self.is_single and not self.options.reports:
            self.results.failed(image.stem, str(done.error))
            raise done.error
        return done


def is_of_one_file(error: OutputError) -> bool:
    """Return whether only one file could not be written, and others still can: a user's file, a long name."""
    return getattr(error.__cause__, "errno", None) in _OF_ONE_FILE


def _detect(image: BatchImage, *, out: Path, options: DetectOptions, threads: int) -> _Done:
    """Detect in one image and write its results; called in a worker."""
    from microcalc.batch import analyse  # brings what detection needs, which the process that starts workers does not

    given = image.image
    keep_freed_memory()
    keep_what_is_loaded()
    made_from = _made_from(given, options)
    try:
        with suppress(InputError):  # there is one where a worker died between writing it and saying so
            return _Done(Found.of(given, image.stem, read_result(out / f"{image.stem}.json")), made_from)
        models = models_of(options.model, options.stage, threads, options.device)
        detected = analyse.detect_in(given.file if given.row is None else given.row, models, options.image)
        detected.write(image.stem, out, overlay=options.overlay)
    except OutputError as error:
        return _Done(error=error, stops=not is_of_one_file(error))
    except MicrocalcError as error:
        return _Done(error=error)
    except Exception as error:
        if multiprocessing.parent_process() is None:
            raise
        return _Done(error=unforeseen(given.file, error))  # here, where its traceback is
    return _Done(Found.of(given, image.stem, detected.result), made_from)


def _made_from(image: Input, options: DetectOptions) -> str:
    """Return a key of the file's bytes and of what is stated about the image; empty where it cannot be read."""
    try:
        is_file = image.file.is_file()  # opening a pipe would wait for ever
        return key_of([file_sha256(image.file), _stated(image, options)]) if is_file else ""
    except OSError:
        return ""


def _stamp(image: Input, options: DetectOptions) -> str:
    """Return a key of the file's size and times and of what is stated about the image; empty where there is none."""
    stamp = stamp_of(image.file)
    return key_of([stamp, _stated(image, options)]) if stamp else ""


def _stated(image: Input, options: DetectOptions) -> str:
    row = image.row
    return repr((options.image.info,) if row is None else (row.info, row.shape, row.sop_instance_uid, row.sha256))


def _name_of(problem: MicrocalcError) -> str:
    """Return the name that a message begins with."""
    return str(problem).split(": ", 1)[0]
