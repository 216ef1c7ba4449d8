"""The publication's experiment on one page: exams, samples, methods, scoring, report.

Mordang et al., IWDM 2016, doi 10.1007/978-3-319-41546-8_5: two networks with hard negative
mining against a cascade, on the same samples of three manufacturers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from microcalc.datasets.open import open_table
from microcalc.datasets.table import Table, join_tables
from microcalc.evaluation.matched_images import Rules
from microcalc.extras import require_modules
from microcalc.storage.ownership import check_output_folder, open_output_folder
from microcalc.study.collect_provenance import collect_provenance
from microcalc.study.evaluation import evaluate_study
from microcalc.study.exams import (
    check_left_out,
    exams_stage,
    in_splits,
    leave_out,
    make_exams,
    table_stage,
    take_table,
)
from microcalc.study.images import Images, images_of, normalise_all, normalise_stage
from microcalc.study.methods import method_stages, train_methods
from microcalc.study.models import MODELS, make_models, models_stage
from microcalc.study.networks import mined_count
from microcalc.study.options import Options, command, study_recipe
from microcalc.study.report import write_report
from microcalc.study.samples import SplitSamples, draw_samples, samples_stage, split_samples
from microcalc.study.scale import Scale
from microcalc.study.scoring import score_images, scored_images, scoring_stage
from microcalc.study.show import COMMAND, check_shown, show
from microcalc.study.stage import Stage, after, run_stage
from microcalc.training.annotated import as_seen, check_splits_carry, with_clusters
from microcalc.training.networks import settle_precision, words_on_precision
from microcalc.training.normalised import with_hashes
from microcalc.training.recipe import Recipe

Say = Callable[[str], None]
_SHOWN = ("report", "models")
_EVALUATION = (
    "microcalc.study.evaluation",
    "microcalc.study.report",
    "microcalc.study.collect_provenance",
    "microcalc.study.scoring",
)


def run_study(
    scale: Scale, out: Path, *, options: Options, data: Sequence[Path] = (), workers: int = 1, say: Say = print
) -> Path:
    """Run what is not done yet, and write the report to ``out/report`` and the models to ``out/models``.

    Studies of several options may share ``out``: they share the stages that they have in common.

    Parameters
    ----------
    data
        The user's own tables; with none, exams are simulated.
    workers
        Processes; the results do not depend on their number. ``say`` has to be a function of a module where there
        are several.

    Returns
    -------
    The report's folder.

    Raises
    ------
    InputError
        The options, the table, or its samples do not make a study; images cannot be used (all of them by name);
        there is no room for the images; or ``out`` has files that no study made.
    MissingExtraError
        A library is not installed.
    OutputError
        The system refused to write.
    """
    started = monotonic()
    require_modules("torch", "onnx", "numba", "matplotlib")
    given = study_recipe(scale, options)
    recipe = settle_precision(given, "cpu")
    check_output_folder(out, COMMAND, inputs=data)
    for folder in _SHOWN:
        check_shown(out / folder)
    own = _own_table(data, recipe, options) if data else None
    check_left_out(options.left_out, scale.exams if own is None else own)
    open_output_folder(out, COMMAND)
    say(words_on_precision(given, recipe, "cpu"))
    exams, table = _exams(scale, out, options, own, workers, say)
    normalised = normalise_stage(exams, spacing_mm=recipe.data.spacing_mm, normalising=options.normalising)
    normalise_all(
        normalised, table, spacing_mm=recipe.data.spacing_mm, normalising=options.normalising, workers=workers, say=say
    )
    table = leave_out(table, options.left_out)
    images = images_of(
        table, out, spacing_mm=recipe.data.spacing_mm, normalising=options.normalising,
        min_d_prime=recipe.sample.min_d_prime,
    )  # fmt: skip
    samples = samples_stage(normalised, scale.samples, recipe.sample, left_out=options.left_out, seed=options.seed)
    exact = not data and options.left_out is None
    draw_samples(
        samples, images, scale.samples, recipe.sample, exact=exact, seed=options.seed, workers=workers, say=say
    )
    train, test = split_samples(samples, "train"), split_samples(samples, "test")
    say(f"train: {_counted(train)}; test: {_counted(test)}")
    trained = method_stages(samples, recipe, scale.cascade)
    train_methods(trained, samples, images, recipe, scale.cascade, workers=workers, say=say)
    models = models_stage(trained, recipe)
    counts = {"positive": len(train.positive), "mined": mined_count(trained.networks), "random": len(train.negative)}
    said = command(scale, options, own_tables=len(data))
    make_models(models, trained, images.validation, table, recipe, counts, said, workers=workers, say=say)
    scoring = scoring_stage(models, samples)
    score_images(scoring, models, trained, samples, images.test, recipe, workers=workers, say=say)
    nets = trained.networks
    stages = [
        exams, normalised, samples, trained.cascade, nets.cnn1, nets.mining, nets.cnn2, nets.no_mining, models, scoring,
    ]  # fmt: skip
    report = _report(stages, scoring, samples, images, scale, recipe, options, own_tables=len(data), say=say)
    show(report.folder / "report", out / "report")
    show(models.folder, out / "models", only=MODELS)
    say(f"{monotonic() - started:.0f} s in this start")
    return out / "report"


def _own_table(data: Sequence[Path], recipe: Recipe, options: Options) -> Table:
    """Read the user's tables and check all that can be checked before any work; writes nothing."""
    least = recipe.sample.min_d_prime
    read = [with_clusters(open_table(folder), recipe.clusters, min_d_prime=least) for folder in data]
    table = in_splits(join_tables(read), intent=options.intent, seed=options.seed)
    used = leave_out(table, options.left_out)
    seen = Table(used.images, tuple(as_seen(a, least) for a in used.annotations))
    check_splits_carry(seen, positives_in=("train", "validation", "test"))
    return with_hashes(table)


def _exams(scale: Scale, out: Path, options: Options, own: Table | None, workers: int, say: Say) -> tuple[Stage, Table]:
    """The images with their splits: simulated, or the user's."""
    if own is None:
        stage = exams_stage(out, scale.exams, intent=options.intent, seed=options.seed)
        return stage, make_exams(stage, scale.exams, intent=options.intent, seed=options.seed, workers=workers, say=say)
    stage = table_stage(out, own, intent=options.intent, seed=options.seed)
    return stage, take_table(stage, own, say=say)


def _report(
    stages: Sequence[Stage],
    scoring: Stage,
    samples: Stage,
    images: Images,
    scale: Scale,
    recipe: Recipe,
    options: Options,
    *,
    own_tables: int,
    say: Say,
) -> Stage:
    """Evaluate and write the report into a stage of its own."""
    resamples = scale.evaluation.resamples
    settings = {"resamples": resamples, "shows_nothing": scale.evaluation.shows_nothing, "seed": options.seed}
    stage = after(scoring.run, "evaluation", settings, scoring, modules=_EVALUATION)

    def work(progress: Say) -> None:
        started = monotonic()
        figures = evaluate_study(
            scored_images(scoring, samples, images.test),
            rules=Rules(min_d_prime=recipe.sample.min_d_prime),
            resamples=resamples,
            seed=options.seed,
            say=progress,
        )
        about = collect_provenance(
            stages, scale, recipe, options, own_tables=own_tables, evaluation_s=monotonic() - started
        )
        write_report(figures, about, stage.folder / "report")

    return run_stage(stage, work, say)


def _counted(samples: SplitSamples) -> str:
    return f"{len(samples.positive)} positive and {len(samples.negative)} negative samples"
