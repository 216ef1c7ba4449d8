"""Torture the places where work runs: ``python -m benchmarks engines torture``, ``overhead``, ``disk``.

``torture`` detects in many small images in each place (``--place``): in processes, in two shards at once, and on a Dask
cluster of this machine. It kills (SIGKILL) workers, the command, and once the scheduler at random moments, until so
many kills are done; a command that is killed or ends with an error is started again, as a user would. One image kills
its worker always. Then it compares all results with those of one process. ``overhead`` measures the time of a task that
does nothing, and the memory of the scheduler as more and more are done; ``disk`` fills a small file system.

Everything is made in a temporary folder, and removed. Exit code 1: something was lost, doubled, different or blamed.
Short runs: ``torture --images 100 --kills 12`` (3 minutes a place), ``overhead --tasks 2000`` (40 seconds).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from benchmarks import Parser, amount, count, run, whole
from benchmarks._machines import LocalMachines, is_running, machines, nothing, workers_of
from microcalc.errors import InputError
from microcalc.execution.cluster import Cluster
from microcalc.execution.executor import Executor, Processes
from microcalc.storage.index import read_index

_OPTIONS = [
    "--pixel-spacing",
    "0.2",
    "--intent",
    "processed",
    "--model",
    "log",
    "--max-candidates",
    "5",
    "--no-overlay",
]
_POISON = "poison.png"
_SECONDS = re.compile(r'"seconds": .*')
_SLOW = f"""
import os, signal, time
from pathlib import Path
from microcalc.batch import analyse
def slow_and_sometimes_deadly(file, *arguments, detect_in=analyse.detect_in):
    with Path(os.environ["ENGINES_LOG"]).open("a") as handle:
        handle.write(file.name + "\\n")
    time.sleep(float(os.environ["ENGINES_SLEEP"]))
    if file.name == "{_POISON}":
        os.kill(os.getpid(), signal.SIGKILL)
    return detect_in(file, *arguments)
if analyse.detect_in.__module__ == analyse.__name__:  # Dask may load this twice
    analyse.detect_in = slow_and_sometimes_deadly
if __name__ == "__main__":  # spawned workers run the rest, too
    from microcalc.cli import main
    main()
"""
"""The command, with images that take some time and one that kills its worker; Dask's workers load it."""
_PLACES = ("processes", "shards", "dask")


def main(arguments: Sequence[str]) -> int:
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    run: Callable[[Path, argparse.Namespace], int] = asked.run
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        return run(Path(folder), asked)


def _parser() -> Parser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m benchmarks.engines", description=__doc__, formatter_class=layout)
    modes = parser.add_subparsers(metavar="torture | overhead | disk", required=True)
    what = "kill workers, the command and the scheduler (10 minutes a place, on busy cores longer)"
    mode = modes.add_parser("torture", help=what, description=_described(torture))
    mode.add_argument("--place", choices=_PLACES, nargs="+", default=_PLACES, help="by default all, one after another")
    mode.add_argument("--images", type=_several, default=300, help="2 or more, one of which kills its worker")
    mode.add_argument("--kills", type=whole, default=64, help="number of kills in each place")
    mode.add_argument("--minutes", type=amount, default=600, help="in each place: no kills after these")
    mode.add_argument("--sleep", type=amount, default=0.3, help="seconds that each image waits")
    mode.add_argument("--seed", type=whole, default=1, help="of the moments of the kills")
    mode.set_defaults(run=torture)
    mode = modes.add_parser("overhead", help="tasks that do nothing (10 minutes)", description=_described(overhead))
    mode.add_argument("--tasks", type=count, default=100_000, help="for the memory of the scheduler")
    mode.set_defaults(run=overhead)
    mode = modes.add_parser("disk", help="a disk that becomes full, as root (a minute)", description=_described(disk))
    mode.add_argument("--images", type=count, default=60)
    mode.set_defaults(run=disk)
    for mode in modes.choices.values():
        mode.add_argument("--workers", type=count, default=2)
    return parser


def _described(mode: Callable[..., int]) -> str:
    return (mode.__doc__ or "").partition("\n")[0]


def _several(text: str) -> int:
    if (images := count(text)) < 2:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of 2 or more")
    return images


