"""Measure the node under faults and load: the long forms of ``tests/node``.

``python -m benchmarks.node kills [--images 200]``
    SIGKILL to node and workers at random times while exams are sent: images lost, images in two reports.
``python -m benchmarks.node mutants [--images 2000]``
    Damaged files: quarantined, reported, reported as failed, unanswered.
``python -m benchmarks.node senders [--minutes 10] [--senders 8]``
    Senders at once: images taken, largest memory of the node's own process and of its workers.
``python -m benchmarks.node disc --folder SMALL [--images 120]``
    On a small file system, such as ``mount -t tmpfs -o size=24m none SMALL``, that is full for a while:
    images refused, images lost.
``python -m benchmarks.node histories [--histories 1000]``
    Random histories of a node that is killed before any line of its code (``tests.node.histories``), and given lives
    in which it is killed before every line in turn: kills, images taken, reports; it ends at the first image that is
    lost, doubled, or removed too early.
``python -m benchmarks.node throughput [--images 16] [--model raw] [--workers 2]``
    Images per minute, beside ``microcalc detect`` on the same images.

Images have 640 x 440 pixels; only ``throughput`` simulates an image of a Hologic system and sends it as several
instances. The detector is the LoG filter, except in ``throughput``. The exit code is 0 where no image was lost or
reported twice and no log names a patient.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from pydicom import dcmread
from pydicom.uid import UID
from tests.node.mammograms import ID, NAME, VIEWS, write_exam
from tests.node.mutants import mutate
from tests.node.nodes import Archive, NodeProcess, send, uids_of
from tests.waiting import wait_until

from benchmarks import Parser, amount, count, run, whole
from microcalc.errors import InputError
from microcalc.models.model import load_model

_PATIENCE_S = 3600.0


def main(arguments: Sequence[str]) -> int:
    """Run one of the measurements."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace, Path], bool] = globals()[f"_{options.what}"]
    with tempfile.TemporaryDirectory() as folder:
        return 0 if run(options, Path(folder)) else 1


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.node", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kills", "mutants", "senders", "disc", "histories", "throughput"])
    parser.add_argument("--images", type=count)
    parser.add_argument("--histories", type=count, default=1000)
    parser.add_argument("--senders", type=count, default=8)
    parser.add_argument("--minutes", type=amount, default=10.0)
    parser.add_argument("--workers", type=count, default=2)
    parser.add_argument("--model", default="raw")
    parser.add_argument("--folder", type=Path, help="on a small file system")
    parser.add_argument("--seed", type=whole, default=1)
    return parser


