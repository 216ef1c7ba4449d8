"""What the networks learn from a twin: that the places where it lacks a microcalcification are negative."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.training import toy

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.datasets.twins import TWIN, as_left_out
from microcalc.execution.executor import executor_of
from microcalc.training.annotated import without_twins
from microcalc.training.images import TrainingImage, images_of_split
from microcalc.training.normalised import NormalisedImages, with_hashes
from microcalc.training.recipe import Recipe
from microcalc.training.samples import DrawnSamples, draw_samples

LACKING = toy.MEMBERS[:2]
Pixels = set[tuple[int, int]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingImage, TrainingImage]:
    """An image and, for its table, a twin without two of the five members of its cluster."""
    folder = tmp_path_factory.mktemp("data")
    table = toy.make_table(folder, patients=2)
    full, twin = (replace(i, split="train") for i in table.images)
    rows = [*table.rows_of(full), *(_without_two(a) for a in table.rows_of(twin))]
    return _training_images((full, twin), rows, folder / "normalised")


def _without_two(annotation: AnnotationRow) -> AnnotationRow:
    return as_left_out(annotation) if (annotation.row, annotation.column) in LACKING else annotation


def _training_images(
    images: tuple[ImageRow, ImageRow], rows: list[AnnotationRow], folder: Path
) -> tuple[TrainingImage, TrainingImage]:
    table = with_hashes(Table(images, tuple(rows)))
    normalised = NormalisedImages(folder, 0.1)
    normalised.make(table.images, executor=executor_of(1))
    full, twin = images_of_split(table, "train", normalised)
    return full, twin


def _recipe(share: float) -> Recipe:
    recipe = toy.recipe()
    return recipe.model_copy(update={"sample": recipe.sample.model_copy(update={"counterfactual_share": share})})


def _pixels(samples: np.ndarray, image: int) -> Pixels:
    return {(int(row), int(column)) for index, row, column in samples if index == image}


def test_what_is_positive_in_an_image_and_lacking_in_its_twin_is_negative_there(
    pair: tuple[TrainingImage, TrainingImage],
) -> None:
    samples = draw_samples(pair, _recipe(0.25))
    lacking = _pixels(samples.counterfactual, 1)
    assert {(round(row), round(column)) for row, column in LACKING} <= lacking
    assert lacking == _pixels(samples.positive, 0) - _pixels(samples.positive, 1)
    assert not _pixels(samples.counterfactual, 0), "an image that lacks nothing has none"


def test_the_clearance_around_other_calcium_does_not_hold_for_what_is_lacking(
    pair: tuple[TrainingImage, TrainingImage],
) -> None:
    wide = _recipe(0.25)
    wide = wide.model_copy(update={"sample": wide.sample.model_copy(update={"clearance_mm": 3.0})})
    twin, rules = pair[1], wide.sample
    stored = twin.open()
    pixels = twin.counterfactual_pixels(stored, rules)
    assert len(pixels) == len(draw_samples(pair, _recipe(0.25)).counterfactual)
    assert not twin.negative_mask(stored, rules)[pixels[:, 1], pixels[:, 2]].any()


def test_what_calcium_covers_is_not_negative_even_where_something_was_left_out(
    pair: tuple[TrainingImage, TrainingImage],
) -> None:
    twin = pair[1]
    row, column = LACKING[0]
    large = AnnotationRow(twin.row.image, row + 2.0, column, diameter_mm=0.5)
    covered = replace(twin, rows=(*twin.rows, large))
    kept = _pixels(covered.counterfactual_pixels(twin.open(), toy.recipe().sample), 0)
    assert (row, column) not in kept
    assert LACKING[1] in kept


def test_a_place_that_was_left_out_is_not_mined_as_if_a_reader_had_judged_it(
    pair: tuple[TrainingImage, TrainingImage],
) -> None:
    twin = pair[1]
    stored = twin.open()
    judged = AnnotationRow(twin.row.image, 300.0, 60.0, kind="no_calcium", judge="by eye")
    everywhere = stored.breast
    both = replace(twin, rows=(*twin.rows, judged))
    assert both.reviewed_negatives(stored, everywhere).tolist() == [[0, 300, 60]]


def test_thresholds_are_not_chosen_on_twins() -> None:
    splits: tuple[Split, ...] = ("train", "validation")
    row = ImageRow("a", Path("a.png"), "processed", (0.1, 0.1), tags="normal")
    images = tuple(
        replace(row, image=f"{split}{tag}", split=split, tags=f"normal {tag}") for split in splits for tag in ("", TWIN)
    )
    kept = without_twins(Table(images), "validation")
    assert [i.image for i in kept.images] == ["train", "traintwin", "validation"]


@pytest.mark.parametrize("mined", [None, np.ones((7, 3), dtype=np.int32)])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("n", [0, 5])
def test_the_shares_of_the_negatives_sum_to_one_and_no_pool_is_empty(
    mined: np.ndarray | None, share: float, n: int
) -> None:
    samples = DrawnSamples(*(np.zeros((k, 3), dtype=np.int32) for k in (3, 9, n)))
    pools = samples.negative_pools(mined, _recipe(share))
    assert sum(s for _, s in pools) == pytest.approx(1.0)
    assert all(len(pool) and s > 0 for pool, s in pools)
    taken = sum(s for pool, s in pools if pool is samples.counterfactual)
    assert taken == (share if n else 0.0)
    hard = [s for pool, s in pools if pool is mined]
    expected = (1 - toy.recipe().mining.random_share) * (1 - (share if n else 0.0))
    assert hard == ([] if mined is None or expected == 0 else [pytest.approx(expected)])
