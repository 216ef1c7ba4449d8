"""Training on several GPUs: each works on its part of every batch, and their gradients are added.

All draw the same batches from the same seed, so that the result is that of one process but for rounding. The first
rank alone writes; a training that is killed goes on from its checkpoint, with any number of GPUs.

References
----------
https://docs.pytorch.org/docs/stable/distributed.html
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import ProcessException, spawn

from microcalc.errors import WorkerDiedError

_END_S: Final = 5.0
_SPAWN_LOG: Final = logging.getLogger("torch.multiprocessing.spawn")
_BACKENDS: Final = {"cuda": "nccl", "cpu": "gloo"}


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that train one network.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    world
        Number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Return whether this process writes and logs."""
        return self.rank == 0

    def own(self, batch: Tensor) -> Tensor:
        """Return the part of a batch (n, ...) that this process works on."""
        return batch if self.world == 1 else batch[self.rank :: self.world]

    def add_up(self, network: nn.Module, loss: Tensor, *, share: float) -> Tensor:
        """Add the gradients of all processes up, in place, and return the loss of the whole batch.

        Parameters
        ----------
        loss
            Mean over the part of this process; its gradients are in the network.
        share
            The part's share of the batch.
        """
        if self.world == 1:
            return loss.detach()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([*(g.flatten() for g in gradients), loss.detach().reshape(1)]) * share
        distributed.all_reduce(flat)
        *parts, total = torch.split(flat, [*(g.numel() for g in gradients), 1])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return total[0]


def current_ranks() -> Ranks:
    """Return the place of this process among those that train: alone, unless torch's process group is there."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Ranks()
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def run_on_ranks(work: Callable[[str], Any], *, device: str, world: int) -> None:
    """Run a function in several processes that form a process group.

    Parameters
    ----------
    work
        Takes the device of the process, such as ``"cuda:1"``; a function of a module, or a partial of one.
    device
        ``"cuda"``: each process has a GPU of its own. ``"cpu"``: all share the processor.

    Raises
    ------
    WorkerDiedError
        A process died or failed. However the call ends, by an interrupt too, no process is left.
    """
    processes: Sequence[BaseProcess] = ()
    start: Any = spawn  # without types
    with tempfile.TemporaryDirectory() as folder:
        given = (work, device, world, (Path(folder) / "rendezvous").as_uri())
        level = _SPAWN_LOG.level
        _SPAWN_LOG.setLevel(logging.ERROR)  # it warns of every process that it ends
        try:
            with _interrupts_blocked():
                context = start(_run_rank, given, nprocs=world, join=False, daemon=True)
                processes = context.processes
            while not context.join():
                pass
        except ProcessException as error:
            raise WorkerDiedError(
                f"a process of the training ended ({_reason(error, processes)}), expected all to finish"
            ) from error
        finally:
            _SPAWN_LOG.setLevel(level)
            _end(processes)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes in the block that an interrupt from the keyboard does not reach: this process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reason(error: ProcessException, processes: Sequence[BaseProcess]) -> str:
    """Return why the first process ended: of several, others may only have lost their connection to it."""
    killed = [-code for process in processes if (code := process.exitcode or 0) < 0 and code != -signal.SIGTERM]
    return signal.Signals(killed[0]).name if killed else (str(error).strip().splitlines() or [""])[-1]


def _end(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_END_S)
        process.kill()
        process.join()


def _run_rank(rank: int, work: Callable[[str], Any], device: str, world: int, rendezvous: str) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    distributed.init_process_group(_BACKENDS[device], init_method=rendezvous, rank=rank, world_size=world)
    try:
        work(f"cuda:{rank}" if device == "cuda" else "cpu")
    finally:
        distributed.destroy_process_group()


def _end_with_parent() -> None:
    """Kill this process when the one that started it has ended, however it ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)
