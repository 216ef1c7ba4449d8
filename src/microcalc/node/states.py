"""The states of images and reports, and every change between them, as data.

What is not in these tables does not happen: a change of the queue checks the state that it starts from.
The last column says what becomes of the image's file; nothing else moves or removes it.

An image's analysis may fail; it is ``analysed`` all the same, and its reason says why. ``quarantined``: no
report can speak of it, and its file lies in quarantine with the reason. ``lost``: its file or its report was
taken from the node's folder by somebody else; sent again, it is taken anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

ImageState = Literal["waiting", "working", "analysed", "reporting", "reported", "quarantined", "lost"]
ReportState = Literal["waiting", "sent", "lost"]
File = Literal["kept", "removed", "to quarantine", "gone"]


class Transition(NamedTuple):
    """A change: from which state, by what, to which state, and what becomes of the file then."""

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
    Transition("reporting", "analyse anew", "waiting", "kept"),  # its detections are another model's, or unreadable
    Transition("reporting", "report", "reported", "removed"),
    Transition("reporting", "give up", "quarantined", "to quarantine"),
    # A start: what was in hand waits again.
    Transition("working", "start", "waiting", "kept"),
    Transition("reporting", "start", "analysed", "kept"),
    # A start with another model, or without the model of its intent.
    Transition("waiting", "change model", "waiting", "kept"),
    Transition("analysed", "change model", "waiting", "kept"),
    Transition("waiting", "already reported", "reported", "removed"),
    Transition("analysed", "already reported", "reported", "removed"),
    Transition("waiting", "drop intent", "quarantined", "to quarantine"),
    Transition("analysed", "drop intent", "quarantined", "to quarantine"),
    # Somebody else's hand in the folder.
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
"""Images that still need their file."""


def transitions(table: Sequence[Transition], event: str) -> list[Transition]:
    """Return the changes that an event makes; raises ``KeyError`` where the table knows no such event."""
    found = [transition for transition in table if transition.event == event]
    if not found:
        raise KeyError(event)
    return found


def file_of(state: str) -> File:
    """Return what becomes of the file of an image in a state."""
    return next(transition.file for transition in IMAGES if transition.after == state)
