"""The cascade of the study, trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from microcalc.study.images import Images, opened
from microcalc.study.samples import split_samples
from microcalc.study.scale import CascadeTraining
from microcalc.study.stage import Say, Stage, after, run_stage

if TYPE_CHECKING:
    from microcalc.cascade.fit import CascadeSettings

CASCADE_FILE = "cascade.npz"


def cascade_stage(samples: Stage, cascade: CascadeTraining, *, seed: int) -> Stage:
    """Of the samples; the key holds every setting, those with defaults too."""
    settings = {**asdict(_settings(cascade)), "seed": seed}
    return after(samples.run, "cascade", settings, samples, modules=("microcalc.study.boosted",))


def train_cascade(
    stage: Stage, samples: Stage, images: Images, settings: CascadeTraining, *, seed: int, say: Say
) -> None:
    """Fit the cascade on the samples of train, its thresholds on those of validation."""
    random = split_samples(samples, "train")

    def work(progress: Say) -> None:
        from microcalc.cascade.cascade import save_cascade
        from microcalc.cascade.fit import fit_cascade

        fitted = fit_cascade(
            opened(images.train),
            random.positive,
            random.negative,
            opened(images.validation),
            split_samples(samples, "validation").positive,
            settings=_settings(settings),
            seed=seed,
            folder=stage.folder,
            say=progress,
        )
        save_cascade(fitted, stage.folder / CASCADE_FILE)

    run_stage(stage, work, say)


def _settings(cascade: CascadeTraining) -> CascadeSettings:
    from microcalc.cascade.fit import CascadeSettings

    return CascadeSettings(**cascade.model_dump())
