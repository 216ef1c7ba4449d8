"""Repeat the publication's experiment: exams, samples, methods, scoring, report.

Mordang et al., IWDM 2016, doi 10.1007/978-3-319-41546-8_5: two networks with hard negative
mining against a cascade, on the same samples of three manufacturers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from microcalc.datasets.open import open_table
from microcalc.datasets.table import Table, join_tables
from microcalc.evaluation.matched_images import Rules
from microcalc.execution.executor import SERIAL, Executor
from microcalc.execution.progress import in_words
from microcalc.execution.shard import Shard
from microcalc.extras import require_modules
from microcalc.storage.ownership import check_output_folder, open_output_folder
from microcalc.study.evaluation import evaluate_study
from microcalc.study.exams import (
    check_left_out,
    exams_stage,
    in_splits,
    leave_out,
    make_exams,
    make_shard_of_exams,
    table_stage,
    take_table,
)
from microcalc.study.images import Images, images_of, normalise_all, normalise_stage, normalised_images
from microcalc.study.methods import method_stages, train_methods
from microcalc.study.models import MODELS, make_models, models_stage
from microcalc.study.networks import mined_count
from microcalc.study.options import Options, command_line, study_recipe
from microcalc.study.provenance import collect_provenance
from microcalc.study.report import write_report
from microcalc.study.samples import draw_samples, samples_stage, split_samples
from microcalc.study.scale import Scale
from microcalc.study.scoring import predictions_of, score_images, scoring_stage
from microcalc.study.show import COMMAND, check_shown, show
from microcalc.study.stage import Stage, after, run_stage
from microcalc.training.annotated import check_splits_carry, ignore_invisible, with_clusters
from microcalc.training.networks import describe_precision, settle_precision
from microcalc.training.normalised import with_hashes
from microcalc.training.recipe import Recipe
from microcalc.training.thresholds import describe_training

_SHOWN = ("report", "models")
_LOG = logging.getLogger(__name__)
_EVALUATION = (
    "microcalc.study.evaluation",
    "microcalc.study.report",
    "microcalc.study.provenance",
    "microcalc.study.scoring",
)


def run_study(
    scale: Scale,
    out: Path,
    *,
    options: Options,
    data: Sequence[Path] = (),
    executor: Executor = SERIAL,
    shard: Shard | None = None,
) -> Path:
    """Run what is not done yet, and write the report to ``out/report`` and the models to ``out/models``.

    Studies with different options may share ``out``: they share the stages that they have in common.

    Parameters
    ----------
    data
        Folders of the user's own tables; without any, exams are simulated.
    executor
        Where the work on images runs; the results do not depend on it.
    shard
        The part of that work that is done, while other calls may do the others: images are simulated and normalised,
        and rated once there are models. Nothing else is done then.

    Returns
    -------
    Path
        Folder of the report, or, of a shard, of the study.

    Raises
    ------
    InputError
        The options, the tables or their samples do not allow a study; images cannot be used (the message names them
        all); there is no room for the images; or ``out`` has files that no study made.
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
    _LOG.info(describe_precision(given, recipe, "cpu"))
    if shard is not None:
        _run_shard(scale, out, recipe, options, own, executor=executor, shard=shard)
        return out
    report, models = _run_stages(scale, out, recipe, options, own, own_tables=len(data), executor=executor)
    show(report.folder / "report", out / "report")
    show(models.folder, out / "models", only=MODELS)
    _LOG.info("finished after %s", in_words(monotonic() - started))
    return out / "report"


def _run_stages(
    scale: Scale, out: Path, recipe: Recipe, options: Options, own: Table | None, *, own_tables: int, executor: Executor
) -> tuple[Stage, Stage]:
    """Run the stages that are not done yet; return those of the report and of the models.

    Parameters
    ----------
    own
        The user's tables as one; None: exams are simulated.
    own_tables
        Number of the user's tables.
    """
    exams, table = _exams(scale, out, options, own, executor)
    store = normalised_images(out, spacing_mm=recipe.data.spacing_mm, normalising=options.normalising)
    normalised = normalise_stage(exams, store)
    normalise_all(normalised, table, store, executor=executor)
    table = leave_out(table, options.left_out)
    images = images_of(table, store, min_d_prime=recipe.sample.min_d_prime)

    samples = samples_stage(normalised, scale.samples, recipe.sample, left_out=options.left_out, seed=options.seed)
    exact = own is None and options.left_out is None
    draw_samples(samples, images, scale.samples, recipe.sample, exact=exact, seed=options.seed, executor=executor)
    for split in ("train", "test"):
        drawn = split_samples(samples, split)
        _LOG.info("%s: %d positive and %d negative samples", split, len(drawn.positive), len(drawn.negative))

    methods = method_stages(samples, recipe, scale.cascade)
    train_methods(methods, samples, images, recipe, scale.cascade, executor)
    models = models_stage(methods, recipe)
    command = command_line(scale, options, own_tables=own_tables)
    trained_on = _trained_on(len(images.train), samples, mined_count(methods.networks), command)
    make_models(models, methods, images.validation, table, recipe, trained_on, executor=executor)
    scoring = scoring_stage(models, samples)
    score_images(scoring, models, methods, samples, images.test, recipe, executor=executor)

    networks = methods.networks
    stages = [
        exams, normalised, samples, methods.cascade, networks.cnn1, networks.mining, networks.cnn2,
        networks.no_mining, models, scoring,
    ]  # fmt: skip
    return _report(stages, scoring, samples, images, scale, recipe, options, own_tables=own_tables), models