def _exams(folder: Path, images: int) -> list[list[Path]]:
    return [write_exam(folder, f"exam{n}") for n in range((images + 3) // 4)]


def _send_until_taken(node: NodeProcess, files: Sequence[Path]) -> tuple[int, int]:
    """Send like an archive, until every image is accepted; return the number of refusals and missing answers."""
    left, refused, unanswered = list(files), 0, 0
    while left:
        statuses = send(node.port, left)
        refused += statuses.count(0xA700)
        unanswered += statuses.count(None)
        left = [file for file, status in zip(left, statuses, strict=True) if status != 0x0000]
        if left:
            time.sleep(0.3)
    return refused, unanswered


def _outcome(node: NodeProcess, archive: Archive, files: Sequence[Path]) -> bool:
    """Wait for all reports, stop the node, and print the outcomes of the images."""
    uids = uids_of(files)
    wait_until(lambda: uids <= set(archive.images()), seconds=_PATIENCE_S)
    code = node.end(signal.SIGTERM)
    images = archive.images()
    lost, doubled = len(uids - set(images)), sum(images[uid] > 1 for uid in uids)
    reports = len({str(report.SOPInstanceUID) for report in archive.reports})
    print(f"{len(uids)} images, {reports} reports, {lost} lost, {doubled} doubled; the node ended with {code}")
    return lost == doubled == code == 0 and _log_names_nobody(node)


def _log_names_nobody(node: NodeProcess) -> bool:
    text = node.log.read_text()
    named = text.count(ID) + text.count(NAME.partition("^")[0]) + text.count("Traceback")
    print(f"log of {len(text.splitlines())} lines: {named} with a patient's name or ID or a traceback")
    return named == 0


def _kills(options: argparse.Namespace, folder: Path) -> bool:
    exams, rng = _exams(folder / "exams", options.images or 200), random.Random(options.seed)
    killed, over = {"node": 0, "worker": 0}, threading.Event()
    with Archive() as archive:
        node = NodeProcess(folder, archive.port, workers=options.workers, tries=100, wait_s=5.0)
        node.start()

        def kill() -> None:
            while not over.wait(rng.uniform(0.2, 3.0)):
                if rng.random() < 0.25:
                    node.end(signal.SIGKILL)
                    killed["node"] += 1
                    node.start(wait=False)
                    over.wait(rng.uniform(1.0, 6.0))
                elif node.process is not None and node.process.poll() is not None:
                    node.start(wait=False)  # as systemd would
                for worker in rng.sample(ids := node.worker_ids(), min(1, len(ids))):
                    os.kill(worker, signal.SIGKILL)
                    killed["worker"] += 1

        killer = threading.Thread(target=kill)
        killer.start()
        unanswered = sum(_send_until_taken(node, exam)[1] for exam in exams)
        time.sleep(10)
        over.set()
        killer.join()
        if node.process is not None and node.process.poll() is not None:
            node.start(wait=False)
        wait_until(node.answers)
        print(f"killed: node {killed['node']} times, workers {killed['worker']} times; {unanswered} sends unanswered")
        return _outcome(node, archive, [file for exam in exams for file in exam])


def _mutants(options: argparse.Namespace, folder: Path) -> bool:
    count, rng = options.images or 2000, random.Random(options.seed)
    (file,) = write_exam(folder / "exam", "mutant", views=VIEWS[:1])
    with Archive() as archive:
        node = NodeProcess(folder, archive.port, workers=options.workers)
        node.start()
        statuses: list[int | None] = []
        for first in range(0, count, 50):
            mutants = [mutate(file, folder / f"m{n}.dcm", rng) for n in range(first, min(first + 50, count))]
            for mutant in mutants:
                statuses += send(node.port, [mutant])
                mutant.unlink()
        wait_until(lambda: _metric(node, "microcalc_exams_open") == 0, seconds=_PATIENCE_S)
        wait_until(lambda: _metric(node, "microcalc_reports_waiting") == 0, seconds=_PATIENCE_S)
        states = {s: _metric(node, f'microcalc_images{{state="{s}"}}') for s in ("done", "failed", "quarantined")}
        files = _metric(node, "microcalc_files_quarantined_total")
        alive, ended = node.answers(), _metric(node, "microcalc_workers_ended_total")
        node.end(signal.SIGTERM)
        reported = len(archive.images())
    taken = statuses.count(0x0000)
    print(
        f"{count} mutants, {taken} taken: {files:.0f} quarantined, {states['done']:.0f} analysed, "
        f"{states['failed']:.0f} reported as failed, {reported} in reports; node alive: {alive}, "
        f"workers that ended: {ended:.0f}"
    )
    whole = taken == count and files + states["done"] + states["failed"] == count
    return whole and reported == states["done"] + states["failed"] and alive and _log_names_nobody(node)


def _metric(node: NodeProcess, name: str) -> float:
    from tests.node.nodes import page

    lines = page(node.health_port, "/metrics")[1].splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def _senders(options: argparse.Namespace, folder: Path) -> bool:
    until, lock = time.monotonic() + 60 * options.minutes, threading.Lock()
    sent: list[str] = []
    memory = {"node": 0.0, "workers": 0.0}
    with Archive() as archive:
        node = NodeProcess(folder, archive.port, workers=options.workers, wait_s=5.0)
        node.start()

        def one(number: int) -> None:
            exam = 0
            while time.monotonic() < until:
                files = write_exam(folder / f"s{number}", f"s{number}e{exam}")
                _send_until_taken(node, files)
                uids = uids_of(files)
                with lock:
                    sent.extend(uids)
                for file in files:
                    file.unlink()
                exam += 1

        threads = [threading.Thread(target=one, args=(number,)) for number in range(options.senders)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.5)
            memory["node"] = max(memory["node"], _resident_mb([node.process.pid] if node.process else []))
            memory["workers"] = max(memory["workers"], _resident_mb(node.worker_ids()))
        print(
            f"{options.senders} senders, {options.minutes:g} min: {len(sent)} images; at most {memory['node']:.0f} MB "
            f"in the node's process, {memory['workers']:.0f} MB in its {options.workers} workers"
        )
        wait_until(lambda: set(sent) <= set(archive.images()), seconds=_PATIENCE_S)
        images = archive.images()
        doubled = sum(images[uid] > 1 for uid in sent)
        node.end(signal.SIGTERM)
        print(f"{len(set(sent) - set(images))} lost, {doubled} doubled")
        return doubled == 0 and _log_names_nobody(node)


def _resident_mb(ids: Sequence[int]) -> float:
    total = 0
    for pid in ids:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e6


def _disc(options: argparse.Namespace, folder: Path) -> bool:
    if options.folder is None:
        raise InputError("disc: no --folder, expected one on a small file system")
    exams = _exams(folder / "exams", options.images or 120)
    with Archive() as archive:
        storage = options.folder.resolve() / "node"
        node = NodeProcess(folder, archive.port, storage=storage, free_mib=4, workers=options.workers, wait_s=5.0)
        node.start()
        threading.Thread(target=_fill, args=(options.folder / "ballast",)).start()
        views = [file for view in range(4) for file in (exam[view] for exam in exams)]  # no exam is whole early
        refused, unanswered = _send_until_taken(node, views)
        print(f"{refused} times refused with A700, {unanswered} sends unanswered")
        return _outcome(node, archive, views)


def _fill(ballast: Path) -> None:
    """Fill the disk after some seconds, including the reserve of the node, and free it after some more."""
    time.sleep(4)
    try:
        with ballast.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                continue
    except OSError:
        print("the disc is full to the last byte", flush=True)
    time.sleep(15)
    ballast.unlink()


def _histories(options: argparse.Namespace, folder: Path) -> bool:
    from hypothesis import HealthCheck, seed, settings
    from hypothesis.stateful import run_state_machine_as_test
    from tests.node.histories import LIVES, History, kill_before_every_line

    class Counted(History):
        totals: ClassVar[Counter[str]] = Counter()

        def teardown(self) -> None:
            super().teardown()
            self.totals.update(histories=1, lives=self.lives, kills=self.kills, taken=len(self.taken))
            self.totals.update(reports=len({uid for uid, _, _ in self.archive.arrived}))

    given = settings(
        max_examples=options.histories,
        stateful_step_count=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(options.seed)(Counted), settings=given)
    print(", ".join(f"{count} {what}" for what, count in Counted.totals.items()) + ": none lost, none doubled")
    for name, life in LIVES.items():
        counts = kill_before_every_line(life, thorough=True)
        print(f"{name}: killed before each of {counts['lines']} lines, {counts['kills']} different kills: none lost")
    return True


def _throughput(options: argparse.Namespace, folder: Path) -> bool:
    """Measure the same images with ``microcalc detect`` on all cores, and through a node."""
    load_model(options.model, threads=1)  # one that cannot be loaded is named before all else
    files = _copies(folder / "images", options.images or 16)
    command = [sys.executable, "-m", "microcalc", "detect", *map(str, files), "--model", options.model, "--no-overlay"]
    start = time.perf_counter()
    subprocess.run([*command, "--report", "sr", "--out", str(folder / "out")], check=True, stdout=subprocess.DEVNULL)
    plain_s = time.perf_counter() - start
    with Archive() as archive:
        node = NodeProcess(folder, archive.port, model=options.model, workers=options.workers)
        node.start()
        start = time.perf_counter()
        _send_until_taken(node, files)
        taken_s = time.perf_counter() - start
        wait_until(lambda: len(archive.images()) >= len(files), seconds=_PATIENCE_S)
        node_s = time.perf_counter() - start
        size_mb = files[0].stat().st_size / 1e6
        print(f"{len(files)} images of {size_mb:.0f} MB, model {options.model}, {os.cpu_count()} cores")
        print(f"microcalc detect, from start to end: {plain_s:.1f} s, {60 * len(files) / plain_s:.1f} images/min")
        print(
            f"node of {options.workers} workers, first byte to last report: {node_s:.1f} s, "
            f"{60 * len(files) / node_s:.1f} images/min; all taken after {taken_s:.1f} s"
        )
        return _outcome(node, archive, files)


def _copies(folder: Path, count: int) -> list[Path]:
    """Write one simulated mammogram as instances of several studies."""
    from dataclasses import replace

    from microcalc.datasets.simulated import Settings, make_exam
    from microcalc.simulate.systems import system

    folder.mkdir()
    settings = Settings(intents=("raw",), views=("CC",), lateralities=("L",))
    large = replace(system("hologic"), fields=((4096, 3328),))
    dataset = dcmread(make_exam(folder, large, 0, settings).images[0].file)
    files = []
    for number in range(count):
        dataset.SOPInstanceUID = UID(f"1.2.826.0.1.4711.{number}")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.StudyInstanceUID = f"1.2.826.0.1.4712.{number}"
        files.append(folder / f"copy{number}.dcm")
        dataset.save_as(files[-1])
    return files


if __name__ == "__main__":
    sys.exit(run(main))
