"""The node's folder: what lies where, and how it gets there whole.

::

    queue.sqlite      the queue (``jobs``)
    lock              held by the running node
    images/           NAME.dcm, waiting for their report
    found/            NAME.json, detections
    reports/          UID.dcm, waiting to be sent
    quarantine/       SHA256.dcm and SHA256.txt, the reason

NAME is a hash of the SOP Instance UID and the model: what a sender wrote is never part of a path.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from microcalc.errors import InputError


def image_name(uid: str, model: str) -> str:
    """What an image is called in files and messages."""
    return hashlib.sha256(f"{uid} {model}".encode()).hexdigest()[:20]


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

    def image(self, uid: str, model: str) -> Path:
        """The file of an image."""
        return self.images / f"{image_name(uid, model)}.dcm"

    def detections(self, uid: str, model: str) -> Path:
        """The file of an image's detections."""
        return self.found / f"{image_name(uid, model)}.json"

    def report(self, uid: str) -> Path:
        """The file of a report, which is ours, and so is its UID."""
        return self.reports / f"{uid}.dcm"

    def make(self) -> None:
        """Make what is missing, for the node's user alone."""
        for folder in (self.root, self.images, self.found, self.reports, self.quarantine):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

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

    def clean(self, images: Set[tuple[str, str]], reports: Set[str]) -> None:
        """Remove what an ended node left: files that nothing in the queue needs."""
        names = {image_name(uid, model) for uid, model in images}
        for folder, needed in ((self.images, names), (self.found, names), (self.reports, reports)):
            for file in folder.iterdir():
                if file.suffix not in (".dcm", ".json") or file.stem not in needed:
                    file.unlink()


def write_new(path: Path, content: bytes) -> None:
    """Write a file and wait for the disc; on any fault there is none."""
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def move(source: Path, target: Path) -> None:
    """Give a file its final name, and wait for the disc."""
    source.replace(target)
    sync(target.parent)


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disc."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
