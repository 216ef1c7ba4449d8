"""``microcalc detect`` and ``microcalc demo``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from microcalc.cli.options import (
    Count,
    CountOrNone,
    IntentOption,
    LateralityOption,
    Share,
    SpacingOption,
    SplitOption,
    check_out,
    table_of,
)
from microcalc.cli.output import say, say_error
from microcalc.errors import InputError, MicrocalcError

if TYPE_CHECKING:
    from microcalc.datasets.table import ImageRow
    from microcalc.detect.report import Detections
    from microcalc.dicom.cad_report import CodeScheme
    from microcalc.dicom.report_header import ReportKind
    from microcalc.dicom.results import Algorithm
    from microcalc.domain import Intent

ReportOption = Literal["sr", "tid1500", "gsps", "seg"]
_NOT_IMAGES: Final = {".csv", ".json", ".md", ".toml", ".txt"}


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
    split: SplitOption = "all",
    no_overlay: bool = False,
    report: list[ReportOption] | None = None,
    report_per: Literal["exam", "image"] = "exam",
    codes: Literal["sct", "srt"] = "sct",
    threads: CountOrNone = 0,
) -> int:
    """Find microcalcifications; write STEM.json and STEM.png per image, and DICOM reports if asked for.

    Parameters
    ----------
    files
        DICOM mammograms, or PNG, TIFF or JPEG pictures of them; or folders of such files. Of a table's folder (with
        images.csv) the images that it lists, with what it says of pictures.
    out
        Folder for the results.
    model
        raw or processed (shipped), a folder with a model, or for comparison cascade (shipped, for raw images) or log
        (a plain filter). By default the shipped one for the image's intent.
    pixel_spacing
        Of pictures, in mm: required, since a picture does not say it.
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
        Of tables, take the images of this split only.
    no_overlay
        Write no picture.
    report
        Write DICOM reports as STEM.KIND.dcm by the exam's first image; may be given several times. sr: Mammography
        CAD SR, also where nothing is found or an image fails; tid1500: measurements; gsps: presentation state; seg:
        segmentation. All but sr need microcalc[report].
    report_per
        image: a report for each image, not one for all images of a study.
    codes
        Of sr; srt: the older SNOMED RT, for older workstations.
    threads
        Threads for scoring; 0: all cores.
    """
    from microcalc import pipeline
    from microcalc.detect.mammogram import output_stems

    check_out(out)
    images = image_files(files, split)
    stems = output_stems([file for file, _ in images])
    model_of = pipeline.choose_model(model, threads=threads, stage=stage)
    outcomes: list[tuple[Path, str, Detections | MicrocalcError]] = []
    for (file, row), stem in zip(images, stems, strict=True):
        try:
            document = pipeline.detect_file(
                file,
                stem=stem,
                out=out,
                model_of=model_of,
                pixel_spacing_mm=row.spacing_mm[0] if row else pixel_spacing,
                intent=row.intent if row else intent,
                system=(row.system if row else system) or None,
                view=(row.view if row else view) or None,
                laterality=(row.laterality if row else laterality) or None,
                any_view=any_view,
                whole_image=whole_image,
                min_likelihood=min_likelihood,
                max_candidates=max_candidates,
                overlay=not no_overlay,
            )
        except MicrocalcError as error:
            if len(images) == 1 and not report:
                raise
            outcomes.append((file, stem, error))
            say_error(str(error))
        else:
            outcomes.append((file, stem, document))
            found = sum(c.finding for c in document.clusters)
            say(
                f"{file.name}: {found} finding{'s' * (found != 1)}, {len(document.candidates)} candidates, "
                f"{document.total_seconds:.1f} s"
            )
    unreported = 0
    if report:
        from microcalc.runs.reports import algorithm_of

        settings = _settings(
            stage=stage, whole_image=whole_image, min_likelihood=min_likelihood, max_candidates=max_candidates
        )
        unreported = _write_reports(
            outcomes,
            lambda intent: algorithm_of(model_of(intent), model, settings),
            kinds=report,
            out=out,
            codes=codes,
            per_image=report_per == "image",
        )
    failed = sum(isinstance(found, MicrocalcError) for _, _, found in outcomes)
    if failed or unreported:
        code = 2 if failed == len(images) == 1 else 1
        lost = [f"{failed} of {len(images)} files could not be used"] * bool(failed)
        lost += [f"{unreported} could not be reported"] * bool(unreported)
        return say_error(", ".join(lost), code=code)
    return 0


def _settings(**given: object) -> list[str]:
    """The settings that change what is found and are not the default, for the report."""
    return [f"{name}={value}" for name, value in given.items() if value not in (None, False, "pair")]


def _write_reports(
    outcomes: Sequence[tuple[Path, str, Detections | MicrocalcError]],
    algorithm_for: Callable[[Intent], Algorithm],
    *,
    kinds: Sequence[ReportKind],
    out: Path,
    codes: CodeScheme,
    per_image: bool,
) -> int:
    """Write the reports; the number of files that no report can speak of."""
    from datetime import datetime

    from microcalc.dicom.results import displaced, read_image_header
    from microcalc.runs.reports import image_result, write_reports

    named, unreported = [], 0
    for file, stem, found in outcomes:
        try:
            header = read_image_header(file)
            named.append((stem, image_result(header, algorithm_for(header.intent), found)))
        except MicrocalcError as error:
            if not isinstance(found, MicrocalcError):  # else all has been said
                unreported += 1
                say_error(str(error))
    made = datetime.now().astimezone()
    for path in write_reports(named, kinds, out=out, made=made, codes=codes, per_image=per_image):
        say(f"report: {path.name}")
    for header in displaced([result.header for _, result in named]):
        say_error(f"{header.file.name}: does not say that places are those of its raw image; marks may lie beside them")
    return unreported


def demo(*, out: Path = Path("demo"), seed: CountOrNone = 4) -> None:
    """Simulate one mammogram per vendor, detect, and say what was found, missed and wrongly marked.

    Parameters
    ----------
    out
        Folder for images, detections and overlays.
    seed
        The same seed gives the same mammograms; with the default one, each has a cluster.
    """
    from microcalc import pipeline

    check_out(out)
    pipeline.demo(out, seed=seed, say=say)


def image_files(paths: Sequence[Path], split: SplitOption) -> list[tuple[Path, ImageRow | None]]:
    """The files, with folders replaced by the images in them; and what a table says of each."""
    from microcalc.datasets.table import is_table

    images: list[tuple[Path, ImageRow | None]] = []
    for path in paths:
        if is_table(path):
            images += [(row.file, row) for row in table_of(path, split).images]
        else:
            images += [(file, None) for file in (_files_of(path) if path.is_dir() else [path])]
    return images


def _files_of(folder: Path) -> list[Path]:
    files = sorted(
        f
        for f in folder.iterdir()
        if f.is_file() and not f.name.startswith(".") and f.suffix.lower() not in _NOT_IMAGES
    )
    if not files:
        raise InputError(f"{folder.name}: no images in this folder, expected DICOM, PNG, TIFF or JPEG files")
    return files
