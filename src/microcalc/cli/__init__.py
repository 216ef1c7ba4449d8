"""The command ``microcalc``.

Exit codes: 0 done; 1 done in part (some of several files); 2 what was given
cannot be used; 130 interrupted. Errors are one line on standard error. Everything
that weighs something is imported by the command that needs it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cyclopts
from cyclopts import Parameter

from microcalc import __version__
from microcalc.cli.data import insert, simulate, table_cdd_cesm
from microcalc.cli.detecting import demo, detect
from microcalc.cli.judge import evaluate, realism, review, roc
from microcalc.cli.node import node
from microcalc.cli.output import say_error
from microcalc.cli.reports import show_report
from microcalc.cli.study import study
from microcalc.cli.training import card, train
from microcalc.errors import MicrocalcError, MissingExtraError

_EXTRA_OF: Final = {
    "torch": "train",
    "onnx": "train",
    "matplotlib": "evaluate",
    "highdicom": "report",
    "pynetdicom": "node",
    "dicomweb_client": "node",
    "prometheus_client": "node",
    "requests": "node",
    "numba": "cascade",
}

_EMPTY: Final = re.compile(r"--[a-z-]+=")

app = cyclopts.App(
    name="microcalc",
    help="Finds microcalcifications in digital mammograms of any vendor. For research use only.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)
_table = cyclopts.App(name="table", help="Make the table of a public data set.")
app.command(_table)
_table.command(table_cdd_cesm, name="cdd-cesm")
for _command in (detect, train, study, simulate, insert, demo, review, evaluate, roc, realism, card, show_report, node):
    app.command(_command)


def main() -> None:
    """Run the command and leave with its exit code."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by who started it, as with >&-: nobody reads
            setattr(sys, stream, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  (open to the end)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command; its exit code."""
    empty = next((a for a in arguments if not a or _EMPTY.fullmatch(a)), None)
    if empty is not None:  # as a path it would be the current folder
        of = empty.removesuffix("=") or "an argument"
        return say_error(f"{of}: empty, such as of a shell variable that is not set; expected a value")
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except cyclopts.CycloptsError as error:
        command = " ".join(("microcalc", *(error.command_chain or ())))
        return say_error(f"{error} (see {command} --help)")
    except MicrocalcError as error:
        return say_error(str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        return say_error(str(MissingExtraError(f"{error.name} is not installed, expected microcalc[{extra}]")))
    except BrokenPipeError:
        # Nobody reads on; the flush at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return say_error(f"{Path(str(error.filename or '')).name}: {error.strerror or error}".removeprefix(": "))
    except KeyboardInterrupt:
        return say_error("interrupted", code=130)
