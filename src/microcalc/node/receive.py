"""Taking a file in: on the disc and in the queue, or in quarantine, before the sender is told so."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from microcalc.dicom.results import ImageHeader, read_image_header
from microcalc.domain import Intent
from microcalc.errors import MicrocalcError, NotAMammogramError, UnreadableImageError
from microcalc.node.files import Folder, image_name, move, write_new
from microcalc.node.jobs import JobQueue, QueuedImage
from microcalc.node.settings import MEBIBYTE, Storage

Outcome = Literal["taken", "known", "quarantined", "full"]
_LOG = logging.getLogger("microcalc.node")


@dataclass(frozen=True, slots=True)
class Intake:
    """Where files go.

    Attributes
    ----------
    models
        Intent → SHA-256 of its model; images of other intents go into quarantine.
    notify
        Called when there is work.
    """

    folder: Folder
    queue: JobQueue
    storage: Storage
    models: Mapping[Intent, str]
    notify: Callable[[], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, uid: str, content: bytes, *, sender: str) -> Outcome:
        """Take a DICOM file in.

        Parameters
        ----------
        uid
            The SOP Instance UID that the sender stated.
        content
            The file, with its meta information.
        sender
            For the log.

        Returns
        -------
        {"taken", "known", "quarantined", "full"}
            ``full``: nothing was kept, the sender shall try later. After the others the sender may
            forget the file: it is in the queue, was there before, or lies in quarantine.
        """
        if self.folder.free_bytes() - len(content) < self.storage.free_mib * MEBIBYTE:
            _LOG.error("disc full: less than free_mib = %d left, image refused", self.storage.free_mib)
            return "full"
        temporary = self.folder.images / f"{os.getpid()}-{threading.get_ident()}.part"
        try:
            write_new(temporary, content)
            # One at a time: a header may inflate to a gigabyte.
            with self._lock:
                return self._sort(temporary, uid, content, sender)
        except (OSError, sqlite3.Error) as error:
            _LOG.error("image refused: cannot be stored (%s)", type(error).__name__)
            return "full"
        finally:
            temporary.unlink(missing_ok=True)

    def _sort(self, temporary: Path, uid: str, content: bytes, sender: str) -> Outcome:
        try:
            header = read_image_header(temporary)
            model = self._model_for(header, uid, temporary)
        except MicrocalcError as error:
            self._quarantine(temporary, str(error).removeprefix(f"{temporary.name}: "), content, sender)
            return "quarantined"
        name = image_name(header.uid, model)
        if self.queue.knows(header.uid, model):
            _LOG.info("image %s from %s: known, not taken again", name, sender)
            return "known"
        move(temporary, self.folder.image(header.uid, model))
        image = QueuedImage(header.uid, model, header.intent, f"{header.exam.study} {header.intent}")
        self.queue.add(image, place=header.label, now=time.time())
        _LOG.info("image %s from %s: %s %s, queued", name, sender, header.intent, header.label)
        self.notify()
        return "taken"

    def _model_for(self, header: ImageHeader, uid: str, file: Path) -> str:
        if header.uid != uid:
            raise UnreadableImageError(
                f"{file.name}: another SOP Instance UID than its sender stated, expected the same"
            )
        if header.intent not in self.models:
            raise NotAMammogramError(f"{file.name}: a {header.intent} image, expected {' or '.join(self.models)}")
        return self.models[header.intent]

    def _quarantine(self, temporary: Path, reason: str, content: bytes, sender: str) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        keep = quarantine(self.folder, self.queue, self.storage, temporary, sha256, reason)
        _LOG.warning("file %s from %s: quarantined%s: %s", sha256[:20], sender, "" if keep else " without file", reason)


def quarantine(folder: Folder, queue: JobQueue, storage: Storage, file: Path, sha256: str, reason: str) -> bool:
    """Move a file into quarantine with its reason beside it; whether there was room for the file itself."""
    size = file.stat().st_size
    keep = queue.counts().quarantined_bytes + size <= storage.quarantine_mib * MEBIBYTE
    if keep:
        move(file, folder.quarantine / f"{sha256}.dcm")
    (folder.quarantine / f"{sha256}.txt").write_text(f"{reason}\n", encoding="utf-8")
    queue.quarantine_file(sha256, reason, size=size if keep else 0, now=time.time())
    return keep
