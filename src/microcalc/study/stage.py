"""A stage of the study: a folder that is named by what goes into it, and finished or not.

``RUN/NAME-KEY/``, where the key is the SHA-256 of the stage's settings, of the keys of what it
builds on, and of the code that does its work: the same inputs give the same folder, other inputs another
one. ``done.json`` is written last; a stage that has it is not run again. Stages keep what they
have done so far in their folder, piece by piece, each whole or not there, so that a kill loses the piece in hand.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from microcalc.storage.key import code_version, key_of
from microcalc.storage.lock import locked
from microcalc.storage.write import saying_where, write_json

Say = Callable[[str], None]
_DONE, _SECONDS, _LOCK = "done.json", "seconds.json", "lock"
_SCHEMA = "microcalc/stage/2"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it is called, what its settings are, what it builds on.

    Attributes
    ----------
    run
        Folder of the study.
    settings
        Plain values, as JSON can hold them.
    inputs
        Keys of what it builds on, by name.
    modules
        Full names of the modules that do its work; what they import counts too.
    """

    run: Path
    name: str
    settings: Mapping[str, object]
    inputs: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 of all that the result depends on."""
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
        """Where its results lie."""
        return self.run / f"{self.name}-{self.key[:12]}"

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do."""
        return (self.folder / _DONE).is_file()

    @property
    def seconds(self) -> float:
        """What it has taken so far, over all starts."""
        for name in (_DONE, _SECONDS):
            if (self.folder / name).is_file():
                return float(json.loads((self.folder / name).read_text())["seconds"])
        return 0.0


def after(run: Path, name: str, settings: Mapping[str, object], *inputs: Stage, modules: tuple[str, ...] = ()) -> Stage:
    """Return the stage that builds on others."""
    return Stage(run, name, settings, {stage.name: stage.key for stage in inputs}, modules)


class Clock:
    """Counts a stage's seconds over all its starts; ``tick`` after each piece keeps the count through a kill."""

    def __init__(self, folder: Path, before: float) -> None:
        self._file, self._before, self._started = folder / _SECONDS, before, time.monotonic()

    @property
    def seconds(self) -> float:
        """Of this start and those before."""
        return self._before + time.monotonic() - self._started

    def tick(self) -> None:
        """Note the count."""
        write_json(self._file, {"seconds": round(self.seconds, 1)})


def run_stage(stage: Stage, work: Callable[[Say], None], say: Say) -> Stage:
    """Do a stage's work, alone, unless it is done.

    Parameters
    ----------
    work
        Gets what it says its progress with, a line after each piece; its results go into the stage's folder.
    """
    with saying_where(stage.folder):
        stage.folder.mkdir(parents=True, exist_ok=True)
    with locked(stage.folder / _LOCK, waiting=lambda: say(f"{stage.name}: another process is at it; waiting")):
        if stage.is_done:
            say(f"{stage.name}: done before, in {stage.seconds:.0f} s")
            return stage
        clock = Clock(stage.folder, stage.seconds)

        def progress(line: str) -> None:
            clock.tick()
            say(line if line.startswith(stage.name) else f"{stage.name}: {line}")

        work(progress)
        write_json(stage.folder / _DONE, _document(stage, clock.seconds))
        (stage.folder / _SECONDS).unlink(missing_ok=True)
    say(f"{stage.name}: done in {stage.seconds:.0f} s")
    return stage


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
