"""``microcalc detect`` and ``microcalc demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from microcalc.cli.options import (
    ABOUT_IMAGES,
    DETECTION,
    REPORTS,
    Count,
    CountOrNone,
    Flag,
    IntentOption,
    LateralityOption,
    Share,
    SpacingOption,
    SplitOption,
    Threads,
)
from microcalc.cli.output import print_line
from microcalc.errors import InputError

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
    report: Annotated[list[ReportOption] | None, _Reports] = None,
    report_per: Annotated[Literal["exam", "image"] | None, _Reports] = None,
    codes: Annotated[Literal["sct", "srt"] | None, _Reports] = None,
    threads: Threads = 0,
) -> int:
    """Find microcalcifications in mammograms.

    Writes STEM.json (detections) and STEM.png (overlay) for each image, and DICOM reports with --report. An option
    that has no effect on any image is refused.

    Parameters
    ----------
    files
        DICOM mammograms, pictures of mammograms (PNG, TIFF, JPEG), folders of these with all folders below them, or
        folders with a table (images.csv), of which the listed images are used.
    out
        Folder for the results: new, empty, or of earlier calls with the same model and options.
    no_overlay
        Write no overlays.
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
    report
        Kind of DICOM report, written as STEM.KIND.dcm. Repeat for several. sr: Mammography CAD SR, also if nothing
        is found or an image fails; tid1500: measurement report; gsps: presentation state; seg: segmentation.
        tid1500 and seg need microcalc[report].
    report_per
        One report for all images of a study (exam), or one for each image. By default exam.
    codes
        Codes in sr: sct (SNOMED CT), or srt (the older SNOMED RT) for older workstations. By default sct.
    threads
        Number of threads. By default (0) one per core.
    """
    from microcalc.cli.batch import Batch, Options
    from microcalc.cli.inputs import check_effect, given_images
    from microcalc.images.info import ImageInfo
    from microcalc.models.model import Models

    _check_reports(report, report_per, codes)
    models = Models(model, threads=threads, stage=stage)
    settings: dict[str, object] = {
        "stage": None if stage == "pair" else stage,
        "whole_image": whole_image,
        "min_likelihood": min_likelihood,
        "max_candidates": max_candidates,
    }
    given = given_images(files, split, with_pictures=pixel_spacing is not None and intent is not None)
    check_effect(
        given,
        {
            "pixel_spacing": pixel_spacing,
            "intent": intent,
            "system": system,
            "view": view,
            "laterality": laterality,
        },
        any_view=any_view,
    )
    options = Options(
        said=ImageInfo(
            None if pixel_spacing is None else (pixel_spacing, pixel_spacing), intent, system, view, laterality
        ),
        any_view=any_view,
        settings=settings,
        overlay=not no_overlay,
        reports=tuple(dict.fromkeys(report or ())),
        report_per_image=report_per == "image",
        codes=codes or "sct",
        model=model,
    )
    return Batch(given, out, files, options, models).run()


def _check_reports(report: list[ReportOption] | None, report_per: str | None, codes: str | None) -> None:
    """Refuse options of reports that are not asked for, and reports that cannot be made here."""
    if report_per is not None and not report:
        raise InputError(f"--report-per {report_per}: no report is asked for, expected --report as well")
    if codes is not None and "sr" not in (report or ()):
        raise InputError(f"--codes {codes}: has an effect on sr alone, expected --report sr as well")
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
        Start of the random numbers: the same seed gives the same mammograms. With the default, each has a cluster.
    """
    from microcalc.batch import demo as demonstration

    for line in demonstration.demo(out, seed=seed):
        print_line(line)
