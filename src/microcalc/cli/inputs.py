"""The images given on the command line, and whether the options that describe them have an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.cli.options import SplitOption, table_of
from microcalc.cli.output import print_line
from microcalc.errors import InputError, MicrocalcError
from microcalc.wording import grouped, quantity

if TYPE_CHECKING:
    from microcalc.batch.inputs import GivenImages, Input, Inputs
    from microcalc.execution.shard import Shard
    from microcalc.images.info import Facts

_FACTS = ("pixel_spacing", "intent", "system", "view", "laterality")


def given_images(
    paths: Sequence[Path], split: SplitOption | None, *, with_pictures: bool, shard: Shard | None = None
) -> GivenImages:
    """Return the images in files, folders and tables.

    Parameters
    ----------
    with_pictures
        See ``find_inputs``.
    shard
        The part of the images that will be used. A table has no image twice, so files of its other images are not
        opened.

    Raises
    ------
    InputError
        A split is given, but no table.
    """
    from microcalc.batch.inputs import Input, find_inputs
    from microcalc.datasets.table import FILM
    from microcalc.images.open import facts_of

    found = find_inputs(paths, with_pictures=with_pictures)
    if split is not None and not found.tables:
        raise InputError(f"--split {split}: has no effect without a table, expected a folder with images.csv")
    images, problems = list(found.images), list(found.problems)
    for table in found.tables:
        try:
            rows = table_of(table, split or "all").images
        except MicrocalcError as error:
            problems.append(error)
        else:
            images += [Input(row.file, row.file.name, row) for row in rows]
            films = sum(FILM in row.tags.split() for row in rows)
            if films:
                print_line(
                    f"{quantity(films, 'image')} of digitised film: "
                    "the shipped models were trained on digital mammograms only"
                )
    _print_skipped(found)
    facts: list[Facts | None] = []
    for image in images:
        try:
            is_used = image.row is None or image.is_in(shard)
            facts.append(facts_of(image.file) if is_used else None)
        except MicrocalcError:
            facts.append(None)
    return _each_once(images, facts, problems)


def _print_skipped(found: Inputs) -> None:
    if found.passed_over:
        print_line(f"skipped: {quantity(found.passed_over, 'file that is not an image', 'files that are not images')}")
    if found.results:
        print_line(f"skipped: {quantity(found.results, 'result')} of microcalc")
    if found.pictures:
        print_line(
            f"skipped: {quantity(found.pictures, 'picture')} among DICOM files; "
            "--pixel-spacing and --intent include pictures"
        )


def _each_once(images: Sequence[Input], facts: Sequence[Facts | None], problems: list[MicrocalcError]) -> GivenImages:
    """Keep each image once; name the files and copies that were given before."""
    from microcalc.batch.inputs import GivenImages

    kept: list[int] = []
    first_of: dict[str, int] = {}
    for number, (image, fact) in enumerate(zip(images, facts, strict=True)):
        key = fact.uid if fact is not None else str(image.file.absolute())
        first = first_of.setdefault(key, number)
        if first == number:
            kept.append(number)
        else:
            problems.append(InputError(f"{image.file.name}: {_repeated(image.file, images[first].file)}"))
    return GivenImages(tuple(images[n] for n in kept), tuple(facts[n] for n in kept), tuple(problems))


def _repeated(file: Path, first: Path) -> str:
    from microcalc.storage.key import file_sha256

    if file.absolute() == first.absolute() or (file.exists() and first.exists() and file.samefile(first)):
        return "given twice, expected once; used once"
    if file_sha256(file) == file_sha256(first):
        return f"a copy of {first.name}, expected each image once; used once"
    return f"the SOP Instance UID of {first.name} with other content, expected a different one; not used"


def check_effect(given: GivenImages, said: Mapping[str, object], *, any_view: bool = False) -> None:
    """Refuse options that describe images where every image states it itself; print where they are used.

    Parameters
    ----------
    said
        Option, as of ``images.open.Fact``, → its value; None: not given.

    Raises
    ------
    InputError
        An option has no effect.
    """
    from microcalc.images.open import is_picture

    known = [(image, fact) for image, fact in zip(given.images, given.facts, strict=True) if fact is not None]
    unknown = len(known) < len(given.images)
    for option in _FACTS:
        if said.get(option) is None:
            continue
        name = f"--{option.replace('_', '-')}"
        users = [image for image, fact in known if image.row is None and option not in fact.stated]
        if not users and not unknown and known:
            raise InputError(f"{name}: {_who_says(known[0][0], len(known))}, expected no {name}")
        if len(users) < len(known):
            print_line(f"{name} is used for {len(users)} of {len(given.images)} images; the others state it themselves")
        lacks = f"the header has no {option.replace('_', ' ')}, using {said[option]}"
        for line in grouped(f"{image.file.name}: {lacks}" for image in users if not is_picture(image.file)):
            print_line(line)
    if any_view and known and not unknown and all(i.row is not None or is_picture(i.file) for i, _ in known):
        raise InputError("--any-view: has no effect without a DICOM file outside a table, expected no --any-view")


def _who_says(image: Input, count: int) -> str:
    source = "the table" if image.row is not None else f"the header of {image.file.name}"
    return f"{source} states it itself" if count == 1 else f"{source} states it, and so do those of all {count} images"
