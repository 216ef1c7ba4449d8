"""Torture the places where work runs: ``python -m benchmarks engines torture``, ``overhead``, ``disk``.

``torture`` detects in many small images in each place (``--place``): in processes, in two shards at once, and on a Dask
cluster of this machine. It kills (SIGKILL) workers, the command, and once the scheduler at random moments, until so
many kills are done; a command that is killed or ends with an error is started again, as a user would. One image kills
its worker always. Then it compares all results with those of one process. ``overhead`` measures the time of a task that
does nothing, and the memory of the scheduler; ``disk`` fills a small file system (it mounts one: as root).
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import Parser, amount, count, run, whole
from benchmarks._machines import LocalMachines, is_running, machines, workers_of
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
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("torture", "overhead", "disk"))
    parser.add_argument("--place", choices=_PLACES, nargs="+", default=_PLACES, help="of torture")
    parser.add_argument("--images", type=count, default=300)
    parser.add_argument("--kills", type=whole, default=70, help="of torture, in each place")
    parser.add_argument("--minutes", type=amount, default=600, help="of torture, in each place: no kills after these")
    parser.add_argument("--workers", type=count, default=2)
    parser.add_argument("--tasks", type=count, default=100_000, help="of overhead, for the memory of the scheduler")
    parser.add_argument("--sleep", type=amount, default=1.0, help="of torture, seconds that each image waits")
    parser.add_argument("--seed", type=whole, default=1)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        if asked.what == "torture":
            return torture(Path(folder), asked)
        return overhead(Path(folder), asked) if asked.what == "overhead" else disk(Path(folder), asked)


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
            calls = [self._start(command) for command in self.commands]
            while any(call.poll() is None for call in calls):
                self._wait_for_work(rng.randint(2, 6), calls)
                time.sleep(rng.uniform(0, self.asked.sleep))
                if self.cluster is not None:
                    self.cluster.start_workers()
                if self.killed["worker"] + self.killed["command"] < self.asked.kills and not enough:
                    self._kill_one(calls, rng)
                for number, call in enumerate(calls):
                    if call.poll() not in (None, 0, 1):  # killed, or its scheduler was
                        calls[number] = self._start(self.commands[number])
            self._note_blamed()
            print(f"{time.monotonic() - started:.0f} s: {dict(self.killed)}", flush=True)
            if enough:
                return

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
            sum(1 for _ in executor.run(_nothing, range(200)))
            wall, processor = time.monotonic(), time.process_time()
            sum(1 for _ in executor.run(_nothing, range(2000)))
            print(
                f"{name}: {(time.monotonic() - wall) / 2:.2f} ms a task of wall time, "
                f"{(time.process_time() - processor) / 2:.2f} ms of it of this processor"
            )
        before, used = _memory(cluster, "VmRSS"), _processor_s(cluster)
        most, wall, processor = 0, time.monotonic(), time.process_time()
        taken = _Counted(asked.tasks)
        for done, _ in enumerate(executor.run(_nothing, taken)):
            most = max(most, taken.count - done)
        wall, processor, used = time.monotonic() - wall, time.process_time() - processor, _processor_s(cluster) - used
        memory = f"at most {_memory(cluster, 'VmHWM')} MiB, {_memory(cluster, 'VmRSS')} MiB after"
        print(f"{asked.tasks} tasks, at most {most} in hand: {wall:.0f} s of wall time; seconds of the processor: ")
        print(
            f"{processor:.0f} of the command's, {used:.0f} of the scheduler's; scheduler: {before} MiB before, {memory}"
        )
    return 0


def _nothing(item: int) -> int:
    return item


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


def _memory(cluster: LocalMachines, entry: str) -> int:
    assert cluster.scheduler is not None
    status = Path(f"/proc/{cluster.scheduler.pid}/status").read_text()
    return int(re.search(rf"{entry}:\s+(\d+) kB", status)[1]) // 1024  # type: ignore[index]  # Linux has both


def disk(folder: Path, asked: argparse.Namespace) -> int:
    """Detect onto a file system that becomes full, enlarge it, and run the same command again."""
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
