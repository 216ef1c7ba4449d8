"""A stage of the study: a folder that is named by the key of its inputs, and is finished or not.

The folder is ``RUN/NAME-KEY/``. The key is the SHA-256 of the stage's settings, of the keys of the stages that it
builds on, and of the code that does its work: the same inputs give the same folder, other inputs give another one.
``done.json`` is written last, and a stage that has it is not run again. Stages keep intermediate results in their
folder, each file whole or not there, so that a kill loses only the item in hand.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from microcalc.errors import OutputError
from microcalc.storage.key import code_version, key_of
from microcalc.storage.lock import locked
from microcalc.storage.write import saying_where, write_json

_DONE, _SECONDS, _LOCK = "done.json", "seconds.json", "lock"
_SCHEMA = "microcalc/stage/2"
_WRITE_EVERY_S: Final = 20.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name, its settings, and what it builds on.

    Attributes
    ----------
    run
        Folder of the study.
    settings
        Plain values that JSON can hold.
    inputs
        Keys of the stages that it builds on, by their names.
    modules
        Full names of the modules that do its work; the modules that they import count too.
    """

    run: Path
    name: str
    settings: Mapping[str, object]
    inputs: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 of everything that the result depends on."""
        return key_of(
            {
                "schema": _SCHEMA,
                "stage": self.name,
                "settings": dict(self.settings),
                "inputs": dict(self.inputs),
                "code": code_version(*self.modules),
            }
        )

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return self.run / f"{self.name}-{self.key[:12]}"

    @property
    def is_done(self) -> bool:
        """Whether all work of the stage is done."""
        return (self.folder / _DONE).is_file()

    @property
    def seconds(self) -> float:
        """Seconds that it has taken so far, over all starts."""
        for name in (_DONE, _SECONDS):
            if (self.folder / name).is_file():
                return float(json.loads((self.folder / name).read_text())["seconds"])
        return 0.0


def after(run: Path, name: str, settings: Mapping[str, object], *inputs: Stage, modules: tuple[str, ...] = ()) -> Stage:
    """Return a stage that builds on other stages."""
    return Stage(run, name, settings, {stage.name: stage.key for stage in inputs}, modules)


def run_stage(stage: Stage, work: Callable[[], None]) -> Stage:
    """Do a stage's work in one process at a time, unless it is done.

    Parameters
    ----------
    work
        Writes its results into the stage's folder.
    """
    with saying_where(stage.folder):
        stage.folder.mkdir(parents=True, exist_ok=True)
    waiting = partial(_LOG.info, "%s: waiting for another process that works on it", stage.name)
    with locked(stage.folder / _LOCK, waiting=waiting):
        if stage.is_done:
            _LOG.info("%s: already done, in %.0f s", stage.name, stage.seconds)
            return stage
        _LOG.info("%s: started", stage.name)
        with _Clock(stage.folder / _SECONDS, stage.seconds) as clock:
            work()
        write_json(stage.folder / _DONE, _document(stage, clock.seconds))
        (stage.folder / _SECONDS).unlink(missing_ok=True)
    _LOG.info("%s: done in %.0f s", stage.name, stage.seconds)
    return stage


class _Clock:
    """Counts the seconds of a stage over all its starts, in a file that survives a kill.

    Parameters
    ----------
    before_s
        Seconds of earlier starts.
    """

    def __init__(self, file: Path, before_s: float) -> None:
        self._file, self._before_s, self._started = file, before_s, time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_now_and_then, daemon=True)

    @property
    def seconds(self) -> float:
        """Seconds of this start and of those before."""
        return self._before_s + time.monotonic() - self._started

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._write()

    def _write_now_and_then(self) -> None:
        while not self._stop.wait(_WRITE_EVERY_S):
            self._write()

    def _write(self) -> None:
        with suppress(OutputError):  # on a full disk the work itself fails, and says why
            write_json(self._file, {"seconds": round(self.seconds, 1)})


def _document(stage: Stage, seconds: float) -> dict[str, object]:
    return {
        "schema": _SCHEMA,
        "stage": stage.name,
        "key": stage.key,
        "settings": dict(stage.settings),
        "inputs": dict(stage.inputs),
        "code": code_version(*stage.modules),
        "seconds": round(seconds, 1),
    }
