"""Simulated mammograms for the acceptance criteria: each is simulated once and kept in a folder."""

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
from microcalc.execution.executor import SERIAL, Executor, run_in_order
from microcalc.simulate.breast import Density, View
from microcalc.simulate.exam import SimulatedMammogram, Technique, simulate_mammogram
from microcalc.simulate.lesions import NO_LESIONS, LesionRates
from microcalc.simulate.scene import Annotation
from microcalc.simulate.systems import System
from microcalc.storage.arrays import load_arrays, save_arrays
from microcalc.storage.key import code_version, key_of
from microcalc.storage.store import Store as Stored
from microcalc.storage.write import saying_where

Filling = Literal["tissue", "first", "second"]
"""Tissue without calcifications, or with one of two independent sets of calcifications in the same breast and noise."""

DENSITIES: tuple[Density, ...] = ("B", "C", "B", "C", "A", "D")
"""Densities of breasts by their number, approximately as in a screened population."""

_Result = TypeVar("_Result")
_TISSUE = replace(NO_LESIONS, crossings=LesionRates().crossings)
_CALCIUM = replace(_TISSUE, singles=25.0, confusers=LesionRates().confusers)
# whether clusters are drawn changes all that is drawn after them: two sets for one breast
_FILLINGS: Mapping[Filling, LesionRates] = MappingProxyType(
    {"tissue": _TISSUE, "first": replace(_CALCIUM, clusters=2.0), "second": _CALCIUM}
)


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """The settings of one simulated image; the same settings give the same image."""

    system: System
    seed: int
    view: View = "CC"
    density: Density = "B"
    filling: Filling = "tissue"
    dose: float = 1.0
    intents: tuple[Intent, ...] = ("raw",)


@dataclass(frozen=True, slots=True)
class ImageStore:
    """A folder of simulated images, which several processes simulate and measure."""

    folder: Path
    executor: Executor = SERIAL

    def file_of(self, spec: ImageSpec) -> Path:
        """Return the file of an image, named by its settings and by the version of the code."""
        return Stored(self.folder, ".npz").path(key_of([code_version(__name__), repr(spec)]))

    def measure(self, function: Callable[[SimulatedMammogram], _Result], specs: Sequence[ImageSpec]) -> list[_Result]:
        """Return the values of a function of each image; images that are not in the folder are simulated.

        Parameters
        ----------
        function
            Function of a module, or a ``functools.partial`` of one.
        """
        return self.each(partial(_first, function), [(spec,) for spec in specs])

    def each(
        self, function: Callable[[list[SimulatedMammogram]], _Result], groups: Sequence[tuple[ImageSpec, ...]]
    ) -> list[_Result]:
        """Return the values of a function of each group of images; see ``measure``."""
        work = [[(spec, self.file_of(spec)) for spec in group] for group in groups]
        return run_in_order(self.executor, partial(_measured, function), work, work="measuring images")


def _first(function: Callable[[SimulatedMammogram], _Result], images: list[SimulatedMammogram]) -> _Result:
    return function(images[0])


def _measured(function: Callable[[list[SimulatedMammogram]], _Result], specs: list[tuple[ImageSpec, Path]]) -> _Result:
    return function([_made(spec, file) for spec, file in specs])


def _made(spec: ImageSpec, file: Path) -> SimulatedMammogram:
    """Return an image from the folder, or simulate it and write it there."""
    if file.is_file():
        return _load(spec, file)
    image = simulate_mammogram(
        spec.system,
        view=spec.view,
        density=spec.density,
        seed=spec.seed,
        intents=spec.intents,
        rates=_FILLINGS[spec.filling],
        dose=spec.dose,
    )
    with saying_where(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    _save(image, file)
    return image


@dataclass(frozen=True, slots=True)
class _Described:
    """A simulated mammogram without its pixels and its settings."""

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


def _load(spec: ImageSpec, file: Path) -> SimulatedMammogram:
    """Read a simulated mammogram that ``_save`` wrote."""
    arrays = load_arrays(file)
    stored: dict[Intent, NDArray[np.uint16]] = {intent: arrays[intent] for intent in spec.intents}
    described = _DESCRIBED.validate_python(json.loads(str(arrays["described"])))
    return SimulatedMammogram(
        system=spec.system, view=spec.view, density=spec.density, stored=stored, **_fields(described)
    )


def _fields(described: _Described) -> dict[str, Any]:
    """Return the fields of a dataclass by name, not copied."""
    return {name: getattr(described, name) for name in _Described.__annotations__}


def as_read(image: SimulatedMammogram, intent: Intent) -> Mammogram:
    """Return the mammogram that would be read from the file of a simulated image."""
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
    """Return the annotations of a simulated image."""
    pitch = image.system.pitch_mm
    return Annotations(
        centres=np.array([(p.row, p.column) for p in image.annotations], dtype=np.float64).reshape(-1, 2) * pitch,
        diameter_mm=np.array([p.diameter_mm for p in image.annotations], dtype=np.float64),
        kind=np.array([p.kind for p in image.annotations], dtype=np.str_),
        cluster=np.array([p.cluster for p in image.annotations], dtype=np.str_),
    )
