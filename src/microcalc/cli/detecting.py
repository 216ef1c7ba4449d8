"""``microcalc detect`` and ``microcalc demo``."""

from __future__ import annotations

from collections.abc import Sequence
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
    threads: CountOrNone = 0,
) -> int:
    """Find microcalcifications; write STEM.json and STEM.png per image.

    Parameters
    ----------
    files
        DICOM mammograms, or PNG, TIFF or JPEG pictures of them; or folders of such files. Of a table's folder (with
        images.csv) the images that it lists, with what it says of pictures.
    out
        Folder for the results.
    model
        raw or processed (shipped), a folder with a model, or log (a plain filter, for comparison). By default the
        shipped one for the image's intent.
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
    threads
        Threads for scoring; 0: all cores.
    """
    from microcalc import pipeline
    from microcalc.detect.mammogram import output_stems

    check_out(out)
    images = image_files(files, split)
    stems = output_stems([file for file, _ in images])
    model_of = pipeline.choose_model(model, threads=threads, stage=stage)
    failed = 0
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
            if len(images) == 1:
                raise
            failed += 1
            say_error(str(error))
        else:
            found = sum(c.finding for c in document.clusters)
            say(
                f"{file.name}: {found} finding{'s' * (found != 1)}, {len(document.candidates)} candidates, "
                f"{document.seconds.total:.1f} s"
            )
    if failed:
        return say_error(f"{failed} of {len(images)} files could not be used", code=1)
    return 0


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
