"""A Dask cluster of this machine whose processes may be killed, and the processes of a command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path


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

    def restart_scheduler(self) -> None:
        """Kill the scheduler and start it again."""
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()
        self.start_scheduler()

    def start_workers(self) -> None:
        """Start the workers that are missing; a nanny whose worker dies before it has begun ends as well."""
        self.nannies = [nanny for nanny in self.nannies if nanny.poll() is None]
        while len(self.nannies) < self.workers:
            options = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder / "dask")]
            self.nannies.append(self._start("dask_worker", self.address, *options, *self.options))

    def worker_pids(self) -> list[int]:
        """Return the processes of the workers, which the nannies start again."""
        return [pid for nanny in self.nannies for pid in workers_of(nanny.pid)]

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
            environment = {**os.environ, **self.environment}  # a session of its own: an interrupt does not reach it
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


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


def workers_of(pid: int) -> list[int]:
    """Return the worker processes that a command or a nanny has started."""
    return [child for child in _children(pid) if b"spawn_main" in _command(child)]


def is_running(pid: int) -> bool:
    """Return whether there is a worker process of this number."""
    return b"spawn_main" in _command(pid)


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


def nothing(item: int) -> int:
    """Return the item: a task that does nothing. Workers can import this module; their ``__main__`` is another."""
    return item
