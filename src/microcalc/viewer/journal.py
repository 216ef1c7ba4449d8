"""The journal of annotations: a file to which lines are only ever added, each on the disk before it is confirmed.

Every line is one change by one reader: annotations put or removed, an image marked as done or settled, a change undone
or done again. The state is what the lines give, one after the other, over the annotations that were there at first.
Several processes may write: a lock makes them take turns, and each reads the lines of the others before it adds its
own. A line that a killed process left unfinished was never confirmed, and is removed by the next writer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from microcalc.datasets.table import AnnotationRow
from microcalc.errors import InputError
from microcalc.storage.lock import locked
from microcalc.storage.write import saying_where, sync_folder

SCHEMA: Final = "microcalc/annotation-journal/1"
Action = Literal["annotate", "done", "not_done", "settle", "undo", "redo"]
_STATES: Final[Mapping[Action, str]] = {"done": "done", "not_done": "", "settle": "settled"}
_FIELDS: Final = tuple(f.name for f in fields(AnnotationRow) if f.name != "where")


@dataclass(frozen=True, slots=True)
class Change:
    """An annotation before and after a change; None: there was, or is, none."""

    id: str
    before: AnnotationRow | None
    after: AnnotationRow | None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal.

    Attributes
    ----------
    number
        Counted from 1, in the order of the file.
    changes
        Annotations that are put or removed.
    mark
        State of the image for this judge before and after: ``""``, ``"done"`` or ``"settled"``.
    of
        Number of the event that is undone or done again; 0 for others.
    note
        Where an annotation comes from, such as a model and its likelihood.
    """

    number: int
    action: Action
    judge: str
    when: str
    image: str
    changes: tuple[Change, ...] = ()
    mark: tuple[str, str] | None = None
    of: int = 0
    note: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """A journal on the disk, and the state that it gives.

    Parameters
    ----------
    file
        Created by the first change.
    given
        The annotations before the first change, each with an id.
    """

    def __init__(self, file: Path, given: Iterable[AnnotationRow]) -> None:
        self.file = file
        self.rows: dict[str, AnnotationRow] = {row.id: row for row in given}
        self.marks: dict[tuple[str, str], str] = {}  # (image, judge) → "done" or "settled"
        self.events: list[Event] = []
        self.readers: set[str] = set()  # everybody with an event
        self._stacks: dict[str, tuple[list[int], list[int]]] = {}  # judge → events to undo, and to do again
        self._read_bytes = 0
        self.refresh()

    def refresh(self) -> None:
        """Read the lines that were added since, by whatever process.

        Raises
        ------
        InputError
            A line is damaged.
        """
        try:
            with self.file.open("rb") as handle:
                handle.seek(self._read_bytes)
                added = handle.read()
        except FileNotFoundError:
            return
        whole = added[: added.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._apply(_parse(line, len(self.events) + 1, self.file))
        self._read_bytes += len(whole)

    def annotate(
        self,
        judge: str,
        image: str,
        put: Sequence[AnnotationRow],
        remove: Sequence[str],
        note: Mapping[str, Any],
        *,
        whole: bool = False,
    ) -> Event:
        """Put and remove annotations of an image in one change; return it when it is on the disk.

        Parameters
        ----------
        whole
            False: an annotation keeps the entries that the page does not know (``morphology``, ``d_prime``).

        Raises
        ------
        InputError
            An annotation belongs to another reader, is not there, or one is put where the reader has one already.
        OutputError
            The system refused to write; nothing was changed.
        """
        when = _now()

        def change() -> Event:
            changes = [self._put(row, judge, image, when, whole=whole) for row in put]
            changes += [self._remove(name, judge) for name in remove]
            self._refuse_double(changes, judge, image)
            return Event(len(self.events) + 1, "annotate", judge, when, image, tuple(changes), note=note)

        return self._add(change)

    def mark(self, judge: str, image: str, action: Literal["done", "not_done", "settle"]) -> Event:
        """Mark an image as done, not done or settled by a reader; raises as ``annotate``."""

        def change() -> Event:
            before = self.marks.get((image, judge), "")
            return Event(len(self.events) + 1, action, judge, _now(), image, mark=(before, _STATES[action]))

        return self._add(change)

    def undo(self, judge: str, *, redo: bool = False) -> Event:
        """Undo a reader's last change that is not undone, or do again the last that is.

        Raises
        ------
        InputError
            There is none, or another reader has changed the annotation since.
        """

        def change() -> Event:
            stack = self._stack(judge)[1 if redo else 0]
            if not stack:
                raise InputError("nothing to do again" if redo else "nothing to undo")
            of = self.events[stack[-1] - 1]
            changes = of.changes if redo else tuple(Change(c.id, c.after, c.before) for c in reversed(of.changes))
            if any(self.rows.get(c.id) != c.before for c in changes):
                raise InputError("another reader has changed this annotation since")
            mark = of.mark if redo or of.mark is None else (of.mark[1], of.mark[0])
            action: Action = "redo" if redo else "undo"
            return Event(len(self.events) + 1, action, judge, _now(), of.image, changes, mark, of.number)

        return self._add(change)

    def _add(self, change: Any) -> Event:
        """Make a change under the lock, after what others have added, and write it to the disk."""
        with locked(self.file.with_suffix(".lock")):
            self.refresh()
            event: Event = change()
            line = _line(event)
            with saying_where(self.file):
                is_new = not self.file.exists()
                with self.file.open("r+b" if not is_new else "xb") as handle:
                    handle.truncate(self._read_bytes)  # what a killed process left unfinished
                    handle.seek(self._read_bytes)
                    handle.write(line)
                    handle.flush()
                    os.fsync(handle.fileno())
                if is_new:
                    sync_folder(self.file.parent)
            self._apply(event)
            self._read_bytes += len(line)
        return event

    def _put(self, row: AnnotationRow, judge: str, image: str, when: str, *, whole: bool) -> Change:
        before = self.rows.get(row.id)
        if before is not None and before.image != image:
            raise InputError("an annotation of another image")
        if before is not None and before.judge != judge and self._is_readers(before):
            raise InputError(f"an annotation by {before.judge}, expected one of your own")
        kept = {} if before is None or whole else {"morphology": before.morphology, "d_prime": before.d_prime}
        entries = {name: getattr(row, name) for name in _FIELDS} | {"judge": judge, "when": when} | kept
        return Change(row.id, before, AnnotationRow(**entries))

    def _remove(self, name: str, judge: str) -> Change:
        before = self.rows.get(name)
        if before is None:
            raise InputError("no such annotation; another window may have removed it")
        if before.judge != judge and self._is_readers(before):
            raise InputError(f"an annotation by {before.judge}, expected one of your own")
        return Change(name, before, None)

    def _is_readers(self, row: AnnotationRow) -> bool:
        """Return whether an annotation is by a reader of this journal, and not one of those given at first."""
        return row.judge in self.readers

    def _refuse_double(self, changes: Sequence[Change], judge: str, image: str) -> None:
        """Refuse two annotations of one reader at one place, which no table may have."""
        after = self.rows | {c.id: c.after for c in changes if c.after is not None}
        gone = {c.id for c in changes if c.after is None}
        places: set[tuple[float, float]] = set()
        for row in after.values():
            if row.image != image or row.judge != judge or row.id in gone:
                continue
            if (row.row, row.column) in places:
                raise InputError("there is an annotation at this place already")
            places.add((row.row, row.column))

    def _apply(self, event: Event) -> None:
        self.events.append(event)
        self.readers.add(event.judge)
        for change in event.changes:
            if change.after is None:
                self.rows.pop(change.id, None)
            else:
                self.rows[change.id] = change.after
        if event.mark is not None:
            self.marks[event.image, event.judge] = event.mark[1]
        to_undo, to_redo = self._stack(event.judge)
        if event.action == "undo":
            to_redo.append(to_undo.pop())
        elif event.action == "redo":
            to_undo.append(to_redo.pop())
        else:
            to_undo.append(event.number)
            to_redo.clear()

    def _stack(self, judge: str) -> tuple[list[int], list[int]]:
        return self._stacks.setdefault(judge, ([], []))


def row_of(entries: Mapping[str, Any]) -> AnnotationRow:
    """Return an annotation from its entries in the journal.

    Raises
    ------
    TypeError, KeyError, ValueError
        An entry is missing or of another type.
    """
    known = {name: entries[name] for name in _FIELDS if name in entries}
    known["outline"] = tuple((float(row), float(column)) for row, column in known.get("outline", ()))
    return AnnotationRow(**known)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(event: Event) -> bytes:
    document = asdict(event)
    for change in document["changes"]:
        for side in ("before", "after"):
            if change[side] is not None:
                change[side].pop("where")
    return json.dumps({"schema": SCHEMA, **document}, allow_nan=False).encode() + b"\n"


def _parse(line: bytes, number: int, file: Path) -> Event:
    try:
        document = json.loads(line)
        if document.pop("schema") != SCHEMA or document["number"] != number:
            raise ValueError("another schema or number")
        changes = tuple(
            Change(c["id"], *(None if c[side] is None else row_of(c[side]) for side in ("before", "after")))
            for c in document.pop("changes")
        )
        mark = document.pop("mark")
        return Event(**document, changes=changes, mark=None if mark is None else (mark[0], mark[1]))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise InputError(f"{file.name} line {number}: damaged, expected a change of the journal") from None
