"""Accept a received file: store and queue it, or quarantine it, before the sender gets its answer."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from microcalc.domain import Intent
from microcalc.errors import MicrocalcError, NotAMammogramError, OutputError, UnreadableImageError
from microcalc.node.files import Folder, image_name, move
from microcalc.node.jobs import JobQueue, QueuedImage
from microcalc.node.settings import MEBIBYTE, Storage
from microcalc.reports.image_header import ImageHeader, read_image_header
from microcalc.storage.key import file_sha256
from microcalc.storage.write import write_text, write_whole

Outcome = Literal["taken", "known", "quarantined", "full"]
_LOG = logging.getLogger("microcalc.node")


@dataclass(frozen=True, slots=True)
class Intake:
    """Accepts received files.

    Attributes
    ----------
    models
        Intent → SHA-256 of its model; images of other intents are quarantined.
    notify
        Called when an image was queued.
    clock
        Returns the time in seconds.
    """

    folder: Folder
    queue: JobQueue
    storage: Storage
    models: Mapping[Intent, str]
    notify: Callable[[], None]
    clock: Callable[[], float] = time.time
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, uid: str, content: bytes, *, sender: str) -> Outcome:
        """Store and queue a DICOM file, or quarantine it.

        Parameters
        ----------
        uid
            The SOP Instance UID in the sender's request.
        content
            The file, including its file meta information.
        sender
            Name of the sender in the log.

        Returns
        -------
        {"taken", "known", "quarantined", "full"}
            ``full``: nothing was stored, and the sender should try again later. In the other cases the sender
            may forget the file: it was queued, is known already, or was quarantined.
        """
        if self.folder.free_bytes() - len(content) < self.storage.free_mib * MEBIBYTE:
            _LOG.error("disk full: less than free_mib = %d left, image refused", self.storage.free_mib)
            return "full"
        temporary = self.folder.temporary / f"{secrets.token_hex(16)}.dcm"
        try:
            write_whole(temporary, content)
            return self.sort(temporary, uid, sender)
        except (OSError, OutputError, sqlite3.Error) as error:
            _LOG.error("image refused: cannot be stored (%s)", type(error).__name__)
            return "full"
        finally:
            temporary.unlink(missing_ok=True)

    def sort(self, file: Path, uid: str | None, sender: str) -> Outcome:
        """Move a file to the images and queue it, or move it into quarantine.

        A file of a known image stays where it is.

        Parameters
        ----------
        uid
            The SOP Instance UID in the sender's request; None if there was no request.
        sender
            Name of the sender in the log.
        """
        with self._lock:  # one at a time: a header may inflate to a gigabyte
            try:
                header = read_image_header(file)
                model = self._model_for(header, uid, file)
            except OutputError:
                raise
            except MicrocalcError as error:
                self._quarantine(file, str(error).removeprefix(f"{file.name}: "), sender)
                return "quarantined"
            name = image_name(header.uid)
            if self.queue.knows(header.uid, model):
                _LOG.info("image %s from %s: received before, discarded", name, sender)
                return "known"
            move(file, self.folder.image(header.uid))
            image = QueuedImage(header.uid, model, header.intent, exam_of(header))
            self.queue.add(image, place=header.label, now=self.clock())
            _LOG.info("image %s from %s: %s %s, queued", name, sender, header.intent, header.label)
        self.notify()
        return "taken"

    def _model_for(self, header: ImageHeader, uid: str | None, file: Path) -> str:
        if uid is not None and header.uid != uid:
            raise UnreadableImageError(
                f"{file.name}: the SOP Instance UID differs from that of the sender's request, expected the same"
            )
        if header.intent not in self.models:
            raise NotAMammogramError(f"{file.name}: a {header.intent} image, expected {' or '.join(self.models)}")
        return self.models[header.intent]

    def _quarantine(self, file: Path, reason: str, sender: str) -> None:
        """Quarantine a file that cannot be queued; if the quarantine is full, keep only the reason."""
        size = file.stat().st_size
        keep = self.queue.counts().quarantined_bytes + size <= self.storage.quarantine_mib * MEBIBYTE
        if keep:
            sha256 = self.folder.set_aside(file, reason)
        else:
            sha256 = file_sha256(file)
            write_text(self.folder.quarantine / f"{sha256}.txt", f"{reason}\n")
        self.queue.quarantine_file(sha256, reason, size=size if keep else 0, now=self.clock())
        _LOG.warning("file %s from %s: quarantined%s: %s", sha256[:20], sender, "" if keep else " without file", reason)


def exam_of(header: ImageHeader) -> str:
    """Return the key of the exam whose report includes an image: one study of one patient, in one intent."""
    return f"{header.exam.key} {header.intent}"
