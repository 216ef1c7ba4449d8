"""The states of images and reports, and every change between them, as data.

Changes that are not in these tables do not happen: the queue checks the state from which a change starts.
The last column says what happens to the image's file; nothing else moves or removes it.

An image whose analysis failed is ``analysed`` too; its reason says why it failed. An image is ``quarantined`` if no
report can include it; its file is in quarantine, together with the reason. An image is ``lost`` if somebody else
removed its file or its report from the node's folder; it is accepted when it is sent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

ImageState = Literal["waiting", "working", "analysed", "reporting", "reported", "quarantined", "lost"]
File = Literal["kept", "removed", "to quarantine", "gone"]


class OutOfTurnError(Exception):
    """The image or report is not in a state from which the change may start; nothing was changed."""


class Transition(NamedTuple):
    """A change of state: the state before, the event, the state after, and what happens to the file."""

    before: str
    event: str
    after: str
    file: File


IMAGES: Final = (
    Transition("waiting", "take", "working", "kept"),
    Transition("working", "put back", "waiting", "kept"),
    Transition("working", "analyse", "analysed", "kept"),
    Transition("analysed", "claim", "reporting", "kept"),
    Transition("reporting", "release", "analysed", "kept"),
    Transition("reporting", "analyse anew", "waiting", "kept"),  # its detections are from another model, or unreadable
    Transition("reporting", "report", "reported", "removed"),
    Transition("reporting", "give up", "quarantined", "to quarantine"),
    # A start: work that was in progress waits again.
    Transition("working", "start", "waiting", "kept"),
    Transition("reporting", "start", "analysed", "kept"),
    # A start with another model, or without the model of its intent.
    Transition("waiting", "change model", "waiting", "kept"),
    Transition("analysed", "change model", "waiting", "kept"),
    Transition("waiting", "already reported", "reported", "removed"),
    Transition("analysed", "already reported", "reported", "removed"),
    Transition("waiting", "drop intent", "quarantined", "to quarantine"),
    Transition("analysed", "drop intent", "quarantined", "to quarantine"),
    # Somebody else removed a file from the folder.
    Transition("waiting", "lose", "lost", "gone"),
    Transition("analysed", "lose", "lost", "gone"),
    Transition("reporting", "lose", "lost", "gone"),
    Transition("reported", "lose", "lost", "gone"),
    # Sent again: after a report by another model, or after a loss.
    Transition("reported", "receive", "waiting", "kept"),
    Transition("lost", "receive", "waiting", "kept"),
)

REPORTS: Final = (
    Transition("waiting", "send", "sent", "removed"),
    Transition("waiting", "lose", "lost", "gone"),
    Transition("lost", "make", "waiting", "kept"),
)

OPEN: Final = ("waiting", "working", "analysed", "reporting")
"""The states of images that still need their file."""


def transitions(table: Sequence[Transition], event: str) -> list[Transition]:
    """Return the transitions of an event; raise ``KeyError`` if the table has no such event."""
    rows = [transition for transition in table if transition.event == event]
    if not rows:
        raise KeyError(event)
    return rows


def file_of(state: str) -> File:
    """Return what happens to the file of an image that enters a state."""
    return next(transition.file for transition in IMAGES if transition.after == state)


def move(
    db: sqlite3.Connection,
    table: Sequence[Transition],
    event: str,
    where: str,
    *values: object,
    also: str,
    given: Sequence[object] = (),
) -> int:
    """Apply an event to all rows that match ``where`` and are in a state from which it starts; return their number.

    Parameters
    ----------
    where, values
        SQL condition, and the values of its placeholders.
    also, given
        Further SQL assignments, and the values of their placeholders.
    """
    rows = transitions(table, event)
    cases = " ".join(f"WHEN '{row.before}' THEN '{row.after}'" for row in rows)
    before = ", ".join(f"'{row.before}'" for row in rows)
    name = "image" if table is IMAGES else "report"
    return db.execute(
        f"UPDATE {name} SET state = CASE state {cases} END, {also} WHERE state IN ({before}) AND {where}",
        (*given, *values),
    ).rowcount


def move_one(
    db: sqlite3.Connection,
    table: Sequence[Transition],
    event: str,
    uid: str,
    *,
    also: str,
    given: Sequence[object] = (),
) -> None:
    """Apply an event to one image or report, as ``move`` does.

    Raises
    ------
    OutOfTurnError
        There is no such image or report, or its state does not allow the event.
    """
    if move(db, table, event, "uid = ?", uid, also=also, given=given) != 1:
        raise OutOfTurnError(f"{event}: not possible in the current state")
