"""Torture the places where work runs: ``python -m benchmarks engines torture``, ``overhead``, ``disk``.

``torture`` detects in many small images on a Dask cluster of this machine, and kills (SIGKILL) workers, the command and
once the scheduler at random moments, until so many kills are done; the command is started again as a user would. One
image kills its worker always. Then it compares all results with those of one process. ``overhead`` measures the time of
a task that does nothing, and the memory of the scheduler; ``disk`` fills a small file system (it mounts one: as root).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import count, run
from microcalc.execution.cluster import Cluster
from microcalc.execution.executor import Executor, Processes
from microcalc.storage.index import read_index

_DETECT = ("-m", "microcalc", "detect")
_OPTIONS = (
    "--pixel-spacing",
    "0.2",
    "--intent",
    "processed",
    "--model",
    "log",
    "--max-candidates",
    "5",
    "--no-overlay",
)
_POISON = "poison.png"
_SECONDS = re.compile(r'"seconds": .*')
_PRELOAD = f"""
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
"""


@dataclass(slots=True)
class LocalMachines:
    """A scheduler and workers with their nannies, as a user starts them; all may be killed and started again."""

    folder: Path
    workers: int
    port: int
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    scheduler: subprocess.Popen[bytes] | None = None
    nannies: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Address of the scheduler, which keeps its port."""
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        """Start the scheduler, at first or after it was killed."""
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self.scheduler = self._start("dask_scheduler", *options)

    def start_workers(self) -> None:
        """Start the workers that are missing; a nanny whose worker dies before it has begun ends as well."""
        self.nannies = [nanny for nanny in self.nannies if nanny.poll() is None]
        while len(self.nannies) < self.workers:
            options = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder / "dask")]
            self.nannies.append(self._start("dask_worker", self.address, *options, *self.options))

    def worker_pids(self) -> list[int]:
        """Return the processes of the workers, which the nannies start again."""
        return [pid for nanny in self.nannies for pid in _children(nanny.pid) if b"spawn_main" in _command(pid)]

    def stop(self) -> None:
        """End all processes."""
        started = [*self.nannies, *([] if self.scheduler is None else [self.scheduler])]
        for process in started:
            process.terminate()
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()

    def _start(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{module}.log").open("ab") as log:
            command = [sys.executable, "-m", f"distributed.cli.{module}", *options]
            return subprocess.Popen(command, env={**os.environ, **self.environment}, stdout=log, stderr=log)


@contextmanager
def machines(folder: Path, workers: int, *options: str, **environment: str) -> Iterator[LocalMachines]:
    """Start a cluster for the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    made = LocalMachines(folder, workers, port, options, environment)
    try:
        made.start_scheduler()
        made.start_workers()
        yield made
    finally:
        made.stop()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("torture", "overhead", "disk"))
    parser.add_argument("--images", type=count, default=300)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=600, help="of torture: no kills after these")
    parser.add_argument("--workers", type=count, default=2)
    parser.add_argument("--tasks", type=count, default=100_000, help="of overhead, for the memory of the scheduler")
    parser.add_argument("--sleep", type=float, default=1.0, help="of torture, seconds that each image waits")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        if asked.what == "torture":
            return torture(Path(folder), asked)
        return overhead(Path(folder), asked) if asked.what == "overhead" else disk(Path(folder), asked)


def torture(folder: Path, asked: argparse.Namespace) -> int:
    """Kill until enough is killed and all images are done; return 0 where nothing is lost or doubled."""
    draw_pictures(folder / "in", asked.images, poison=True)
    (folder / "preload.py").write_text(_PRELOAD)
    log = folder / "worked-on.txt"
    environment = {"ENGINES_LOG": str(log), "ENGINES_SLEEP": str(asked.sleep)}
    with machines(folder, asked.workers, "--preload", str(folder / "preload.py"), **environment) as cluster:
        killed = _kill_until_done(folder, cluster, asked)
    reference = [sys.executable, *_DETECT, str(folder / "in"), "--out", str(folder / "alone"), *_OPTIONS]
    subprocess.run([*reference, "--workers", "1"], check=True, stdout=subprocess.DEVNULL)
    expected, found = (_results(folder / name) for name in ("alone", "out"))
    index = read_index(folder / "out")
    entries = [] if index is None else [entry.stem for entry in index.entries]
    failed = {} if index is None else {entry.file: entry.failed for entry in index.entries if entry.failed}
    expected.pop("poison.json")
    print(f"kills: {killed}")
    print(f"results: {len(found)} of {len(expected)}, the same as those of one process: {found == expected}")
    print(f"lost: {len(expected.keys() - found.keys())}; in the index twice: {len(entries) - len(set(entries))}")
    begun = [name for name in log.read_text().split() if name != _POISON]
    print(f"images begun more than once, since their worker or the command was killed: {len(begun) - len(set(begun))}")
    print(f"failed: {failed}")
    return int(found != expected or list(failed) != [_POISON] or len(entries) != asked.images)


def _kill_until_done(folder: Path, cluster: LocalMachines, asked: argparse.Namespace) -> dict[str, int]:
    """Run the command until it ends by itself after all kills; return the number of kills of each process."""
    rng, started = random.Random(asked.seed), time.monotonic()
    killed = {"worker": 0, "command": 0, "scheduler": 0, "starts": 0}
    command = [sys.executable, *_DETECT, str(folder / "in"), "--out", str(folder / "out"), *_OPTIONS]

    def enough() -> bool:
        late = bool(time.monotonic() - started > 60 * asked.minutes)
        return late or killed["worker"] + killed["command"] >= int(asked.kills)

    while True:
        killed["starts"] += 1
        if not enough():  # some of what is done has to be done again, so that there is something to kill
            _forget_some(folder / "out", rng)
        with (folder / "command.log").open("ab") as log:
            call = subprocess.Popen([*command, "--cluster", cluster.address], stdout=log, stderr=log)
        while call.poll() is None:
            _wait_for_work(folder / "worked-on.txt", rng.randint(1, 5), call)
            time.sleep(rng.uniform(0, asked.sleep))
            cluster.start_workers()
            if not enough():
                _kill_one(cluster, call, killed, rng, restart=killed["worker"] > 10)
        print(f"{time.monotonic() - started:.0f} s: exit code {call.returncode}, {killed}", flush=True)
        if call.returncode == 1 and enough():
            return killed


def _wait_for_work(log: Path, count: int, call: subprocess.Popen[bytes]) -> None:
    """Wait until so many images more are begun, so that kills do not only hit what is just starting; at most 30 s."""
    size = log.stat().st_size if log.exists() else 0
    for _ in range(300):
        if call.poll() is not None or (log.exists() and log.stat().st_size >= size + count * len("0000.png\n")):
            return
        time.sleep(0.1)


def _kill_one(
    cluster: LocalMachines, call: subprocess.Popen[bytes], killed: dict[str, int], rng: random.Random, *, restart: bool
) -> None:
    """Kill a worker, sometimes the command, and once the scheduler, which is started again."""
    if restart and killed["scheduler"] == 0 and cluster.scheduler is not None:
        killed["scheduler"] += 1
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        cluster.start_scheduler()
    elif rng.random() < 0.2:
        killed["command"] += call.poll() is None
        call.kill()
    elif pids := cluster.worker_pids():
        with suppress(ProcessLookupError):
            os.kill(rng.choice(pids), signal.SIGKILL)
            killed["worker"] += 1


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
        before = _memory(cluster, "VmRSS")
        sum(1 for _ in executor.run(_nothing, range(asked.tasks)))
        print(
            f"scheduler: {before} MiB before, at most {_memory(cluster, 'VmHWM')} MiB, {_memory(cluster, 'VmRSS')} MiB "
            f"after {asked.tasks} tasks"
        )
    return 0


def _nothing(item: int) -> int:
    return item


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
            command = [sys.executable, *_DETECT, str(folder / "in"), "--out", str(small / "out"), *_OPTIONS]
            command += ["--cluster", cluster.address]
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


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    sys.exit(run(main))
