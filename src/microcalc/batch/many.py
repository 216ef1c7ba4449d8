"""Detecting in many image files, in one process or in several; results come as they are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from microcalc.batch.analyse import detect_in
from microcalc.detection.result import Result
from microcalc.errors import BatchError, MicrocalcError
from microcalc.execution.executor import Executor, Serial
from microcalc.images.info import NO_INFO, ImageInfo
from microcalc.images.open import unforeseen
from microcalc.models.model import Models


@dataclass(frozen=True, slots=True)
class _Task:
    """One file, and how it is analysed: small values only, which travel to other processes."""

    file: Path
    model: str | Path | None
    threads: int
    info: ImageInfo
    any_view: bool
    whole_image: bool
    min_likelihood: float | None
    max_candidates: int | None


def detect_all(
    paths: Iterable[str | Path],
    *,
    model: str | Path | None = None,
    executor: Executor | None = None,
    info: ImageInfo = NO_INFO,
    any_view: bool = False,
    whole_image: bool = False,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
) -> Iterator[Result]:
    """Detect in many files, and yield each result as soon as it is done.

    A file that cannot be used does not end the work on the others. Which file a result is of is
    ``result.image.file``.

    Parameters
    ----------
    paths
        Image files.
    model
        What ``load_model`` takes; None: the shipped model for each image's intent. It is loaded once in each process.
    executor
        ``Serial()`` (the default): in this process, in the order given. ``Processes(n)``: in n processes, in the
        order in which they are done; a script that uses it needs ``if __name__ == "__main__":``, because each process
        imports it. Any other ``execution.Executor`` serves as well.
    info
        What pictures (PNG, TIFF, JPEG) do not state themselves, the same for all: pixel spacing and intent.
    any_view
        Whether magnification, stereo and specimen views are accepted as well.
    whole_image, min_likelihood, max_candidates
        See ``detect``.

    Yields
    ------
    Result
        With the seconds that each step took.

    Raises
    ------
    BatchError
        After the last result: some files could not be used. ``failures`` maps each of them to its error.

    Examples
    --------
    >>> for result in microcalc.detect_all(["view.dcm"]):
    ...     print(result.image.file, len(result.findings))
    view.dcm 3

    >>> try:
    ...     results = list(microcalc.detect_all(["view.dcm", "absent.dcm"]))
    ... except microcalc.BatchError as error:
    ...     print(error)
    1 of 2 files could not be used: absent.dcm: no such file, expected a DICOM, PNG, TIFF or JPEG file
    """
    executor = executor or Serial()
    threads = 0 if isinstance(executor, Serial) else 1  # several processes share the cores
    tasks = [
        _Task(Path(path), model, threads, info, any_view, whole_image, min_likelihood, max_candidates) for path in paths
    ]
    failures: dict[Path, Exception] = {}
    for outcome in executor.run(_detect, tasks):
        if outcome.error is None:
            yield outcome.result()
        elif isinstance(outcome.error, MicrocalcError):
            failures[outcome.item.file] = outcome.error
        else:
            failures[outcome.item.file] = unforeseen(outcome.item.file, outcome.error)
    if failures:
        raise BatchError(failures, total=len(tasks))


def _detect(task: _Task) -> Result:
    return detect_in(
        task.file,
        _models(task.model, task.threads),
        info=task.info,
        any_view=task.any_view,
        whole_image=task.whole_image,
        min_likelihood=task.min_likelihood,
        max_candidates=task.max_candidates,
    ).result


@cache
def _models(choice: str | Path | None, threads: int) -> Models:
    return Models(choice, threads=threads)
