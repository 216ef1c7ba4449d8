"""The worker process, which detects and makes reports: ``python -m microcalc.node.worker``.

It reads one JSON line per job and answers with one JSON line. The first line selects the model; its answer gives
the model's SHA-256. The process ends when its input ends, so that no worker outlives its node. Output of
libraries is discarded: it could quote a header.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import IO, Any

from microcalc.batch.analyse import detect_file
from microcalc.batch.options import ImageOptions
from microcalc.detection.result import read_result
from microcalc.domain import Intent
from microcalc.errors import InputError, MicrocalcError, OutputError
from microcalc.models.model import Model, Models
from microcalc.reports.exam import exam_reports, write_report
from microcalc.reports.from_results import algorithm_of, reported_image
from microcalc.reports.image_header import read_image_header
from microcalc.reports.reported_image import Algorithm, ReportedImage, remarks

Job = Mapping[str, Any]
Answer = dict[str, object]


def main() -> None:
    """Do jobs until the input ends."""
    output = _private_output()
    first = json.loads(sys.stdin.buffer.readline() or b"null")
    if first is None:
        return
    try:
        work = _Work(first)
    except MicrocalcError as error:
        _send(output, {"error": str(error)})
        return
    _send(output, {"models": work.names()})
    for line in sys.stdin.buffer:
        _send(output, answer(work, json.loads(line)))


class _Work:
    """The models, which are loaded once, and the options."""

    def __init__(self, given: Job) -> None:
        self.options = ImageOptions(benign=given["benign"])
        self.models = Models(given["model"], threads=given["threads"])
        self.loaded: dict[Intent, Model] = {intent: self.models.of(intent) for intent in given["intents"]}

    def names(self) -> dict[Intent, str]:
        """Return the SHA-256 of each intent's model."""
        return {intent: model.sha256 for intent, model in self.loaded.items()}

    def algorithm(self, intent: Intent) -> Algorithm:
        """Return the description of the model and of the options for reports, as ``microcalc detect`` writes them."""
        benign = self.options.benign
        return algorithm_of(self.loaded[intent], () if benign == "show" else (f"benign={benign}",))


def answer(work: _Work, job: Job) -> Answer:
    """Do one job.

    Returns
    -------
    dict
        ``failed``: the input is at fault, in words. ``later``: the disc is full or fails; the job is to be tried
        again however often. ``memory``: there was not enough memory. ``fault``: our own error, its class only, since
        its words could quote a header. ``unusable``: the UIDs of images whose detections were made by another model
        or cannot be read. Otherwise the result of the job.
    """
    try:
        return _detect(work, job) if job["job"] == "detect" else _report(work, job)
    except OutputError as error:
        return {"later": str(error)}
    except MicrocalcError as error:
        return {"failed": str(error)}
    except MemoryError:
        return {"memory": True}
    except OSError as error:
        return {"later": f"{type(error).__name__}: {error.strerror}"}
    except Exception as error:
        return {"fault": type(error).__name__}


def _detect(work: _Work, job: Job) -> Answer:
    """Detect in one image; answer with the duration in seconds."""
    start, detections = perf_counter(), Path(job["detections"])
    detect_file(
        Path(job["file"]), work.models, work.options, stem=detections.stem, out=detections.parent, overlay=False
    )
    return {"seconds": perf_counter() - start}


def _report(work: _Work, job: Job) -> Answer:
    """Make the reports of one exam; answer with their UIDs, and remarks about the headers."""
    results = [(image["uid"], _result(work, image)) for image in job["images"]]
    unusable = [uid for uid, result in results if result is None]
    if unusable:
        return {"unusable": unusable}
    whole = [result for _, result in results if result is not None]
    made = exam_reports(whole, job["kinds"], made=datetime.now().astimezone(), codes=job["codes"])
    uids = [str(report.dataset.SOPInstanceUID) for report in made]
    for uid, report in zip(uids, made, strict=True):
        write_report(report, Path(job["out"]) / f"{uid}.dcm")
    return {"reports": uids, "remarks": remarks([result.header for result in whole])}


def _result(work: _Work, image: Mapping[str, str | None]) -> ReportedImage | None:
    """Return an image for its report; None if its detections are unreadable or from another model."""
    header = read_image_header(Path(str(image["file"])))
    algorithm = work.algorithm(header.intent)
    if image["detections"] is None:
        return reported_image(header, algorithm, image["reason"] or "not analysed")
    try:
        detections = read_result(Path(image["detections"]))
    except InputError:
        return None
    if detections.model is None or detections.model.sha256 != algorithm.sha256:
        return None
    return reported_image(header, algorithm, detections)


def _private_output() -> IO[bytes]:
    """Return the pipe to the node; discard everything else that is printed to standard output and error."""
    output = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return output


def _send(output: IO[bytes], reply: Answer) -> None:
    output.write(json.dumps(reply).encode() + b"\n")
    output.flush()


if __name__ == "__main__":
    main()
