"""The options that several commands share, and the checks before a command begins.

One thing has one name in all commands: ``--out`` is the folder to write to, ``--truth`` a folder with a table of
images and annotations, ``--seed`` the seed of the random numbers; ``--workers``, ``--cluster`` and ``--shard`` say
where the work on many items runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number

from microcalc.errors import InputError
from microcalc.execution.cores import core_count

if TYPE_CHECKING:
    from microcalc.datasets.table import Table
    from microcalc.domain import Intent
    from microcalc.execution.executor import Executor
    from microcalc.execution.shard import Shard

ABOUT_IMAGES: Final = Group("What the images themselves do not state", sort_key=20)
DETECTION: Final = Group("Detection", sort_key=30)
REPORTS: Final = Group("DICOM reports", sort_key=40)
SPEED: Final = Group("Speed", sort_key=50)
PRINTED: Final = Group("Printed output", sort_key=60)

_INTENTS: Final[dict[str, Intent]] = {
    "raw": "raw",
    "processing": "raw",
    "for-processing": "raw",
    "processed": "processed",
    "presentation": "processed",
    "for-presentation": "processed",
}


def _intent(_type: type, tokens: Sequence[Token]) -> Intent:
    word = tokens[0].value.lower().replace("_", "-").replace(" ", "-")
    if word not in _INTENTS:
        raise ValueError(f"{tokens[0].value!r}, expected raw (for processing) or processed (for presentation)")
    return _INTENTS[word]


def _intent_or_both(_type: type, tokens: Sequence[Token]) -> Intent | Literal["both"]:
    return "both" if tokens[0].value.lower() == "both" else _intent(_type, tokens)


def _split(_type: type, tokens: Sequence[Token]) -> Literal["train", "validation", "test", "all"]:
    word = "validation" if tokens[0].value == "tune" else tokens[0].value
    for split in get_args(Literal["train", "validation", "test", "all"]):
        if word == split:
            return split  # type: ignore[no-any-return]
    raise ValueError(f"{word!r}, expected train, validation, test or all")


def whole(_type: type, tokens: Sequence[Token]) -> int:
    """Return the value of an option that is a whole number; cyclopts would round 1.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r}, expected a whole number") from None


