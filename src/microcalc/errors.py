"""The exceptions that microcalc raises deliberately.

::

    MicrocalcError
    ├── InputError                    the input cannot be used (exit code 2)
    │   ├── UnreadableImageError      missing file, truncated, implausible size, unknown format
    │   ├── NotAMammogramError        readable, but not a plain FFDM image
    │   ├── UnsupportedViewError      tomosynthesis, magnification, specimen, stereo
    │   ├── MissingSpacingError       pixel spacing missing or implausible
    │   ├── NoBreastError             no breast was found in the image
    │   ├── TableError                a table of images and annotations violates its format
    │   └── RecipeError               a recipe has an unknown, missing or impossible entry
    ├── OutputError                   a result cannot be written: disk full, no permission, not our file (exit code 2)
    ├── BatchError                    some files of a batch cannot be used; holds the error of each
    ├── ClusterError                  a Dask cluster cannot be reached, is lost, or has another version (exit code 2)
    ├── WorkerDiedError               the process that worked on an item was killed or ran out of memory
    └── MissingExtraError             the command needs an optional dependency (exit code 2)

A message is one line that says what was found, what was expected, and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class MicrocalcError(Exception):
    """Base class of all errors that microcalc raises deliberately; the message is one line for the user."""


class InputError(MicrocalcError):
    """The input cannot be used."""


class UnreadableImageError(InputError):
    """The file is missing, truncated, implausibly large, or of an unknown format."""


class NotAMammogramError(InputError):
    """The file can be read, but is not a standard full-field digital mammogram."""


class UnsupportedViewError(InputError):
    """The image is of a mammographic kind that is refused by default, such as a magnification view."""


class MissingSpacingError(InputError):
    """The pixel spacing is missing, or implausible for a mammogram."""


class NoBreastError(InputError):
    """No breast could be distinguished from the background."""


class TableError(InputError):
    """A table of images and annotations violates its format."""


class RecipeError(InputError):
    """A recipe has an unknown, missing or impossible entry."""


class OutputError(MicrocalcError):
    """A result cannot be written: the disk is full, permission is missing, or a user's file is in its place."""


class WorkerDiedError(MicrocalcError):
    """The process that worked on an item died: it was killed, ran out of memory, or crashed in a library."""


class ClusterError(MicrocalcError):
    """A Dask cluster cannot be reached, is lost, or has workers with another version of the package."""


class BatchError(MicrocalcError):
    """Some files of a batch could not be used; the results of the others have been given.

    Attributes
    ----------
    failures
        The error of each file that failed.
    """

    def __init__(self, failures: Mapping[Path, Exception], *, total: int) -> None:
        errors = [" ".join(str(error).split()) for error in failures.values()]
        names = "; ".join([*errors[:20], *([f"and {len(errors) - 20} more"] if len(errors) > 20 else [])])
        super().__init__(f"{len(failures)} of {total} file{'s' * (total != 1)} could not be used: {names}")
        self.failures = dict(failures)


class MissingExtraError(MicrocalcError):
    """A command needs an optional dependency, such as those of ``microcalc[train]``."""
