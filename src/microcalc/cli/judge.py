"""The commands that judge: ``microcalc review`` (a person), ``evaluate`` and ``roc`` (a table)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from microcalc.cli.options import (
    Count,
    CountOrNone,
    DPrime,
    IntentOption,
    JpegQuality,
    Length,
    PatchSpacing,
    Resamples,
    SpacingOption,
    SplitOption,
    Workers,
    refuse_beside,
    table_of,
)
from microcalc.cli.output import say, say_error
from microcalc.errors import InputError
from microcalc.storage.key import key_of
from microcalc.storage.ownership import check_output_folder, open_output_folder, output_folder

if TYPE_CHECKING:
    from microcalc.datasets.table import Table
    from microcalc.domain import Intent
    from microcalc.evaluation.reporting.report import Summary


def review(
    source: Path,
    /,
    *,
    out: Path,
    take: list[Path] | None = None,
    places: Count | None = None,
    judge: str = "",
    model: str | None = None,
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
) -> int:
    """Annotate with a model's help: contact sheets of the places rated highest, and a table to fill in.

    Parameters
    ----------
    source
        Folder with images.csv, or with images.
    out
        The review's folder; each call makes the next round, of new places only.
    take
        Take the verdicts of these filled-in tables back instead of making a round.
    places
        Places per image. By default 60.
    judge
        Who judges.
    model
        raw or processed (shipped), a folder with a model, or log. By default the shipped one for the image's intent.
    pixel_spacing
        Of pictures in a folder without a table, in mm.
    intent
        Of pictures in a folder without a table: raw or processed.
    """
    if take:
        refuse_beside("--take", places=places, model=model, pixel_spacing=pixel_spacing, intent=intent)
        with output_folder(out, "review", inputs=[source]):
            return _take_verdicts(take, out, judge)
    from microcalc.batch import analyse
    from microcalc.review.rounds import describe_round, make_round

    check_output_folder(out, "review", inputs=[source])
    rate = analyse.rater(model)
    settings = key_of(analyse.settings_of(model))
    table, unread = _images_to_review(source, pixel_spacing, intent)
    for why in unread:
        say_error(why)
    if not table.images:
        raise InputError(f"{source.name}: no image to review, expected some")
    with output_folder(out, "review", inputs=[source]):
        made = make_round(
            table, out, rate, places=places or 60, judge=judge, rated_by=f"{model or 'shipped'} {settings[:12]}",
            progress=say,
        )  # fmt: skip
    for line in describe_round(made):
        say(line)
    failed = len(unread) + len(made.failed)
    return say_error(f"{failed} images could not be used", code=1) if failed else 0


def _images_to_review(source: Path, pixel_spacing: float | None, intent: Intent | None) -> tuple[Table, list[str]]:
    """The table, read or made of the images in a folder; and why files of the folder are not in it."""
    from microcalc.cli.inputs import check_effect, given_images
    from microcalc.datasets.open import open_table
    from microcalc.datasets.table import is_table
    from microcalc.images.info import ImageInfo
    from microcalc.images.open import open_mammogram
    from microcalc.review.folder import table_of_images

    if is_table(source):
        refuse_beside("a table", pixel_spacing=pixel_spacing, intent=intent)
        return open_table(source), []
    given = given_images([source], None)
    if not given.images and given.problems:
        raise given.problems[0]
    check_effect(given, {"pixel_spacing": pixel_spacing, "intent": intent})
    info = ImageInfo(None if pixel_spacing is None else (pixel_spacing, pixel_spacing), intent)
    table, failed = table_of_images(
        [(image.name, image.file) for image in given.images],
        lambda file: open_mammogram(file, info),
    )
    return table, [*(str(problem) for problem in given.problems), *(why for _, why in failed)]


def _take_verdicts(files: Sequence[Path], out: Path, judge: str) -> int:
    from microcalc.review.rounds import describe_taken, take

    for line in describe_taken(take(files, out, judge=judge)):
        say(line)
    return 0


def evaluate(
    detections: list[Path],
    /,
    *,
    truth: Path,
    out: Path,
    split: SplitOption = "all",
    hit_mm: Length = 0.5,
    count_ignored: bool = False,
    false_marks: Literal["all", "reviewed"] = "all",
    false_on: Literal["all", "lesion_free"] = "all",
    lesions_by: str | None = None,
    min_d_prime: DPrime = 0.0,
    resamples: Resamples = 2000,
    seed: CountOrNone = 0,
) -> int:
    """Judge detections against a table: FROC with intervals by patient. Several folders are compared in pairs.

    Parameters
    ----------
    detections
        Folders with the STEM.json files of microcalc detect, one per detector, or CSV files of marks; or a
        Mammography CAD SR of any maker, or a folder of them.
    truth
        Folder with images.csv and annotations.csv.
    out
        Folder for the figures and curves.
    split
        Judge the images of this split only.
    hit_mm
        A mark this near to a microcalcification's centre hits it.
    count_ignored
        Count marks on calcium of other kinds and on unsure places as false.
    false_marks
        reviewed: count only marks on places reviewed as no calcium.
    false_on
        lesion_free: count false marks only on images without microcalcifications.
    lesions_by
        Only microcalcifications that this judge annotated (such as inserted) are lesions; others are ignored.
    min_d_prime
        Microcalcifications of a lower d' in the table are ignored.
    resamples
        Of the bootstrap.
    seed
        Of the bootstrap.
    """
    from microcalc.datasets.open import identified_table
    from microcalc.evaluation.names import detector_names
    from microcalc.evaluation.reporting.report import COMMAND, compare_detections, evaluate_detections
    from microcalc.reports.exchange import are_reports, detections_of_reports

    if false_marks == "reviewed":  # then a mark on calcium of other kinds is false in no case
        refuse_beside("--false-marks reviewed", count_ignored=count_ignored or None)
    check_output_folder(out, COMMAND, inputs=[*detections, truth])
    names = detector_names(detections)
    table = identified_table(table_of(truth, split))
    reports = [are_reports(path) for path in detections]
    if any(reports):
        open_output_folder(out, COMMAND)
    detections = [
        detections_of_reports(path, table, out / "from-reports" / name) if is_report else path
        for path, name, is_report in zip(detections, names, reports, strict=True)
    ]
    if len(detections) == 1:
        summaries: Sequence[Summary] = [
            evaluate_detections(
                detections, table, out=out, name=names[0], hit_mm=hit_mm, count_ignored=count_ignored,
                false_marks=false_marks, false_on=false_on, lesions_by=lesions_by, min_d_prime=min_d_prime,
                resamples=resamples, seed=seed,
            )
        ]  # fmt: skip
        say((out / "summary.md").read_text(encoding="utf-8").rstrip())
    else:
        named = {name: [path] for name, path in zip(names, detections, strict=True)}
        summaries = compare_detections(
            named, table, out=out, hit_mm=hit_mm, count_ignored=count_ignored,
            false_marks=false_marks, false_on=false_on, lesions_by=lesions_by, min_d_prime=min_d_prime,
            resamples=resamples, seed=seed,
        ).summaries  # fmt: skip
        say((out / "compare.md").read_text(encoding="utf-8").rstrip())
    for summary in summaries:
        for remark in (*summary.misfits, *summary.remarks):
            say_error(f"{summary.name}: {remark}")
    return 1 if any(summary.misfits or summary.counts.images_without_detections for summary in summaries) else 0


def roc(
    *,
    model: str,
    truth: Path,
    out: Path,
    split: SplitOption = "all",
    resamples: Resamples = 2000,
    seed: CountOrNone = 0,
) -> int:
    """Sample-level ROC of a model's CNN1 and pair, and of the LoG filter, per system.

    Parameters
    ----------
    model
        raw or processed (shipped), or a folder with a model.
    truth
        Folder with images.csv and annotations.csv.
    out
        Folder for roc.json and roc.md.
    split
        Judge the images of this split only.
    resamples
        Of the bootstrap.
    seed
        Of the bootstrap.
    """
    from microcalc.models.model import model_folder
    from microcalc.training.sample_roc import sample_roc

    folder = model_folder(model)
    check_output_folder(out, "roc", inputs=[truth, folder])
    table = table_of(truth, split)
    with output_folder(out, "roc", inputs=[truth, folder]):
        made = sample_roc(folder, table, out, resamples=resamples, seed=seed, say=say)
    say(made.text.rstrip())
    for why in made.left_out:
        say_error(why)
    return 1 if made.left_out else 0


def realism(
    simulated: Path,
    /,
    *,
    real: Path,
    scale: list[PatchSpacing] | None = None,
    jpeg_quality: JpegQuality = 90,
    steps: Count = 2000,
    seed: CountOrNone = 1,
    workers: Workers = 1,
) -> None:
    """Measure how well a small network tells simulated processed mammograms from real ones. Needs microcalc[train].

    Parameters
    ----------
    simulated
        Folder with the table of simulated images.
    real
        Folder with the table of real images, of the same system and view at best.
    scale
        mm per pixel of the patches; may be given several times. By default 0.1, 0.2, 0.4 and 0.8.
    jpeg_quality
        Of the compression that all images go through: best that of the real ones, where these are JPEG files.
    steps
        Of the network's training.
    seed
        Of the patches and the training.
    workers
        Processes.
    """
    from microcalc.extras import require_modules

    require_modules("torch")
    from microcalc.validation.distance import SCALES_MM, measure_distance

    distance = measure_distance(
        table_of(simulated, "all"),
        table_of(real, "all"),
        seed=seed,
        scales_mm=scale or SCALES_MM,
        jpeg_quality=jpeg_quality,
        steps=steps,
        workers=workers,
        say=say,
    )
    for line in distance.lines():
        say(line)
