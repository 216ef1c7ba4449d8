"""Detecting in many image files, in one process or in several; results come as they are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from microcalc.batch.analyse import detect_in
from microcalc.batch.options import ImageOptions
from microcalc.detection.result import Result
from microcalc.domain import BenignFindings
from microcalc.errors import BatchError, MicrocalcError
from microcalc.execution.executor import Executor, Serial
from microcalc.images.info import NO_INFO, ImageInfo
from microcalc.images.open import unforeseen
from microcalc.models.model import models_of, wherever


# Nine parameters: those of `read` and `detect`, so that a call for one file and a call for many are written alike.
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
    benign: BenignFindings = "show",
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
        imports it. ``Cluster(address)``: on a Dask cluster. Any other ``execution.Executor`` serves as well.
    info
        What pictures (PNG, TIFF, JPEG, PGM) do not state themselves, the same for all: pixel spacing and intent.
    any_view
        Whether magnification, stereo and specimen views are accepted as well.
    whole_image, min_likelihood, max_candidates, benign
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
    view.dcm 1

    >>> try:
    ...     results = list(microcalc.detect_all(["view.dcm", "absent.dcm"]))
    ... except microcalc.BatchError as error:
    ...     print(error)
    1 of 2 files could not be used: absent.dcm: no such file, expected a DICOM, PNG, TIFF, JPEG or PGM file
    """
    executor = executor or Serial()
    threads = 0 if isinstance(executor, Serial) else 1  # several processes share the cores
    options = ImageOptions(info, any_view, whole_image, min_likelihood, max_candidates, benign)
    files = [Path(path) for path in paths]
    failures: dict[Path, Exception] = {}
    for outcome in executor.run(partial(_detect, model=wherever(model), threads=threads, options=options), files):
        if outcome.error is None:
            yield outcome.result()
        elif isinstance(outcome.error, MicrocalcError):
            failures[outcome.item] = outcome.error
        else:
            failures[outcome.item] = unforeseen(outcome.item, outcome.error)
    if failures:
        raise BatchError(failures, total=len(files))


def _detect(file: Path, *, model: str | Path | None, threads: int, options: ImageOptions) -> Result:
    """Detect in one file; called in a worker."""
    return detect_in(file, models_of(model, "pair", threads), options).result
