"""Detecting in one image file: read, detect, and write the result; each step is timed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from microcalc.batch.options import ALL_DEFAULTS, ImageOptions
from microcalc.datasets.open import open_row
from microcalc.datasets.table import ImageRow
from microcalc.detection.entries import Seconds
from microcalc.detection.make_result import make_result
from microcalc.detection.result import Result, write_result
from microcalc.detection.stages import find_clusters
from microcalc.domain import Candidates, Mammogram, NormalisedMammogram
from microcalc.images.open import naming, open_mammogram
from microcalc.models.model import Models
from microcalc.normalise.mammogram import normalise
from microcalc.storage.write import saying_where


@dataclass(frozen=True, eq=False, slots=True)
class DetectedFile:
    """The result for a file, and what its overlay is drawn from."""

    result: Result
    mammogram: Mammogram
    normalised: NormalisedMammogram

    def write(self, stem: str, out: Path, *, overlay: bool = True) -> None:
        """Write ``STEM.json`` and, unless ``overlay`` is false, ``STEM.png``; each whole or not at all.

        Raises
        ------
        OutputError
            A file cannot be written.
        """
        if overlay:
            from microcalc.display.overlay import draw_overlay, write_overlay

            write_overlay(draw_overlay(self.mammogram, self.normalised, self.result), out / f"{stem}.png")
        write_result(self.result, out / f"{stem}.json")  # last: where it exists, both are complete


def detect_in(file: Path | ImageRow, models: Models, options: ImageOptions = ALL_DEFAULTS) -> DetectedFile:
    """Detect in one file, or in the image of a table's line; nothing is written.

    Parameters
    ----------
    file
        An image file; or a line of a table, whose image is opened as the table says and checked against it.
    models
        The model for each intent.

    Raises
    ------
    InputError
        The file cannot be used, or the model is for images of the other intent.
    """
    start = perf_counter()
    path = file.file if isinstance(file, ImageRow) else file
    if isinstance(file, ImageRow):
        mammogram = open_row(file)
    else:
        mammogram = open_mammogram(file, options.info, any_view=options.any_view)
    read = perf_counter() - start
    model = models.of(mammogram.intent)
    start = perf_counter()
    with naming(path):
        normalised = normalise(mammogram, spacing_mm=model.spacing_mm, whole_image=options.whole_image)
    normalised_at = perf_counter()
    scores = model.scorer.score(normalised)
    scored_at = perf_counter()
    detected = find_clusters(
        mammogram,
        normalised,
        scores,
        model,
        min_likelihood=options.min_likelihood,
        max_candidates=options.max_candidates,
    )
    grouped_at = perf_counter()
    seconds = Seconds(
        read=round(read, 3),
        normalise=round(normalised_at - start, 3),
        score=round(scored_at - normalised_at, 3),
        group=round(grouped_at - scored_at, 3),
        total=round(read + grouped_at - start, 3),
    )
    result = make_result(
        mammogram,
        detected,
        model,
        breast_area_cm2=normalised.breast_area_cm2,
        benign=options.benign,
        seconds=seconds,
    )
    return DetectedFile(result, mammogram, normalised)


def detect_file(
    file: Path | ImageRow,
    models: Models,
    options: ImageOptions = ALL_DEFAULTS,
    *,
    stem: str,
    out: Path,
    overlay: bool = True,
) -> Result:
    """Detect in one file, and write ``STEM.json`` and ``STEM.png`` into ``out``, which is made if it does not exist.

    Raises
    ------
    InputError
        The file or the model cannot be used; nothing was written.
    OutputError
        A file cannot be written.
    """
    detected = detect_in(file, models, options)
    with saying_where(out / f"{stem}.json"):
        out.mkdir(parents=True, exist_ok=True)
    detected.write(stem, out, overlay=overlay)
    return detected.result


def candidates_of(row: ImageRow, models: Models) -> tuple[Mammogram, Candidates]:
    """Return the mammogram of a table's line, and the candidates that the model proposes in it.

    Raises
    ------
    InputError
        The file or the model cannot be used.
    """
    mammogram = open_row(row)
    model = models.of(mammogram.intent)
    with naming(row.file):
        normalised = normalise(mammogram, spacing_mm=model.spacing_mm)
    return mammogram, find_clusters(mammogram, normalised, model.scorer.score(normalised), model).candidates