def _end(*_signal: object) -> NoReturn:
    """End as an error does: the cluster is stopped, and the small file system is unmounted."""
    sys.exit(128 + signal.SIGTERM)


def torture(folder: Path, asked: argparse.Namespace) -> int:
    """Kill in each place until enough is killed and all images are done; return 0 where nothing is lost or doubled."""
    draw_pictures(folder / "in", asked.images, poison=True)
    (folder / "slow.py").write_text(_SLOW)
    reference = [sys.executable, "-m", "microcalc", "detect", str(folder / "in"), "--out", str(folder / "alone")]
    subprocess.run([*reference, *_OPTIONS, "--workers", "1"], check=True, stdout=subprocess.DEVNULL)
    return max([_torture_in(place, folder, asked) for place in asked.place])


def _torture_in(place: str, folder: Path, asked: argparse.Namespace) -> int:
    log, out = folder / f"{place}-worked-on.txt", folder / f"out-{place}"
    environment = {"ENGINES_LOG": str(log), "ENGINES_SLEEP": str(asked.sleep)}
    command = [sys.executable, str(folder / "slow.py"), "detect", str(folder / "in"), "--out", str(out), *_OPTIONS]
    here = [*command, "--workers", str(asked.workers)]
    with ExitStack() as stack:
        if place == "dask":
            preload = ("--preload", str(folder / "slow.py"))
            cluster = stack.enter_context(machines(folder, asked.workers, *preload, **environment))
            work = _Tortured([[*command, "--cluster", cluster.address]], out, log, environment, asked, cluster)
        else:
            calls = [[*here, "--shard", f"{number}/2"] for number in range(2)] if place == "shards" else [here]
            work = _Tortured(calls, out, log, environment, asked)
        work.run()
        if place == "shards":
            subprocess.run(here, env={**os.environ, **environment}, capture_output=True)
    return _compare(place, folder, out, log, work)


def _compare(place: str, folder: Path, out: Path, log: Path, work: _Tortured) -> int:
    """Print what was lost, doubled, different or blamed wrongly; return 0 where that is nothing."""
    expected, found = _results(folder / "alone"), _results(out)
    expected.pop("poison.json")
    index = read_index(out)
    entries = [] if index is None else [entry.stem for entry in index.entries]
    failed = {} if index is None else {entry.file: entry.failed for entry in index.entries if entry.failed}
    begun = [name for name in log.read_text().split() if name != _POISON]
    doubled, blamed = len(entries) - len(set(entries)), sorted(work.blamed)
    print(f"{place}: kills: {work.killed}")
    print(f"results: {len(found)} of {len(expected)}, the same as those of one process: {found == expected}")
    print(f"lost: {len(expected.keys() - found.keys())}; in the index twice: {doubled}; blamed for the kills: {blamed}")
    print(f"workers that outlived their killed command: {work.orphans}")
    print(f"begun again, after a kill or since the benchmark removed the result: {len(begun) - len(set(begun))}")
    print(f"failed: {failed}", flush=True)
    whole = found == expected and doubled == 0 and len(entries) == len(expected) + 1
    return int(not whole or list(failed) != [_POISON] or bool(blamed) or work.orphans > 0)


