"""The method on one page: read, normalise, score, group, report.

Training is ``runs.training.train``; simulating and inserting are in ``runs`` too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from microcalc.datasets.table import ImageRow
from microcalc.domain import Candidates, Intent, Laterality, Mammogram, NormalisedMammogram, PixelScorer
from microcalc.errors import InputError
from microcalc.runs.images import naming, open_mammogram, open_row
from microcalc.storage.key import code_version, file_sha256
from microcalc.storage.ownership import open_output_folder
from microcalc.storage.write import saying_where

if TYPE_CHECKING:
    from microcalc.detect.model import Model, Stage
    from microcalc.detect.report import Detections

_CODE: Final = (
    "microcalc.dicom.read",
    "microcalc.picture.read",
    "microcalc.normalise.mammogram",
    "microcalc.detect.mammogram",
    "microcalc.detect.scorer",
    "microcalc.cascade.rate",
)
"""The modules that decide, with those that they use, what is found in an image."""


def choose_model(choice: str | None, *, threads: int = 0, stage: Stage = "pair") -> Callable[[Intent], Model]:
    """What gives every image its model: by default the shipped one for its intent; see ``detect.model``.

    Parameters
    ----------
    choice
        Name of a shipped model, "log", or a model's folder; None: by the image's intent.
    threads
        Of the scorer; 0: all cores.
    stage
        ``"cnn1"`` rates by the first network alone.
    """
    from microcalc.detect import model

    return model.choose_model(choice, threads=threads or os.cpu_count() or 1, stage=stage, open_cascade=open_cascade)


def open_cascade(file: Path, threads: int) -> PixelScorer:
    """What ``detect.model.load_model`` opens the file of a cascade with."""
    from microcalc.cascade.cascade import load_cascade
    from microcalc.cascade.rate import CascadeScorer  # brings the compiler

    return CascadeScorer(load_cascade(file), threads=threads)


@dataclass(frozen=True, slots=True)
class Said:
    """What a user says of images that do not say it themselves; None: nothing."""

    pixel_spacing_mm: float | None = None
    intent: Intent | None = None
    system: str | None = None
    view: str | None = None
    laterality: Laterality | None = None


@dataclass(frozen=True, eq=False, slots=True)
class DetectedFile:
    """What was found in a file, and what its picture is drawn from."""

    document: Detections
    mammogram: Mammogram
    normalised: NormalisedMammogram

    def write(self, stem: str, out: Path, *, overlay: bool = True) -> None:
        """Write ``STEM.json`` and the overlay; see ``detect.mammogram.write_results``."""
        from microcalc.detect.mammogram import write_results

        write_results(self.document, self.mammogram, self.normalised, stem=stem, out=out, overlay=overlay)


def detect_in(
    file: Path | ImageRow,
    model_of: Callable[[Intent], Model],
    *,
    said: Said | None = None,
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
        See ``detect.mammogram.detect_normalised``.

    Raises
    ------
    InputError
        The file or the model cannot be used.
    """
    from microcalc.detect.mammogram import detect_one
    from microcalc.detect.names import printable
    from microcalc.normalise.mammogram import normalise

    start = perf_counter()
    if isinstance(file, ImageRow):
        mammogram, path = open_row(file), file.file
    else:
        mammogram, path = open_mammogram(file, any_view=any_view, **asdict(said or Said())), file
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
) -> Detections:
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
    from microcalc.detect.model import DESCRIPTION, log_model, model_folder

    if choice == "log":
        model: object = log_model().sha256
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


def rater(choice: str | None) -> Callable[[ImageRow], tuple[Mammogram, Candidates]]:
    """What ``review`` asks of an image: its pixels, and the places that the model proposes."""
    from microcalc.detect.mammogram import detect_normalised
    from microcalc.normalise.mammogram import normalise

    model_of = choose_model(choice)

    def rate(row: ImageRow) -> tuple[Mammogram, Candidates]:
        mammogram = open_row(row)
        model = model_of(mammogram.intent)
        normalised = normalise(mammogram, spacing_mm=model.scorer.spacing_mm)
        return mammogram, detect_normalised(normalised, model).candidates

    return rate


def demo(out: Path, *, seed: int, say: Callable[[str], None]) -> None:
    """Simulate one raw mammogram per vendor, detect, and say what was hit, missed and marked falsely.

    Marks are the members of findings, that is of clusters at the default operating point.

    Raises
    ------
    InputError
        The folder is not new, and not one of an earlier demonstration.
    OutputError
        The system refused to write.
    """
    import numpy as np

    from microcalc.evaluate.judge import IGNORED_KINDS
    from microcalc.evaluate.match import match
    from microcalc.runs.results import remove_results
    from microcalc.runs.simulated import simulate_data_set
    from microcalc.simulate.contents import Amounts
    from microcalc.simulate.exam import RAW_ONLY
    from microcalc.simulate.systems import VENDORS

    start, model_of = perf_counter(), choose_model(None)
    open_output_folder(out, "demo")
    remove_results(out)  # of another seed, say
    say(f"simulating {len(VENDORS)} mammograms with known microcalcifications")
    table = simulate_data_set(
        out / "images",
        systems=VENDORS,
        exams=1,
        seed=seed,
        intents=RAW_ONLY,
        views=("CC",),
        lateralities=("L",),
        amounts=Amounts(clusters=2.5, diameter_mm=0.3, packing=(1.5, 2.5)),  # solid ones: a person sees them too
        workers=min(len(VENDORS), os.cpu_count() or 1),
    )
    say(f"{'system':34} {'clusters':>9} {'microcalcifications':>20} {'':>7} {'false':>6} {'':>8}")
    say(f"{'':34} {'hit':>9} {'hit':>12} {'missed':>7} {'marks':>14} {'seconds':>9}")
    for row in table.images:
        found = detect_file(row.file, stem=row.image, out=out, model_of=model_of)
        grid, truth = row.grid, table.annotations_of(row)
        members = sorted({m for c in found.clusters if c.finding for m in c.members})
        marks = grid.to_mm(np.array([(found.candidates[m].row, found.candidates[m].column) for m in members]))
        real, ignored = truth.kind == "microcalcification", np.isin(truth.kind, IGNORED_KINDS)
        matched = match(
            marks,
            np.array([found.candidates[m].likelihood for m in members]),
            truth.centres[real],
            ignore_mm=truth.centres[ignored],
            ignore_radius_mm=truth.diameter_mm[ignored] / 2,
        )
        hit = np.isfinite(matched.lesion_rating)
        clusters = set(truth.cluster[real]) - {""}
        clusters_hit = len(set(truth.cluster[real][hit]) & clusters)
        say(
            f"{row.system[:34]:34} {clusters_hit:>4} of {len(clusters)} {hit.sum():>12} {(~hit).sum():>7} "
            f"{len(matched.nl_rating):>14} {found.total_seconds:>9.1f}"
        )
    say(f"{out}: overlays (PNG) and detections (JSON); {perf_counter() - start:.0f} s")
