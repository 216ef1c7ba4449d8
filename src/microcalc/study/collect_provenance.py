"""What a report says of its study besides figures: command, recipe, machine, versions, hashes, times."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from microcalc.models.description import DESCRIPTION
from microcalc.study.models import MODELS
from microcalc.study.options import Options, command
from microcalc.study.provenance import Provenance, SampleCounts
from microcalc.study.samples import SplitSamples, split_samples
from microcalc.study.scale import Scale
from microcalc.study.stage import Stage
from microcalc.training.recipe import Recipe, dump_recipe, dump_settings

_LIBRARIES = ("microcalc", "numpy", "scipy", "torch", "onnxruntime", "numba", "joblib")


def collect_provenance(
    stages: Sequence[Stage], scale: Scale, recipe: Recipe, options: Options, *, own_tables: int, evaluation_s: float
) -> Provenance:
    """What the figures stand on.

    Parameters
    ----------
    stages
        All that were run before the evaluation, in their order.
    evaluation_s
        Seconds of the evaluation, which is not finished when this is written.
    """
    by_name = {stage.name: stage for stage in stages}
    train, test = (_counts(split_samples(by_name["samples"], split)) for split in ("train", "test"))
    return Provenance(
        scale=scale.name,
        intent=options.intent,
        command=command(scale, options, own_tables=own_tables),
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
    """SHA-256 of each model's ``model.json``, which holds those of its files."""
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
    """Its name, where the system tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
