"""Everything that microcalc raises on purpose.

::

    MicrocalcError
    ├── InputError                    what was given cannot be used (exit code 2)
    │   ├── UnreadableImageError      no such file, truncated, absurd size, unknown format
    │   ├── NotAMammogramError        readable, but not a plain FFDM image
    │   ├── UnsupportedViewError      tomosynthesis, magnification, specimen, stereo
    │   ├── MissingSpacingError       no pixel spacing, or one that no mammogram has
    │   ├── NoBreastError             no breast could be told from the background
    │   ├── TableError                a table of images and annotations that breaks its format
    │   └── RecipeError               a recipe with an unknown, missing or impossible entry
    ├── OutputError                   a result cannot be written: disk full, no permission, not ours (exit code 2)
    ├── WorkerDiedError               the process that worked on an item was killed, or ran out of memory
    └── MissingExtraError             the command needs an optional install (exit code 2)

A message is one line: what was found, what was expected, and where.
"""


class MicrocalcError(Exception):
    """Base of all errors raised on purpose; its message is one line for a person."""


class InputError(MicrocalcError):
    """What was given cannot be used."""


class UnreadableImageError(InputError):
    """The file is missing, truncated, absurdly large, or of no known format."""


class NotAMammogramError(InputError):
    """The file can be read, but is not a plain full-field digital mammogram."""


class UnsupportedViewError(InputError):
    """A mammographic image of a kind that is refused by default."""


class MissingSpacingError(InputError):
    """The pixel spacing is missing, or is not one that a mammogram has."""


class NoBreastError(InputError):
    """No breast could be told from the background."""


class TableError(InputError):
    """A table of images and annotations breaks its format."""


class RecipeError(InputError):
    """A recipe has an unknown, missing or impossible entry."""


class OutputError(MicrocalcError):
    """A result cannot be written: the disk is full, there is no permission, or a user's file stands in its place."""


class WorkerDiedError(MicrocalcError):
    """The process that worked on an item died: it was killed, ran out of memory, or crashed in a library."""


class MissingExtraError(MicrocalcError):
    """A command needs an optional install, such as ``microcalc[train]``."""
