"""How the figures of a study were made: command, recipe, machine, versions, hashes, times."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from microcalc.models.description import DESCRIPTION
from microcalc.study.models import MODELS
from microcalc.study.options import Options, command_line
from microcalc.study.samples import SplitSamples, split_samples
from microcalc.study.scale import Scale
from microcalc.study.stage import Stage
from microcalc.training.recipe import Recipe, dump_recipe
from microcalc.training.settings import dump_settings

_LIBRARIES = ("microcalc", "numpy", "scipy", "torch", "onnxruntime", "numba")


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """Numbers of samples of one split."""

    positive: int
    negative: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the figures of a study were made, for whoever repeats them.

    Attributes
    ----------
    scale, intent
        ``paper``, ``tenth`` or ``smoke``; ``raw`` or ``processed``.
    command
        Command line of the run, without paths.
    recipe
        Recipe and settings of the scale as TOML.
    seeds, hashes, machine, versions
        Names and values: hashes of stages and models; processor, cores and memory; versions of Python, the package
        and its libraries.
    train, test
        Numbers of samples.
    seconds
        Seconds of each stage over all starts, in the order of the run.
    notes
        Sentences on the samples, and on how this study differs from the usual one.
    shows_nothing
        Whether the scale is so small that its figures mean nothing.
    """

    scale: str
    intent: str
    command: str
    recipe: str
    seeds: Mapping[str, int]
    hashes: Mapping[str, str]
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    train: SampleCounts
    test: SampleCounts
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()
    shows_nothing: bool = False


def collect_provenance(
    stages: Sequence[Stage], scale: Scale, recipe: Recipe, options: Options, *, own_tables: int, evaluation_s: float
) -> Provenance:
    """Return how the figures of a study were made.

    Parameters
    ----------
    stages
        All stages before the evaluation, in the order of the run.
    evaluation_s
        Seconds of the evaluation so far: the report is written before it is finished.
    """
    by_name = {stage.name: stage for stage in stages}
    train, test = (_counts(split_samples(by_name["samples"], split)) for split in ("train", "test"))
    return Provenance(
        scale=scale.name,
        intent=options.intent,
        command=command_line(scale, options, own_tables=own_tables),
        recipe=f"{dump_recipe(recipe)}\n# scale\n{dump_settings(scale)}",
        seeds={"study": options.seed},
        hashes={s.name: s.key for s in stages} | _model_hashes(by_name["models"]),
        machine=_machine(),
        versions=_versions(),
        train=train,
        test=test,
        seconds={s.name: s.seconds for s in stages} | {"evaluation": round(evaluation_s, 1)},
        notes=_notes(options),
        shows_nothing=scale.evaluation.shows_nothing,
    )


def _counts(samples: SplitSamples) -> SampleCounts:
    return SampleCounts(len(samples.positive), len(samples.negative))


def _notes(options: Options) -> tuple[str, ...]:
    notes = [
        "Positive: the pixel nearest to the centre of each microcalcification that can be seen. Negative: breast "
        "pixels clear of all annotated calcium, drawn evenly at random; the same samples for all methods.",
        "no_mining: the pair with a CNN2 that was trained on random negatives alone.",
    ]
    if options.left_out:
        notes.append(f"Trained without images of {options.left_out}, tested on these alone.")
    if not options.normalising:
        notes.append(
            "Without our normalisation: grey values of mean 0 and standard deviation 3 in each breast; no noise is "
            "added in training, for want of a unit."
        )
    return tuple(notes)


def _model_hashes(models: Stage) -> dict[str, str]:
    """Return the SHA-256 of each model's ``model.json``, which holds the SHA-256 of its networks."""
    files = {name: models.folder / name / DESCRIPTION for name in MODELS}
    return {f"model {name}": hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}


def _machine() -> dict[str, str]:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{pages * size / 2**30:.0f} GiB",
        "system": platform.system(),
    }


def _processor() -> str:
    """Return the name of the processor, or its architecture where the system does not tell the name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
