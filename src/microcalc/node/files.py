"""The node's folder: what lies where, and who may use it.

::

    queue.sqlite      the queue (``jobs``)
    lock              held by the running node
    temporary/        what is being received or made; emptied at a start
    images/           NAME.dcm, waiting for their report
    found/            NAME.json, detections, which say which model made them
    reports/          UID.dcm, waiting to be sent
    quarantine/       SHA256.dcm and SHA256.txt, the reason

NAME is a hash of the SOP Instance UID: what a sender wrote is never part of a path.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from microcalc.errors import InputError
from microcalc.storage.key import file_sha256
from microcalc.storage.ownership import MARK, check_output_folder, open_output_folder, owner_of
from microcalc.storage.write import saying_where, sync_folder, write_json, write_text

_COMMAND = "node"
_FIRST_LAYOUT = {"queue.sqlite", "lock", "images", "found", "reports", "quarantine"}
"""Of nodes that did not mark their folder yet."""


def image_name(uid: str) -> str:
    """Return what an image is called in files and messages."""
    return hashlib.sha256(uid.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Folder:
    """The node's folder."""

    root: Path

    @property
    def queue(self) -> Path:
        """Of the queue."""
        return self.root / "queue.sqlite"

    @property
    def images(self) -> Path:
        """Of the images."""
        return self.root / "images"

    @property
    def found(self) -> Path:
        """Of the detections."""
        return self.root / "found"

    @property
    def reports(self) -> Path:
        """Of the reports."""
        return self.root / "reports"

    @property
    def quarantine(self) -> Path:
        """Of the quarantine."""
        return self.root / "quarantine"

    @property
    def temporary(self) -> Path:
        """Of what is being received or made."""
        return self.root / "temporary"

    def image(self, uid: str) -> Path:
        """Return the file of an image."""
        return self.images / f"{image_name(uid)}.dcm"

    def detections(self, uid: str) -> Path:
        """Return the file of an image's detections."""
        return self.found / f"{image_name(uid)}.json"

    def report(self, uid: str) -> Path:
        """The file of a report, which is ours, and so is its UID."""
        return self.reports / f"{uid}.dcm"

    def make(self) -> None:
        """Make what is missing, for the node's user alone, and mark the folder as a node's.

        Raises
        ------
        InputError
            The folder holds something else.
        OutputError
            The system refused.
        """
        if self._of_first_layout():
            write_json(self.root / MARK, {"schema": "microcalc/folder/1", "command": _COMMAND})
        check_output_folder(self.root, _COMMAND)
        with saying_where(self.root):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        open_output_folder(self.root, _COMMAND)
        with saying_where(self.temporary):
            for folder in (self.temporary, self.images, self.found, self.reports, self.quarantine):
                folder.mkdir(exist_ok=True, mode=0o700)

    def _of_first_layout(self) -> bool:
        if owner_of(self.root) is not None or not self.root.is_dir():
            return False
        names = {path.name for path in self.root.iterdir()} - {"queue.sqlite-wal", "queue.sqlite-shm"}
        return names == _FIRST_LAYOUT

    def lock(self) -> IO[bytes]:
        """Keep other nodes out until the file is closed or the process ends.

        Raises
        ------
        InputError
            Another node runs in the folder.
        """
        file = (self.root / "lock").open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            raise InputError(f"{self.root.name}: another node runs in this folder, expected one of its own") from None
        return file

    def free_bytes(self) -> int:
        """What the disc has left."""
        return shutil.disk_usage(self.root).free

    def publish(self, report: str) -> None:
        """Give a report that was noted in the queue its final place, if it is not there yet."""
        with suppress(FileNotFoundError):
            move(self.temporary / f"{report}.dcm", self.report(report))

    def set_aside(self, file: Path, reason: str) -> str:
        """Move a file into quarantine, its reason beside it; return its SHA-256."""
        sha256 = file_sha256(file)
        write_text(self.quarantine / f"{sha256}.txt", f"{reason}\n")
        move(file, self.quarantine / f"{sha256}.dcm")
        return sha256


def move(source: Path, target: Path) -> None:
    """Give a file its final name, and wait for the disc."""
    source.replace(target)
    sync_folder(target.parent)
