"""Detecting in one image file: opened, detected in, and what was found written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from microcalc.batch.names import printable
from microcalc.datasets.open import open_row
from microcalc.datasets.table import ImageRow
from microcalc.domain import Candidates, Intent, Mammogram, NormalisedMammogram
from microcalc.errors import InputError
from microcalc.images.info import NO_INFO, ImageInfo
from microcalc.images.open import naming, open_mammogram
from microcalc.pipeline import choose_model
from microcalc.storage.key import code_version, file_sha256
from microcalc.storage.write import saying_where

if TYPE_CHECKING:
    from microcalc.detection.result import Result
    from microcalc.models.model import Model

_CODE: Final = (
    "microcalc.images.dicom.read",
    "microcalc.images.picture",
    "microcalc.normalise.mammogram",
    "microcalc.detection.mammogram",
    "microcalc.cnn.scorer",
    "microcalc.cascade.rate",
)
"""The modules that decide, with those that they use, what is found in an image."""


@dataclass(frozen=True, eq=False, slots=True)
class DetectedFile:
    """What was found in a file, and what its picture is drawn from."""

    document: Result
    mammogram: Mammogram
    normalised: NormalisedMammogram

    def write(self, stem: str, out: Path, *, overlay: bool = True) -> None:
        """Write ``STEM.json`` and the overlay; see ``write_results``."""
        write_results(self.document, self.mammogram, self.normalised, stem=stem, out=out, overlay=overlay)


def detect_in(
    file: Path | ImageRow,
    model_of: Callable[[Intent], Model],
    *,
    said: ImageInfo = NO_INFO,
    any_view: bool = False,
    whole_image: bool = False,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
) -> DetectedFile:
    """Detect in one file, or in the image of a table's line; nothing is written.

    Parameters
    ----------
    file
        A line of a table is opened as the table says, and held against it; ``said`` and ``any_view`` are of files.
    model_of
        Gives the model for the image's intent; see ``choose_model``.
    whole_image
        Treat every pixel as breast.
    min_likelihood, max_candidates
        See ``detection.mammogram.detect_normalised``.

    Raises
    ------
    InputError
        The file or the model cannot be used.
    """
    from microcalc.detection.mammogram import detect_one
    from microcalc.normalise.mammogram import normalise

    start = perf_counter()
    if isinstance(file, ImageRow):
        mammogram, path = open_row(file), file.file
    else:
        mammogram, path = open_mammogram(file, said, any_view=any_view), file
    read_seconds = perf_counter() - start
    model = model_of(mammogram.intent)
    with naming(path):
        document, normalised = detect_one(
            mammogram,
            file=printable(path.name),
            model=model,
            normalise=lambda m: normalise(m, spacing_mm=model.scorer.spacing_mm, whole_image=whole_image),
            read_seconds=read_seconds,
            min_likelihood=min_likelihood,
            max_candidates=max_candidates,
        )
    return DetectedFile(document, mammogram, normalised)


def detect_file(
    file: Path | ImageRow, *, stem: str, out: Path, model_of: Callable[[Intent], Model], overlay: bool = True
) -> Result:
    """Detect in one file and write ``STEM.json`` and ``STEM.png`` into ``out``, which is made if need be.

    Raises
    ------
    InputError
        The file or the model cannot be used; nothing was written about the file.
    OutputError
        The system refused to write.
    """
    found = detect_in(file, model_of)
    with saying_where(out / f"{stem}.json"):
        out.mkdir(parents=True, exist_ok=True)
    found.write(stem, out, overlay=overlay)
    return found.document


def settings_of(choice: str | None, **settings: object) -> dict[str, object]:
    """Return all that changes what is found in an image: the model, the code, and settings that are not the default.

    Raises
    ------
    InputError
        There is no such model.
    """
    from microcalc.models.model import DESCRIPTION, laplacian_model, model_folder

    if choice == "log":
        model: object = laplacian_model().sha256
    else:
        folders = [model_folder(name) for name in (("raw", "processed") if choice is None else (choice,))]
        try:
            model = [file_sha256(folder / DESCRIPTION) for folder in folders]
        except OSError as error:
            raise InputError(f"{folders[0].name}/{DESCRIPTION}: {error.strerror}, expected a model") from None
    code = code_version(*_CODE)
    return {
        "model": model,
        "code": code,
        **{key: value for key, value in settings.items() if value is not None and value is not False},
    }


def write_results(
    document: Result,
    mammogram: Mammogram,
    normalised: NormalisedMammogram,
    *,
    stem: str,
    out: Path,
    overlay: bool = True,
) -> None:
    """Write ``STEM.json`` and, if asked for, the overlay ``STEM.png`` into a folder; each whole or not at all.

    Raises
    ------
    OutputError
        The system refused.
    """
    from microcalc.detection.result import write_result

    if overlay:
        from microcalc.display.overlay import draw_overlay, write_overlay

        write_overlay(draw_overlay(mammogram, normalised, document), out / f"{stem}.png")
    write_result(document, out / f"{stem}.json")  # last: where it stands, both stand


def rater(choice: str | None) -> Callable[[ImageRow], tuple[Mammogram, Candidates]]:
    """What ``review`` asks of an image: its pixels, and the places that the model proposes."""
    from microcalc.detection.mammogram import detect_normalised
    from microcalc.normalise.mammogram import normalise

    model_of = choose_model(choice)

    def rate(row: ImageRow) -> tuple[Mammogram, Candidates]:
        mammogram = open_row(row)
        model = model_of(mammogram.intent)
        normalised = normalise(mammogram, spacing_mm=model.scorer.spacing_mm)
        return mammogram, detect_normalised(normalised, model).candidates

    return rate
