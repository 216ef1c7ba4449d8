"""The command ``microcalc``.

Exit codes: 0 everything is done; 1 a part of it failed (some of several files); 2 the call cannot be carried out;
130 interrupted. An error is one line on standard error. Heavy libraries are imported by the command that needs them.

A command's parameters are its options, however many: cyclopts reads options, types and help from its signature and
docstring.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from cyclopts import Group, Parameter

from microcalc import __version__
from microcalc.cli.check import doctor, info
from microcalc.cli.data import insert, simulate, table_cdd_cesm
from microcalc.cli.detecting import demo, detect
from microcalc.cli.evaluate import evaluate, realism, roc
from microcalc.cli.examples import EXAMPLES, flowing
from microcalc.cli.log import log_records_shown
from microcalc.cli.node import node
from microcalc.cli.options import PRINTED, Where, WhereItRuns
from microcalc.cli.output import PRINTING, print_error, print_more_faults
from microcalc.cli.public import (
    table_bcdr,
    table_bmcd,
    table_cbis_ddsm,
    table_ddsm,
    table_embed,
    table_inbreast,
    table_masks,
    table_mini_mias,
    table_omi_db,
    table_tompei_cmmd,
    table_vindr_mammo,
)
from microcalc.cli.reports import show_report
from microcalc.cli.review import review
from microcalc.cli.study import study
from microcalc.cli.tables import table_coco, table_export, table_points, table_sr
from microcalc.cli.training import card, operating_points, train
from microcalc.cli.view import view
from microcalc.errors import MicrocalcError, MissingExtraError
from microcalc.extras import EXTRA_OF
from microcalc.wording import reading_fault

_EMPTY: Final = re.compile(r"--[a-z-]+=")
_LOOP: Final = re.compile(r"Symlink loop from '(.*)'", re.DOTALL)
"""What pathlib raises before Python 3.13."""
_NO_VALUE: Final = re.compile(r'^Command ".*?" parameter (\S+) requires an argument\.')

app = cyclopts.App(
    name="microcalc",
    help="Find microcalcifications in digital mammograms of any vendor. For research use only.",
    version=__version__,
    version_flags=("--version", "-V"),
    help_format="plaintext",
    help_epilogue=EXAMPLES["microcalc"],
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
    group_arguments=Group("Arguments", sort_key=1),
    group_parameters=Group("Options", sort_key=10),
)

_GROUPS: Final[dict[str, tuple[Callable[..., int | None], ...]]] = {
    "Detect": (detect, demo, view, info, show_report, node, doctor),
    "Evaluate": (evaluate, roc, review, realism),
    "Train": (train, card, operating_points, study),
    "Make data": (simulate, insert),
}

_TABLE_MAKERS: Final[tuple[Callable[..., int | None], ...]] = (
    table_cdd_cesm,
    table_inbreast,
    table_bmcd,
    table_tompei_cmmd,
    table_mini_mias,
    table_ddsm,
    table_cbis_ddsm,
    table_bcdr,
    table_vindr_mammo,
    table_embed,
    table_omi_db,
    table_masks,
    table_points,
    table_coco,
    table_sr,
    table_export,
)


def _register() -> None:
    for options in (WhereItRuns, Where):
        options.__doc__ = flowing(options.__doc__ or "")
    for position, (title, commands) in enumerate(_GROUPS.items()):
        group = Group(title, sort_key=position)
        for command in commands:
            name = command.__name__.replace("_", "-")
            command.__doc__ = flowing(command.__doc__ or "")
            app.command(command, name=name, group=group, help_epilogue=EXAMPLES[name])
    table = cyclopts.App(
        name="table",
        help="Make a table of a public data set or of other programs' annotations, or export one.",
        help_epilogue=EXAMPLES["table cdd-cesm"],
        group=group,
    )
    app.command(table)
    for maker in _TABLE_MAKERS:
        name = maker.__name__.removeprefix("table_").replace("_", "-")
        maker.__doc__ = flowing(maker.__doc__ or "")
        table.command(maker, name=name, help_epilogue=EXAMPLES[f"table {name}"])
    general = Group("General", sort_key=100)
    app.register_install_completion_command(help="Install the completion of commands and options in your shell.")
    for flag in ("--help", "--version", "--install-completion"):
        app[flag].group = general


_register()
app.meta.group_parameters = PRINTED
app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), show_default=False)] = False,
) -> object:
    """Run a command.

    Parameters
    ----------
    quiet
        Print only errors, JSON, and the answers of info, doctor and show-report.
    """
    PRINTING.quiet, PRINTING.json = quiet, False
    try:
        with log_records_shown():
            return app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    finally:
        print_more_faults()
        PRINTING.quiet, PRINTING.json = False, False


def _in_words(error: cyclopts.CycloptsError) -> str:
    """Return what is wrong with a call, without the final full stop; say whether an option or its value is missing."""
    text = str(error)
    if isinstance(error, cyclopts.MissingArgumentError):
        has_name = error.keyword is not None or (error.argument is not None and error.argument.tokens)
        text = _NO_VALUE.sub(rf"\1 {'needs a value' if has_name else 'is missing'}.", text)
    return text.rstrip(".")


def main() -> None:
    """Run the command line and exit with its code."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by the caller, as with >&-: nobody reads
            setattr(sys, stream, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  (open to the end)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    empty = next((a for a in arguments if not a or _EMPTY.fullmatch(a)), None)
    if empty is not None:  # as a path it would be the current folder
        of = empty.removesuffix("=") or "an argument"
        return print_error(f"{of}: empty, perhaps from a shell variable that is not set; expected a value")
    try:
        code = app.meta(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except cyclopts.CycloptsError as error:
        command = " ".join(("microcalc", *(error.command_chain or ())))
        return print_error(f"{_in_words(error)} (see {command} --help)")
    except (MicrocalcError, ModuleNotFoundError, OSError, RuntimeError, KeyboardInterrupt) as error:
        return in_one_line(error)


def in_one_line(error: BaseException) -> int:
    """Print what ended a command in one line, and return the exit code; raise again what is a fault of the program."""
    match error:
        case MicrocalcError():
            return print_error(str(error))
        case ModuleNotFoundError() if extra := EXTRA_OF.get((error.name or "").split(".")[0]):
            return print_error(str(MissingExtraError(f"{error.name} is not installed, expected microcalc[{extra}]")))
        case BrokenPipeError():
            # Nobody reads any more; the flush at exit must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        case OSError():
            if error.filename is None:
                return print_error(error.strerror or str(error))
            name = Path(os.fsdecode(error.filename)).name
            return print_error(f"{name}: {reading_fault(error)}, expected a file or folder that can be used")
        case RuntimeError() if loop := _LOOP.fullmatch(str(error)):
            name = Path(loop[1]).name
            return print_error(f"{name}: a symbolic link that leads to itself, expected a file or folder")
        case KeyboardInterrupt():
            return print_error("interrupted", code=130)
    raise error