@dataclass(slots=True)
class _Tortured:
    """Commands that run at the same time, and that are started again until each ends by itself.

    Attributes
    ----------
    blamed
        Images that a command named as failed because of the kills.
    orphans
        Workers that still ran half a minute after their command was killed.
    """

    commands: list[list[str]]
    out: Path
    log: Path
    environment: dict[str, str]
    asked: argparse.Namespace
    cluster: LocalMachines | None = None
    killed: Counter[str] = field(default_factory=Counter)
    blamed: set[str] = field(default_factory=set)
    orphans: int = 0

    def run(self) -> None:
        """Run the commands until they end by themselves after all kills."""
        rng, started = random.Random(self.asked.seed), time.monotonic()
        while True:
            done_s = time.monotonic() - started
            enough = self.killed["worker"] + self.killed["command"] >= self.asked.kills
            enough = enough or done_s > 60 * self.asked.minutes
            if not enough:  # some of what is done has to be done again, so that there is something to kill
                _forget_some(self.out, rng)
            self._run_once(rng, kill=not enough)
            self._note_blamed()
            print(f"{time.monotonic() - started:.0f} s: {dict(self.killed)}", flush=True)
            if enough:
                return

    def _run_once(self, rng: random.Random, *, kill: bool) -> None:
        """Run the commands until each ends by itself."""
        calls = [self._start(command) for command in self.commands]
        try:
            while any(call.poll() is None for call in calls):
                self._wait_for_work(rng.randint(2, 6), calls)
                time.sleep(rng.uniform(0, self.asked.sleep))
                if self.cluster is not None:
                    self.cluster.start_workers()
                if kill and self.killed["worker"] + self.killed["command"] < self.asked.kills:
                    self._kill_one(calls, rng)
                for number, call in enumerate(calls):
                    if call.poll() not in (None, 0, 1):  # killed, or its scheduler was
                        calls[number] = self._start(self.commands[number])
        finally:
            for call in calls:  # still running only where this process was interrupted
                call.kill()
                call.wait()

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        self.killed["starts"] += 1
        if self.killed["starts"] > 2 * self.asked.kills + 100:
            raise RuntimeError(f"the command ends again and again, see {self.log.stem}.log, expected it to go on")
        with self.log.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(command, env={**os.environ, **self.environment}, stdout=log, stderr=log)

    def _wait_for_work(self, count: int, calls: Sequence[subprocess.Popen[bytes]]) -> None:
        """Wait until so many images more are begun, at most 30 s: kills must not hit only what is just starting."""
        size = self.log.stat().st_size if self.log.exists() else 0
        for _ in range(300):
            begun = self.log.exists() and self.log.stat().st_size >= size + count * len("0000.png\n")
            if begun or any(call.poll() is not None for call in calls):
                return
            time.sleep(0.1)

    def _kill_one(self, calls: Sequence[subprocess.Popen[bytes]], rng: random.Random) -> None:
        """Kill a worker, sometimes the command, and once the scheduler, which is started again."""
        running = [call for call in calls if call.poll() is None]
        if not running:
            return
        call = rng.choice(running)
        workers = workers_of(call.pid) if self.cluster is None else self.cluster.worker_pids()
        if self.cluster is not None and self.killed["worker"] > 10 and not self.killed["scheduler"]:
            self.killed["scheduler"] += 1
            self.cluster.restart_scheduler()
        elif rng.random() < 0.2:
            self.killed["command"] += 1
            call.kill()
            call.wait()
            if self.cluster is None:
                self._count_orphans(workers)
        elif workers:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
                self.killed["worker"] += 1

    def _count_orphans(self, workers: Sequence[int]) -> None:
        for _ in range(300):
            if not any(is_running(pid) for pid in workers):
                return
            time.sleep(0.1)
        self.orphans += sum(is_running(pid) for pid in workers)

    def _note_blamed(self) -> None:
        for file in self.out.glob("index*.json"):
            failed = [entry["file"] for entry in json.loads(file.read_bytes())["images"] if entry.get("failed")]
            self.blamed.update(name for name in failed if name != _POISON)


