"""Reconcile folder and queue after a start, wherever the previous run of the node ended.

Temporary files are removed, and so are files that the queue no longer needs. A file that the queue does not
know is queued if it is a mammogram, and quarantined otherwise. A file that the queue needs and that is missing
is logged as lost.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from microcalc.errors import MicrocalcError
from microcalc.node.files import Folder, image_name, move
from microcalc.node.jobs import JobQueue, QueuedImage
from microcalc.node.receive import Intake, exam_of
from microcalc.node.states import OPEN, file_of
from microcalc.reports.image_header import read_image_header

_LOG = logging.getLogger("microcalc.node")
_STRAY: Final = "found in the node's folder but not known to its queue"
_GONE: Final = "its file was removed from the node's folder"


def settle(intake: Intake) -> None:
    """Reconcile folder and queue; remove files that were only partly received or written.

    Raises
    ------
    OSError, OutputError, sqlite3.Error
        The disk is full or fails; the next start continues.
    """
    folder, queue = intake.folder, intake.queue
    for uid in queue.waiting_reports():
        folder.publish(uid)
    for file in _files(folder.temporary):
        file.unlink()
    needed = {image_name(image.uid) for image in queue.open_images()}
    for file in _files(folder.images):
        if file.suffix != ".dcm" or file.stem not in needed:
            _place(intake, file)
    needed = {image_name(image.uid) for image in queue.open_images()}
    for image in queue.open_images():
        if not folder.image(image.uid).exists():
            lose(queue, image)
    for file in _files(folder.found):
        if file.name.startswith(".") or file.stem not in needed:
            file.unlink()  # detections can be made again
    for file in _files(folder.reports):
        _settle_report(folder, queue, file)
    for uid in queue.waiting_reports():
        if not folder.report(uid).exists():
            lose_report(queue, uid, _GONE)


def finish(folder: Folder, image: QueuedImage) -> None:
    """Move or remove the files of an image as its state requires (see ``states``)."""
    file, fate = folder.image(image.uid), file_of(image.state)
    if fate == "kept":
        return
    if fate == "to quarantine" and file.exists():
        folder.set_aside(file, image.reason or "unknown")
    if fate == "removed":
        file.unlink(missing_ok=True)
    folder.detections(image.uid).unlink(missing_ok=True)


def lose(queue: JobQueue, image: QueuedImage) -> None:
    """Record and log that the file of an image is missing."""
    queue.lose(image, _GONE)
    _LOG.error("image %s: lost: %s; send it again", image_name(image.uid), _GONE)


def lose_report(queue: JobQueue, uid: str, reason: str) -> None:
    """Record and log that the file of a report is missing."""
    queue.lose_report(uid, reason)
    _LOG.error("report %s: lost: %s; send its images again", uid, reason)


def _place(intake: Intake, file: Path) -> None:
    """Identify a file by its header, as no open image has a file of this name, and put it where it belongs."""
    folder, queue = intake.folder, intake.queue
    try:
        header = read_image_header(file)
    except MicrocalcError:
        intake.sort(file, None, "the node's folder")  # into quarantine
        return
    image = queue.image(header.uid)
    own = folder.image(header.uid)
    if image is not None and image.state in OPEN and not own.exists():  # named as in the first version
        move(file, own)
        queue.set_exam(image.uid, exam_of(header))
    elif image is not None and image.state in ("reported", "quarantined") and file == own:
        finish(folder, image)
    elif own == file or not own.exists():
        if intake.sort(file, None, "the node's folder") == "known":
            folder.set_aside(file, _STRAY)
    else:
        folder.set_aside(file, _STRAY)


def _settle_report(folder: Folder, queue: JobQueue, file: Path) -> None:
    state = queue.report_state(file.stem) if file.suffix == ".dcm" else None
    if state == "sent":
        file.unlink()
    elif state != "waiting":
        folder.set_aside(file, _STRAY)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.is_dir())
