"""What was given on the command line as images, and whether what was said of them has an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.cli.options import SplitOption, table_of
from microcalc.cli.output import say
from microcalc.errors import InputError, MicrocalcError

if TYPE_CHECKING:
    from microcalc.batch.inputs import Input
    from microcalc.images.open import Facts

_FACTS = ("pixel_spacing", "intent", "system", "view", "laterality")


@dataclass(frozen=True, slots=True)
class Given:
    """The images that were given, and what each says of itself.

    Attributes
    ----------
    images
        Each image once.
    facts
        Of each; None where it cannot be read, which opening it will say.
    problems
        One for each thing given that gives no image, or gives one a second time.
    """

    images: tuple[Input, ...]
    facts: tuple[Facts | None, ...]
    problems: tuple[MicrocalcError, ...]


def given_images(paths: Sequence[Path], split: SplitOption | None) -> Given:
    """Return the images in files, folders and tables.

    Raises
    ------
    InputError
        A split is asked for, but no table was given.
    """
    from microcalc.batch.inputs import Input, find_inputs
    from microcalc.images.open import facts_of

    found = find_inputs(paths)
    if split is not None and not found.tables:
        raise InputError(f"--split {split}: no table was given, expected a folder with images.csv, or no --split")
    images, problems = list(found.images), list(found.problems)
    for table in found.tables:
        try:
            rows = table_of(table, split or "all").images
        except MicrocalcError as error:
            problems.append(error)
        else:
            images += [Input(row.file, row.file.name, row) for row in rows]
    if found.passed_over:
        say(f"passed over: {found.passed_over} file{'s' * (found.passed_over != 1)} that are no images")
    if found.results:
        say(f"passed over: {found.results} result{'s' * (found.results != 1)} of microcalc")
    facts: list[Facts | None] = []
    for image in images:
        try:
            facts.append(facts_of(image.file))
        except MicrocalcError:
            facts.append(None)
    return _each_once(images, facts, problems)


def _each_once(images: Sequence[Input], facts: Sequence[Facts | None], problems: list[MicrocalcError]) -> Given:
    """Leave out files and copies that were given before, and name them."""
    kept: list[int] = []
    first_of: dict[str, int] = {}
    for number, (image, fact) in enumerate(zip(images, facts, strict=True)):
        key = fact.uid if fact is not None else str(image.file.absolute())
        first = first_of.setdefault(key, number)
        if first == number:
            kept.append(number)
        else:
            problems.append(InputError(f"{image.file.name}: {_repeated(image.file, images[first].file)}"))
    return Given(tuple(images[n] for n in kept), tuple(facts[n] for n in kept), tuple(problems))


def _repeated(file: Path, first: Path) -> str:
    from microcalc.storage.key import file_sha256

    if file.absolute() == first.absolute() or (file.exists() and first.exists() and file.samefile(first)):
        return "given twice, expected once; taken once"
    if file_sha256(file) == file_sha256(first):
        return f"a copy of {first.name}, expected each image once; taken once"
    return f"the SOP Instance UID of {first.name} with other content, expected a different one; not taken"


def check_effect(given: Given, said: Mapping[str, object], *, any_view: bool = False) -> None:
    """Refuse what was said of images where every one of them says it itself; say where it is used for a part of them.

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
        users = [image for image, fact in known if image.row is None and option not in fact.said]
        if not users and not unknown and known:
            raise InputError(f"{name}: {_who_says(known[0][0], len(known))}, expected no {name}")
        if len(users) < len(known):
            say(f"{name} is used for {len(users)} of {len(given.images)} images; the others say it themselves")
        for image in users:
            if not is_picture(image.file):
                say(f"{image.file.name}: the header has no {option.replace('_', ' ')}, {said[option]} is used")
    if any_view and known and not unknown and all(i.row is not None or is_picture(i.file) for i, _ in known):
        raise InputError("--any-view: there is no DICOM file outside a table, expected no --any-view")


def _who_says(image: Input, count: int) -> str:
    source = "the table" if image.row is not None else f"the header of {image.file.name}"
    return f"{source} says it itself" if count == 1 else f"{source} says it, and so do those of all {count} images"
