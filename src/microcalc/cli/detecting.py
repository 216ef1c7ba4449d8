"""``microcalc detect`` and ``microcalc demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from microcalc.cli.options import (
    Count,
    CountOrNone,
    IntentOption,
    LateralityOption,
    Share,
    SpacingOption,
    SplitOption,
    Threads,
)
from microcalc.cli.output import say
from microcalc.errors import InputError

ReportOption = Literal["sr", "tid1500", "gsps", "seg"]


def detect(
    files: list[Path],
    /,
    *,
    out: Path,
    model: str | None = None,
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
    system: str | None = None,
    view: str | None = None,
    laterality: LateralityOption | None = None,
    any_view: bool = False,
    whole_image: bool = False,
    min_likelihood: Share | None = None,
    max_candidates: Count | None = None,
    stage: Literal["pair", "cnn1"] = "pair",
    split: SplitOption | None = None,
    no_overlay: bool = False,
    report: list[ReportOption] | None = None,
    report_per: Literal["exam", "image"] | None = None,
    codes: Literal["sct", "srt"] | None = None,
    threads: Threads = 0,
) -> int:
    """Find microcalcifications; write STEM.json and STEM.png per image, and DICOM reports if asked for.

    An option without effect is refused: what a header or a table says itself cannot be said again.

    Parameters
    ----------
    files
        DICOM mammograms, or PNG, TIFF or JPEG pictures of them; or folders of such files, with the folders below
        them. Of a table's folder (with images.csv) the images that it lists, with what it says of pictures.
    out
        Folder for the results: new, or of earlier calls with the same model and options. OUT/index.json lists the
        images that were tried.
    model
        raw or processed (shipped), a folder with a model, or for comparison cascade (shipped, for raw images) or log
        (a plain filter). By default the shipped one for the image's intent.
    pixel_spacing
        Of pictures, in mm: required, since a picture does not say it; and of DICOM files whose header does not.
    intent
        Of pictures: raw (for processing) or processed (for presentation); required.
    system
        Of pictures: manufacturer and model.
    view
        Of pictures: CC, MLO, ...
    laterality
        Of pictures: L or R.
    any_view
        Accept magnified, stereo and specimen views as well.
    whole_image
        Treat every pixel as breast (crops, specimens).
    min_likelihood
        List candidates down to this likelihood.
    max_candidates
        List so many candidates at most.
    stage
        cnn1 rates by the first network alone, for comparison.
    split
        Of tables, take the images of this split only. By default all.
    no_overlay
        Write no picture.
    report
        Write DICOM reports as STEM.KIND.dcm by the exam's first image; may be given several times. sr: Mammography
        CAD SR, also where nothing is found or an image fails; tid1500: measurements; gsps: presentation state; seg:
        segmentation. tid1500 and seg need microcalc[report].
    report_per
        image: a report for each image, not one for all images of a study. By default exam.
    codes
        Of sr: sct, or srt, the older SNOMED RT, for older workstations. By default sct.
    threads
        Threads for scoring; 0: all cores.
    """
    from microcalc import pipeline
    from microcalc.cli.batch import Batch, Options
    from microcalc.cli.inputs import check_effect, given_images
    from microcalc.images.info import ImageInfo

    _check_reports(report, report_per, codes)
    model_of = pipeline.choose_model(model, threads=threads, stage=stage)
    settings: dict[str, object] = {
        "stage": None if stage == "pair" else stage,
        "whole_image": whole_image,
        "min_likelihood": min_likelihood,
        "max_candidates": max_candidates,
    }
    given = given_images(files, split)
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
    return Batch(given, out, files, options, model_of).run()


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
    """Simulate one mammogram per vendor, detect, and say what was found, missed and wrongly marked.

    Parameters
    ----------
    out
        Folder for images, detections and overlays.
    seed
        The same seed gives the same mammograms; with the default one, each has a cluster.
    """
    from microcalc.batch import demo as demonstration

    demonstration.demo(out, seed=seed, say=say)