def _run_shard(
    scale: Scale, out: Path, recipe: Recipe, options: Options, own: Table | None, *, executor: Executor, shard: Shard
) -> None:
    """Do the shard's part of the work on images, as far as the stages before it are done."""
    if own is None:
        exams = exams_stage(out, scale.exams, intent=options.intent, seed=options.seed)
        chosen = make_shard_of_exams(
            exams, scale.exams, intent=options.intent, seed=options.seed, executor=executor, shard=shard
        )
    else:
        exams = table_stage(out, own, intent=options.intent, seed=options.seed)
        chosen = own.of_images(image for image in own.images if shard.has(image.image))
    store = normalised_images(out, spacing_mm=recipe.data.spacing_mm, normalising=options.normalising)
    store.make(chosen.images, executor=executor)
    normalised = normalise_stage(exams, store)
    samples = samples_stage(normalised, scale.samples, recipe.sample, left_out=options.left_out, seed=options.seed)
    methods = method_stages(samples, recipe, scale.cascade)
    models = models_stage(methods, recipe)
    if models.is_done:
        _, table = _exams(scale, out, options, own, executor)
        images = images_of(leave_out(table, options.left_out), store, min_d_prime=recipe.sample.min_d_prime)
        scoring = scoring_stage(models, samples)
        score_images(scoring, models, methods, samples, images.test, recipe, executor=executor, shard=shard)


def _trained_on(n_images: int, samples: Stage, n_mined: int, command: str) -> dict[str, str]:
    """Return what each model's description says of its training."""
    train = split_samples(samples, "train")
    random = {"positive": len(train.positive), "random": len(train.negative)}
    mined = {"positive": len(train.positive), "mined": n_mined, "random": len(train.negative)}
    counts = {"pair": mined, "no_mining": random, "cascade": random}
    return {model: describe_training(n_images, of_model, command) for model, of_model in counts.items()}


def _own_table(data: Sequence[Path], recipe: Recipe, options: Options) -> Table:
    """Read the user's tables and check what can be checked before any work; write nothing."""
    min_d_prime = recipe.sample.min_d_prime
    tables = [with_clusters(open_table(folder), recipe.clusters, min_d_prime=min_d_prime) for folder in data]
    table = in_splits(join_tables(tables), intent=options.intent, seed=options.seed)
    visible = ignore_invisible(leave_out(table, options.left_out), min_d_prime=min_d_prime)
    check_splits_carry(visible, positives_in=("train", "validation", "test"))
    return with_hashes(table)


def _exams(scale: Scale, out: Path, options: Options, own: Table | None, executor: Executor) -> tuple[Stage, Table]:
    """Return the stage and the table of the images with their splits, simulated or the user's."""
    if own is None:
        stage = exams_stage(out, scale.exams, intent=options.intent, seed=options.seed)
        return stage, make_exams(stage, scale.exams, intent=options.intent, seed=options.seed, executor=executor)
    stage = table_stage(out, own, intent=options.intent, seed=options.seed)
    return stage, take_table(stage, own)


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
) -> Stage:
    """Evaluate all methods and write the report into a stage of its own."""
    resamples = scale.evaluation.resamples
    settings = {"resamples": resamples, "shows_nothing": scale.evaluation.shows_nothing, "seed": options.seed}
    stage = after(scoring.run, "evaluation", settings, scoring, modules=_EVALUATION)

    def work() -> None:
        started = monotonic()
        figures = evaluate_study(
            predictions_of(scoring, samples, images.test),
            rules=Rules(min_d_prime=recipe.sample.min_d_prime),
            resamples=resamples,
            seed=options.seed,
        )
        provenance = collect_provenance(
            stages, scale, recipe, options, own_tables=own_tables, evaluation_s=monotonic() - started
        )
        write_report(figures, provenance, stage.folder / "report")

    return run_stage(stage, work)