def _forget_some(out: Path, rng: random.Random) -> None:
    """Remove half of the results, as a user might: the next start makes them again."""
    done = sorted(out.glob("[0-9]*.json"))
    for file in rng.sample(done, len(done) // 2):
        file.unlink()


def _results(out: Path) -> dict[str, str]:
    return {f.name: _SECONDS.sub("", f.read_text()) for f in out.glob("[0-9p]*.json")}


def overhead(folder: Path, asked: argparse.Namespace) -> int:
    """Print the time of a task that does nothing, and the memory of the scheduler after many."""
    with ExitStack() as stack:
        cluster = stack.enter_context(machines(folder, asked.workers))
        executors: dict[str, Executor] = {
            f"{asked.workers} processes": stack.enter_context(Processes(asked.workers)),
            f"Dask, {asked.workers} workers": stack.enter_context(Cluster(cluster.address)),
        }
        for name, executor in executors.items():
            sum(1 for _ in executor.run(nothing, range(200)))
            wall, processor = time.monotonic(), time.process_time()
            sum(1 for _ in executor.run(nothing, range(2000)))
            print(
                f"{name}: {(time.monotonic() - wall) / 2:.2f} ms a task of wall time, "
                f"{(time.process_time() - processor) / 2:.2f} ms of it of this processor"
            )
        _print_growth(cluster, executor, asked.tasks)
    return 0


def _print_growth(cluster: LocalMachines, executor: Executor, tasks: int) -> None:
    """Print what the command and the scheduler have used, and hold, as more and more tasks are done."""
    marks = [tasks // 10, tasks // 5, tasks // 2, tasks]
    print(f"scheduler: {_memory(cluster):.1f} MiB before; {tasks} tasks:")
    print("done    wall s  command, processor s  MiB     scheduler, processor s  MiB")
    wall, processor, used = time.monotonic(), time.process_time(), _processor_s(cluster)
    most, taken = 0, _Counted(tasks)
    for done, _ in enumerate(executor.run(nothing, taken), 1):
        most = max(most, taken.count - done + 1)
        if done in marks:
            print(
                f"{done:<8}{time.monotonic() - wall:<8.0f}{time.process_time() - processor:<22.1f}"
                f"{_memory_of('self'):<8.1f}{_processor_s(cluster) - used:<24.1f}{_memory(cluster):.1f}",
                flush=True,
            )
    print(f"at most {most} in hand; at most {_memory(cluster, 'VmHWM'):.1f} MiB in the scheduler")


@dataclass(slots=True)
class _Counted:
    """Numbers up to a total, and how many of them were taken."""

    total: int
    count: int = 0

    def __iter__(self) -> Iterator[int]:
        while self.count < self.total:
            self.count += 1
            yield self.count


def _processor_s(cluster: LocalMachines) -> float:
    """Return the seconds of the processor that the scheduler has used."""
    assert cluster.scheduler is not None
    user, system = Path(f"/proc/{cluster.scheduler.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _memory(cluster: LocalMachines, entry: str = "VmRSS") -> float:
    assert cluster.scheduler is not None
    return _memory_of(cluster.scheduler.pid, entry)


def _memory_of(pid: int | str, entry: str = "VmRSS") -> float:
    """Return an entry of a process's memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{entry}:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]  # Linux has both


def disk(folder: Path, asked: argparse.Namespace) -> int:
    """Detect onto a small file system that becomes full, enlarge it, and run the same command again.

    Raises
    ------
    InputError
        This user may not mount it.
    """
    if os.geteuid() != 0:
        raise InputError("disk: not root, expected a user who may mount a small file system")
    draw_pictures(folder / "in", asked.images, poison=False)
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={2 * asked.images}k", "tmpfs", str(small)], check=True)
    try:
        with machines(folder, asked.workers) as cluster:
            command = [sys.executable, "-m", "microcalc", "detect", str(folder / "in"), "--out", str(small / "out")]
            command += [*_OPTIONS, "--cluster", cluster.address]
            full = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            whole = [json.loads(f.read_bytes()) for f in (small / "out").glob("[0-9]*.json")]
            print(f"full: exit code {full.returncode}, {len(whole)} results, all whole; {full.stderr.splitlines()[-1]}")
            subprocess.run(["mount", "-o", "remount,size=512m", str(small)], check=True)
            again = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            results = _results(small / "out")
            print(f"with room: exit code {again.returncode}, {len(results)} of {asked.images} results")
            return int(full.returncode != 2 or again.returncode != 0 or len(results) != asked.images)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def draw_pictures(folder: Path, count: int, *, poison: bool) -> None:
    """Draw small processed mammograms of 260 x 200 pixels; with ``poison`` the last has that name."""
    folder.mkdir()
    names = [f"{number:04d}.png" for number in range(count - poison)] + [_POISON] * poison
    for number, name in enumerate(names):
        rows, columns = np.mgrid[:260, :200]
        breast = np.hypot(rows - 130, columns) < 110
        noise = np.random.default_rng(number).normal(0, 4, breast.shape)
        pixels = np.where(breast, 140 - columns / 5 + noise, 0).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)


if __name__ == "__main__":
    sys.exit(run(main))