Flag = Annotated[bool, Parameter(show_default=False)]
"""A switch, off by default."""
Json = Annotated[bool, Parameter(group=PRINTED, show_default=False)]
"""Print JSON on standard output, one object per line."""
IntentOption = Annotated[Literal["raw", "processed"] | None, Parameter(converter=_intent, group=ABOUT_IMAGES)]
"""Several words mean an intent, those of DICOM among them; the functions see only ``raw`` and ``processed``."""
SimulatedIntent = Annotated[Literal["raw", "processed", "both"], Parameter(converter=_intent_or_both)]
LateralityOption = Literal["L", "R"]
SplitOption = Annotated[Literal["train", "validation", "test", "all"], Parameter(converter=_split)]
"""The former name ``tune`` of the validation set is accepted as well."""
SpacingOption = Annotated[float, Parameter(validator=Number(gte=0.02, lte=0.2), group=ABOUT_IMAGES)]
"""Pixel spacing of a mammogram in mm."""
PatchSpacing = Annotated[float, Parameter(validator=Number(gte=0.05, lte=2))]
"""Pixel spacing of a patch in mm."""
JpegQuality = Annotated[int, Parameter(converter=whole, validator=Number(gte=10, lte=100))]
Length = Annotated[float, Parameter(validator=Number(gt=0, lt=1000))]
"""A length in mm."""
Pixels = Annotated[float, Parameter(validator=Number(gt=0, lt=1000))]
"""A length in pixels."""
Factor = Annotated[float, Parameter(validator=Number(gte=0.05, lte=5))]
Amount = Annotated[float, Parameter(validator=Number(gte=0, lte=100))]
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]
DPrime = Annotated[float, Parameter(validator=Number(gte=0, lt=100))]
Count = Annotated[int, Parameter(converter=whole, validator=Number(gte=1, lte=1_000_000))]
PerImage = Annotated[int, Parameter(converter=whole, validator=Number(gte=0, lte=1000))]
"""Number of things in an image: more have no room, and looking for it would take hours."""
CountOrNone = Annotated[int, Parameter(converter=whole, validator=Number(gte=0))]
Workers = Annotated[int | None, Parameter(converter=whole, validator=Number(gte=1, lte=1024), group=SPEED)]
"""Number of processes; None: one per core (``worker_count``)."""
Threads = Annotated[int, Parameter(converter=whole, validator=Number(gte=0, lte=1024), group=SPEED)]
"""Number of threads of each process; 0: the cores divided among the processes."""
ClusterOption = Annotated[str | None, Parameter(group=SPEED)]
"""Address of a Dask scheduler, or its scheduler file."""
ShardOption = Annotated[str | None, Parameter(group=SPEED)]
"""I/N, see ``execution.shard``."""
Resamples = Annotated[int, Parameter(converter=whole, validator=Number(gte=1, lte=100_000))]
"""Number of bootstrap samples; all of them are held in memory at once."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class WhereItRuns:
    """Where the work on many items runs, for the commands whose work cannot be divided into shards.

    Attributes
    ----------
    workers
        Number of processes. By default one per core. The results do not depend on it.
    cluster
        Run on a Dask cluster in place of processes: tcp://HOST:PORT, tls://HOST:PORT, or its scheduler file. Its
        workers need the same version of microcalc and see the same files. Needs microcalc[cluster].
    """

    workers: Workers = None
    cluster: ClusterOption = None

    def executor(self, *, items: int | None = None) -> Executor:
        """Return the place where the work runs; no more processes than there are items.

        Raises
        ------
        InputError
            Both places are given, or the cluster's is neither an address nor a scheduler file.
        MissingExtraError
            A cluster is given, and its library is not installed.
        """
        from microcalc.execution.executor import executor_of

        if self.cluster is None:
            workers = self.workers or core_count()
            return executor_of(workers if items is None else min(workers, items))
        refuse_beside("--cluster", workers=self.workers)
        from microcalc.extras import require_modules

        require_modules("distributed")
        from microcalc.execution.cluster import Cluster
        from microcalc.execution.connection import scheduler_address

        return Cluster(scheduler_address(self.cluster))


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Where(WhereItRuns):
    """Where the work on many items runs, and which part of it this call does.

    Attributes
    ----------
    shard
        Do the I-th of N parts of the work only, as 0/16 to 15/16. All may run at the same time, on any machines; when
        they are done, the same command without --shard completes the results.
    """

    shard: ShardOption = None

    def part(self) -> Shard | None:
        """Return the part of the work that this call does; None: all of it.

        Raises
        ------
        InputError
            It is none.
        """
        from microcalc.execution.shard import Shard

        return None if self.shard is None else Shard.parse(self.shard)


EVERYTHING_HERE: Final = Where()
"""All of the work, in as many processes as there are cores."""
IN_PROCESSES: Final = WhereItRuns()


def refuse_beside(what: str, **options: object) -> None:
    """Refuse options that were given (are not None) but have no effect together with something else.

    Raises
    ------
    InputError
        Names the first of them.
    """
    for option, value in options.items():
        if value is not None:
            name = f"--{option.replace('_', '-')}"
            raise InputError(f"{name}: has no effect beside {what}, expected no {name}")


def table_of(path: Path, split: SplitOption, tag: str | None = None) -> Table:
    """Read a table, or the images of one split or with one tag.

    Raises
    ------
    TableError
        The table breaks its format.
    InputError
        The table has no such image.
    """
    from microcalc.datasets.open import open_table

    table = open_table(path)
    if split != "all":
        table = table.of_split(split)
    if tag is not None:
        table = table.of_images(i for i in table.images if tag in i.tags.split())
    if not table.images:
        conditions = [f"in split {split}"] * (split != "all") + [f"with tag {tag!r}"] * (tag is not None)
        raise InputError(" ".join([f"{path.name}: no image", *conditions]) + ", expected at least one")
    return table
