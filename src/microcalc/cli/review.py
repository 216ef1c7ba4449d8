"""``microcalc review``: annotating with a model's help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from microcalc.cli.options import IN_PROCESSES, Count, IntentOption, SpacingOption, WhereItRuns, refuse_beside
from microcalc.cli.output import print_error, print_fault, print_line
from microcalc.errors import InputError
from microcalc.storage.key import key_of
from microcalc.storage.ownership import check_output_folder, output_folder
from microcalc.wording import grouped, quantity

if TYPE_CHECKING:
    from microcalc.datasets.table import Table
    from microcalc.domain import Intent


def review(
    source: Path,
    /,
    *,
    out: Path,
    take: list[Path] | None = None,
    places: Count | None = None,
    judge: Annotated[str, Parameter(show_default=False)] = "",
    model: str | None = None,
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
    where: WhereItRuns = IN_PROCESSES,
) -> int:
    """Annotate with the help of a model: contact sheets of the candidates rated highest, and a table to fill in.

    Parameters
    ----------
    source
        Folder with images.csv, or with images.
    out
        Folder of the review. Each call makes the next round, with new places only.
    take
        Filled-in table whose verdicts are added to the review; no new round is made. Repeat for several.
    places
        Number of places per image. By default 60.
    judge
        Name of the person who judges.
    model
        raw or processed (shipped), a folder with a model, or log. By default the shipped model for the image's intent.
    pixel_spacing
        Pixel spacing in mm of pictures in a folder without a table.
    intent
        raw (for processing) or processed (for presentation), of pictures in a folder without a table.
    """
    if take:
        refuse_beside(
            "--take", places=places, model=model, pixel_spacing=pixel_spacing, intent=intent, workers=where.workers,
            cluster=where.cluster,
        )  # fmt: skip
        with output_folder(out, "review", inputs=[source]):
            return _take_verdicts(take, out, judge)
    from microcalc.batch.settings import settings_of
    from microcalc.models.model import Models
    from microcalc.review.rounds import describe_round, make_round

    check_output_folder(out, "review", inputs=[source])
    Models(model)  # a wrong name is refused before any work
    settings = key_of(settings_of(model))
    table, unread = _images_to_review(source, pixel_spacing, intent)
    if not table.images and len(unread) == 1:
        raise InputError(unread[0])
    for why in unread:
        print_fault(why)
    if not table.images:
        raise InputError(f"{source.name}: no image to review, expected at least one")
    rated_by = f"{model or 'shipped'} {settings[:12]}"
    with where.executor(items=len(table.images)) as executor, output_folder(out, "review", inputs=[source]):
        made = make_round(table, out, model, places=places or 60, judge=judge, rated_by=rated_by, executor=executor)
    for line in describe_round(made):
        print_line(line)
    failed = len(unread) + len(made.failed)
    return print_error(f"{quantity(failed, 'image')} could not be used", code=1) if failed else 0


def _images_to_review(source: Path, pixel_spacing: float | None, intent: Intent | None) -> tuple[Table, list[str]]:
    """Return the table, read or made of the images in a folder, and why files of the folder are not in it."""
    from microcalc.batch.inputs import refuse_pictures
    from microcalc.cli.inputs import check_effect, given_images
    from microcalc.datasets.open import open_table
    from microcalc.datasets.table_files import is_table
    from microcalc.images.info import ImageInfo
    from microcalc.images.open import open_mammogram
    from microcalc.review.folder import table_of_images

    if is_table(source):
        refuse_beside("a table", pixel_spacing=pixel_spacing, intent=intent)
        return open_table(source), []
    given = given_images([source], None, with_pictures=pixel_spacing is not None and intent is not None)
    check_effect(given, {"pixel_spacing": pixel_spacing, "intent": intent})
    info = ImageInfo(None if pixel_spacing is None else (pixel_spacing, pixel_spacing), intent)
    given = refuse_pictures(given, info)
    if not given.images and given.problems:
        raise InputError(grouped(map(str, given.problems))[0])
    table, failed = table_of_images(
        [(image.name, image.file) for image in given.images],
        lambda file: open_mammogram(file, info),
    )
    return table, [*(str(problem) for problem in given.problems), *(why for _, why in failed)]


def _take_verdicts(files: Sequence[Path], out: Path, judge: str) -> int:
    from microcalc.review.rounds import describe_import, import_verdicts

    for line in describe_import(import_verdicts(files, out, judge=judge)):
        print_line(line)
    return 0
