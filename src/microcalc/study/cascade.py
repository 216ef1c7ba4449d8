"""The stage that trains the cascade of the study."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from microcalc.study.images import Images
from microcalc.study.samples import split_samples
from microcalc.study.scale import CascadeTraining
from microcalc.study.stage import Stage, after, run_stage
from microcalc.training.images import open_images

if TYPE_CHECKING:
    from microcalc.cascade.fit import CascadeSettings

CASCADE_FILE = "cascade.npz"


def cascade_stage(samples: Stage, cascade: CascadeTraining, *, seed: int) -> Stage:
    """Return the stage that trains the cascade on the samples; its key holds every setting, also the defaults."""
    settings = {**asdict(_settings(cascade)), "seed": seed}
    return after(samples.run, "cascade", settings, samples, modules=("microcalc.study.cascade",))


def train_cascade(stage: Stage, samples: Stage, images: Images, settings: CascadeTraining, *, seed: int) -> None:
    """Fit the cascade on the training samples, and its thresholds on the validation samples."""
    train = split_samples(samples, "train")

    def work() -> None:
        from microcalc.cascade.cascade import save_cascade
        from microcalc.cascade.fit import fit_cascade

        fitted = fit_cascade(
            open_images(images.train),
            train.positive,
            train.negative,
            open_images(images.validation),
            split_samples(samples, "validation").positive,
            settings=_settings(settings),
            seed=seed,
            folder=stage.folder,
        )
        save_cascade(fitted, stage.folder / CASCADE_FILE)

    run_stage(stage, work)


def _settings(cascade: CascadeTraining) -> CascadeSettings:
    from microcalc.cascade.fit import CascadeSettings

    return CascadeSettings(**cascade.model_dump())
