"""Simulated mammograms for the points, made once, kept in a folder, and measured one by one on all cores."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from microcalc.domain import Annotations, Intent, Laterality, Mammogram, Window
from microcalc.execution.executor import executor_of, run_in_order
from microcalc.simulate.breast import Density, View
from microcalc.simulate.exam import SimulatedMammogram, Technique, simulate_mammogram
from microcalc.simulate.lesions import NO_LESIONS, Annotation, LesionRates
from microcalc.simulate.systems import System
from microcalc.storage.arrays import load_arrays, save_arrays
from microcalc.storage.key import code_version, key_of
from microcalc.storage.store import Store as Stored
from microcalc.storage.write import saying_where

Filling = Literal["tissue", "first", "second"]
"""Tissue alone; or with calcium, of which a breast has two drawings that share nothing but the breast and noise."""

DENSITIES: tuple[Density, ...] = ("B", "C", "B", "C", "A", "D")
"""Of breasts by their number: about the shares in a screened population."""

_Result = TypeVar("_Result")
_TISSUE = replace(NO_LESIONS, crossings=LesionRates().crossings)
_CALCIUM = replace(_TISSUE, singles=25.0, confusers=LesionRates().confusers)
# with clusters to draw, or none, what is drawn after them differs: two drawings of one breast
_FILLINGS: Mapping[Filling, LesionRates] = MappingProxyType(
    {"tissue": _TISSUE, "first": replace(_CALCIUM, clusters=2.0), "second": _CALCIUM}
)


@dataclass(frozen=True, slots=True)
class Job:
    """One image to be made: the same job gives the same image."""

    system: System
    seed: int
    view: View = "CC"
    density: Density = "B"
    filling: Filling = "tissue"
    dose: float = 1.0
    intents: tuple[Intent, ...] = ("raw",)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of images already made; ``workers`` processes make and measure."""

    folder: Path
    workers: int = 1

    def file_of(self, job: Job) -> Path:
        """Where a job's image is kept: by its settings, and by the code and tables that made it."""
        return Stored(self.folder, ".npz").path(key_of([code_version(__name__), repr(job)]))

    def measure(self, function: Callable[[SimulatedMammogram], _Result], jobs: Sequence[Job]) -> list[_Result]:
        """Return a function of each job's image; an image that is not in the store yet is made.

        Parameters
        ----------
        function
            Function of a module, or a ``functools.partial`` of one.
        """
        return self.each(partial(_first, function), [(job,) for job in jobs])

    def each(
        self, function: Callable[[list[SimulatedMammogram]], _Result], groups: Sequence[tuple[Job, ...]]
    ) -> list[_Result]:
        """Return a function of the images of each group of jobs; see ``measure``."""
        work = [[(job, self.file_of(job)) for job in group] for group in groups]
        return run_in_order(executor_of(self.workers), partial(_measured, function), work, work="measuring images")


def _first(function: Callable[[SimulatedMammogram], _Result], images: list[SimulatedMammogram]) -> _Result:
    return function(images[0])


def _measured(function: Callable[[list[SimulatedMammogram]], _Result], jobs: list[tuple[Job, Path]]) -> _Result:
    return function([_made(job, file) for job, file in jobs])


def _made(job: Job, file: Path) -> SimulatedMammogram:
    """Return a job's image: read from the store, or simulated and written there."""
    if file.is_file():
        return _load(job, file)
    image = simulate_mammogram(
        job.system,
        view=job.view,
        density=job.density,
        seed=job.seed,
        intents=job.intents,
        rates=_FILLINGS[job.filling],
        dose=job.dose,
    )
    with saying_where(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    _save(image, file)
    return image


@dataclass(frozen=True, slots=True)
class _Described:
    """All of a simulated mammogram but its pixels and what its job says."""

    laterality: Laterality
    windows: tuple[Window, ...]
    window_names: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    technique: Technique
    tags: tuple[str, ...]


_DESCRIBED: Final = TypeAdapter(_Described)


def _save(image: SimulatedMammogram, file: Path) -> None:
    """Write a simulated mammogram as .npz: stored values by intent, and the rest as JSON."""
    described = _Described(**{name: getattr(image, name) for name in _Described.__annotations__})
    text = json.dumps(asdict(described))
    stored = {str(intent): values for intent, values in image.stored.items()}
    save_arrays(file, described=np.array(text), **stored)


def _load(job: Job, file: Path) -> SimulatedMammogram:
    """Read a simulated mammogram that ``_save`` wrote."""
    arrays = load_arrays(file)
    stored: dict[Intent, NDArray[np.uint16]] = {intent: arrays[intent] for intent in job.intents}
    described = _DESCRIBED.validate_python(json.loads(str(arrays["described"])))
    return SimulatedMammogram(
        system=job.system, view=job.view, density=job.density, stored=stored, **_fields(described)
    )


def _fields(described: _Described) -> dict[str, Any]:
    """Return the fields of a dataclass by name, not copied."""
    return {name: getattr(described, name) for name in _Described.__annotations__}


def as_read(image: SimulatedMammogram, intent: Intent) -> Mammogram:
    """The mammogram that its file would give."""
    stored = image.stored[intent].astype(np.float32)
    s = image.system
    return Mammogram(
        pixels=-stored if intent == "raw" else stored,
        spacing_mm=(s.pitch_mm, s.pitch_mm),
        intent=intent,
        uid="",
        laterality=image.laterality,
        view=image.view,
        system=s.name,
        window=image.windows[0] if intent == "processed" and image.windows else None,
    )


def truth_of(image: SimulatedMammogram) -> Annotations:
    """Its places as annotations, positions in mm."""
    pitch = image.system.pitch_mm
    return Annotations(
        centres=np.array([(p.row, p.column) for p in image.annotations], dtype=np.float64).reshape(-1, 2) * pitch,
        diameter_mm=np.array([p.diameter_mm for p in image.annotations], dtype=np.float64),
        kind=np.array([p.kind for p in image.annotations], dtype=np.str_),
        cluster=np.array([p.cluster for p in image.annotations], dtype=np.str_),
    )
