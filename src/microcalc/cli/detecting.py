"""``microcalc detect`` and ``microcalc demo``."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from microcalc.cli.options import (
    ABOUT_IMAGES,
    DETECTION,
    EVERYTHING_HERE,
    REPORTS,
    SPEED,
    Count,
    CountOrNone,
    Flag,
    IntentOption,
    Json,
    LateralityOption,
    Share,
    SpacingOption,
    SplitOption,
    Threads,
    Where,
)
from microcalc.cli.output import PRINTING, print_error, print_fault, print_json, print_line, print_more_faults
from microcalc.errors import InputError, OutputError
from microcalc.wording import grouped, quantity

if TYPE_CHECKING:
    from microcalc.batch.report import BatchReports, WrittenReport
    from microcalc.batch.run import Batch, BatchImage, Found

_BURNED_IN: Final = (
    "text is burned into its pixels, as the header states (BurnedInAnnotation YES), "
    "and may be detected as calcifications"
)
_LIMIT_REACHED: Final = "; unusually many conspicuous places, so only the most conspicuous ones were fully rated"
_CANDIDATE_LIMIT_REACHED: Final = "; more candidates than may be listed (--max-candidates), the least likely left out"

ReportOption = Literal["sr", "tid1500", "gsps", "seg"]
_Described = Parameter(group=ABOUT_IMAGES)
_Detection = Parameter(group=DETECTION)
_DetectionFlag = Parameter(group=DETECTION, show_default=False)
_Reports = Parameter(group=REPORTS)


def detect(
    files: list[Path],
    /,
    *,
    out: Path,
    no_overlay: Flag = False,
    again: Flag = False,
    split: SplitOption | None = None,
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
    system: Annotated[str | None, _Described] = None,
    view: Annotated[str | None, _Described] = None,
    laterality: Annotated[LateralityOption | None, _Described] = None,
    model: Annotated[str | None, _Detection] = None,
    stage: Annotated[Literal["pair", "cnn1"], _Detection] = "pair",
    any_view: Annotated[bool, _DetectionFlag] = False,
    whole_image: Annotated[bool, _DetectionFlag] = False,
    min_likelihood: Annotated[Share | None, _Detection] = None,
    max_candidates: Annotated[Count | None, _Detection] = None,
    benign: Annotated[Literal["show", "apart"], _Detection] = "show",
    report: Annotated[list[ReportOption] | None, _Reports] = None,
    report_per: Annotated[Literal["exam", "image"] | None, _Reports] = None,
    codes: Annotated[Literal["sct", "srt"] | None, _Reports] = None,
    where: Where = EVERYTHING_HERE,
    threads: Threads = 0,
    device: Annotated[Literal["cpu", "cuda"], Parameter(group=SPEED)] = "cpu",
    json: Json = False,
) -> int:
    """Find microcalcifications in mammograms.

    Writes STEM.json (detections) and STEM.png (overlay) for each image, summary.csv for the call, and DICOM reports
    with --report. Images that OUT already holds results of, made from the same bytes with the same model and options,
    are skipped. An option that has no effect on any image is refused.

    Parameters
    ----------
    files
        DICOM mammograms, pictures of mammograms (PNG, TIFF, JPEG, PGM), folders of these with all folders below them,
        or folders with a table (images.csv), of which the listed images are used.
    out
        Folder for the results: new, empty, or of earlier calls.
    no_overlay
        Write no overlays.
    again
        Detect again in images that OUT already holds results of.
    split
        Use the images of this split of tables only. By default all.
    pixel_spacing
        Pixel spacing in mm. Required for pictures, and for DICOM files whose header has none.
    intent
        raw (for processing) or processed (for presentation). Required for pictures.
    system
        Manufacturer and model.
    view
        View: CC, MLO, ...
    laterality
        Laterality of the breast.
    model
        raw or processed (shipped), or a folder with a model; for comparison cascade (shipped, for raw images) or log
        (a Laplacian-of-Gaussian filter). By default the shipped model for the image's intent.
    stage
        pair: both networks; cnn1: the first network alone, for comparison.
    any_view
        Accept magnified, stereo and specimen views.
    whole_image
        Search every pixel, for crops and specimens, not only the breast.
    min_likelihood
        List candidates from this likelihood on. By default as the model sets it.
    max_candidates
        Largest number of candidates to list. By default as the model sets it.
    benign
        show: findings of vascular, coarse, rod-like, rim or skin calcifications are shown like the others; apart: they
        are marked, and drawn in another colour. They are findings in both cases.
    report
        Kind of DICOM report, written as STEM.KIND.dcm. Repeat for several. sr: Mammography CAD SR, also if nothing
        is found or an image fails; tid1500: measurement report; gsps: presentation state; seg: segmentation.
        tid1500 and seg need microcalc[report].
    report_per
        One report for all images of a study (exam), or one for each image. By default exam.
    codes
        Codes in sr: sct (SNOMED CT), or srt (the older SNOMED RT) for older workstations. By default sct.
    threads
        Number of threads per image. By default (0) the cores divided by --workers; one on a cluster.
    device
        cuda: the networks run on a GPU, in each of the --workers, which read and normalise images meanwhile. Needs
        microcalc[train]. Likelihoods are those of the processor to about a thousandth.
    json
        Print one JSON object per image on standard output; all other lines go to standard error.
    """
    from microcalc.batch.inputs import refuse_pictures
    from microcalc.batch.options import DetectOptions, ImageOptions
    from microcalc.cli.inputs import check_effect, given_images
    from microcalc.execution.executor import Processes
    from microcalc.images.info import ImageInfo
    from microcalc.storage.ownership import owner_of

    PRINTING.json = json
    _check_reports(report, report_per, codes)
    if device != "cpu" and where.cluster is None:  # before earlier results are removed
        from microcalc.models.model import check_device

        check_device(device)
    shard = where.part()
    if shard is not None and report:
        raise InputError(
            "--report: not with --shard, since the images of an exam may be in several shards; expected --report on "
            "the call without --shard that completes the folder"
        )
    with_pictures = pixel_spacing is not None and intent is not None
    given = given_images(files, split, with_pictures=with_pictures, shard=shard)
    stated = {
        "pixel_spacing": pixel_spacing, "intent": intent, "system": system, "view": view, "laterality": laterality,
    }  # fmt: skip
    check_effect(given, stated, any_view=any_view)
    spacing_mm = None if pixel_spacing is None else (pixel_spacing, pixel_spacing)
    options = DetectOptions(
        model=model,
        stage=stage,
        device=device,
        image=ImageOptions(
            ImageInfo(spacing_mm, intent, system, view, laterality),
            any_view=any_view,
            whole_image=whole_image,
            min_likelihood=min_likelihood,
            max_candidates=max_candidates,
            benign=benign,
        ),
        overlay=not no_overlay,
        again=again,
        reports=tuple(dict.fromkeys(report or ())),
        report_per_image=report_per == "image",
        codes=codes or "sct",
    )
    if options.reports:
        from microcalc.batch.report import check_reportable

        check_reportable([image.file for image in given.images])
    given = refuse_pictures(given, options.image.info)
    with where.executor(items=len(given.images)) as executor:
        if isinstance(executor, Processes) and (again or owner_of(out) is None):  # else all may be finished
            executor.prepare("microcalc.batch.analyse")
        from microcalc.batch.run import Batch  # meanwhile

        return _run(Batch(given, out, files, options, executor=executor, threads=threads, shard=shard))


def _run(batch: Batch) -> int:
    """Detect, write the reports, and print what became of each image; return the exit code."""
    lines = grouped(row.error for row in batch.problems)
    for line in lines:
        print_error(line)
    if PRINTING.json:
        for row in batch.problems:
            print_json(asdict(row))
    if not batch.images and batch.shard is None:
        unusable = quantity(len(batch.problems), "file or folder", "files or folders")
        return 2 if len(lines) == 1 else print_error(f"{unusable} could not be used")
    others = batch.others
    if others:
        images = quantity(others, "other image")
        print_line(f"{batch.out.resolve().name}: also holds results of {images}, which are kept")
    batch.begin()
    reports = None
    try:
        for image in batch.detect():
            _print_image(image)
        if batch.options.reports:
            from microcalc.batch.report import BatchReports

            reports = BatchReports(batch)
            for report in reports.write():
                _print_report(report)
    finally:
        with suppress(OutputError):  # such as a full disk: the error that stopped the work is reported
            batch.close()
    print_more_faults()
    _print_end(batch)
    return _exit_code(batch, reports)


def _print_image(image: BatchImage) -> None:
    """Print what a person, or with ``--json`` a program, reads about one image."""
    from microcalc.images.open import printable

    name = printable(image.image.file.name)
    if image.error is not None:
        print_fault(str(image.error))
    elif image.found is not None:
        print_line(f"{name}: {_in_words(image.found, finished=image.finished)}")
        if image.found.burned_in and not image.finished:
            print_fault(f"{name}: {_BURNED_IN}")
    if PRINTING.json:
        print_json(asdict(image.summary()))


def _in_words(found: Found, *, finished: bool) -> str:
    row = found.row
    threshold = found.threshold
    where = "" if threshold is None else f" at the default operating point (likelihood from {threshold:.3f})"
    time = "finished before" if finished else f"{row.seconds or 0.0:.1f} s"
    limits = _LIMIT_REACHED * found.survivor_limit_reached + _CANDIDATE_LIMIT_REACHED * found.candidate_limit_reached
    apart = row.findings_apart or 0
    kinds = f" ({apart} of them set apart: likely no microcalcifications)" * (apart > 0)
    counts = [f"{quantity(row.findings or 0, 'finding')}{kinds}{where}"]
    if found.has_mark_points:
        counts.append(quantity(row.single_calcifications or 0, "single calcification"))
    counts.append(quantity(found.candidates, "candidate"))
    return f"{', '.join(counts)}, {time}{limits}"


def _print_report(report: WrittenReport) -> None:
    more = f", {report.more} more at operating points of higher sensitivity" * bool(report.more)
    findings, singles = quantity(report.findings, "finding"), quantity(report.singles, "single calcification")
    apart = f", {report.apart} set apart" * bool(report.apart)
    alone = f", {singles}" * bool(report.singles)
    print_line(f"report: {report.file.name} ({findings} at the default operating point{more}{apart}{alone})")


def _print_end(batch: Batch) -> None:
    """Print where the results are, and what may be done with them."""
    results = [image for image in batch.images if image.found is not None]
    if batch.shard is not None:
        others = f"shard {batch.shard}: {quantity(len(batch.images), 'image')} of {len(batch.given.images)}"
        print_line(f"{others}; when all shards are done, the same command without --shard completes {batch.out}")
        return
    if not results:
        return
    found = [image for image in results if image.found is not None and image.found.row.findings]
    before = sum(image.finished for image in results)
    skipped = f"; {before} finished before (--again repeats them)" * bool(before)
    print_line(f"{batch.out}: results of {quantity(len(results), 'image')}, {len(found)} with findings{skipped}")
    folder = shlex.quote(str(batch.out))
    first = (found or results)[0].stem
    if any(image.image.row is not None for image in results):
        table = shlex.quote(str(batch.paths[0])) if len(batch.paths) == 1 else "TABLE"
        print_line(f"next: microcalc evaluate {folder} --truth {table} --out FIGURES")
    elif "sr" in batch.options.reports:
        print_line(f"next: microcalc show-report {shlex.quote(str(batch.out / f'{first}.sr.dcm'))}")
    elif batch.options.overlay:
        print_line(f"next: look at {batch.out / f'{first}.png'}, and at {batch.out / 'summary.csv'} for all images")


def _exit_code(batch: Batch, reports: BatchReports | None) -> int:
    """Print what failed; return the exit code."""
    failed = sum(image.found is None for image in batch.images) + len(batch.problems)
    total = len(batch.images) + len(batch.problems)
    lost = [f"{failed} of {quantity(total, 'file')} could not be used"] * bool(failed)
    if reports is not None:
        lost += [f"{quantity(reports.unreported, 'image')} could not be reported"] * bool(reports.unreported)
        lost += [f"{quantity(reports.failed, 'report')} could not be made"] * bool(reports.failed)
    return print_error(", ".join(lost), code=2 if failed == total == 1 else 1) if lost else 0


def _check_reports(report: list[ReportOption] | None, report_per: str | None, codes: str | None) -> None:
    """Refuse report options without --report, and reports whose extra is not installed."""
    if report_per is not None and not report:
        raise InputError(f"--report-per {report_per}: has no effect without --report, expected both")
    if codes is not None and "sr" not in (report or ()):
        raise InputError(f"--codes {codes}: has no effect without --report sr, expected both")
    from microcalc.extras import require_modules

    if {"tid1500", "seg"}.intersection(report or ()):
        require_modules("highdicom")


def demo(*, out: Path = Path("demo"), seed: CountOrNone = 4) -> None:
    """Simulate one mammogram per vendor, detect, and show what was hit, missed and falsely marked.

    Parameters
    ----------
    out
        Folder for images, detections and overlays.
    seed
        Seed of the random numbers: the same seed gives the same mammograms. With the default, each has a cluster.
    """
    from microcalc.batch import demo as demonstration

    for line in demonstration.demo(out, seed=seed):
        print_line(line)
