"""The limit on the pixels that the second network rates, as it is chosen on the validation images."""

from __future__ import annotations

import pytest

from microcalc.training.recipe import Recipe, load_recipe
from microcalc.training.thresholds import _most_survivors


def _recipe(*, pass_fraction: float, spacing_mm: float = 0.1) -> Recipe:
    recipe = load_recipe("raw")
    mining = recipe.mining.model_copy(update={"pass_fraction": pass_fraction})
    data = recipe.data.model_copy(update={"spacing_mm": spacing_mm})
    return recipe.model_copy(update={"mining": mining, "data": data})


def test_four_times_as_many_pixels_as_usual_are_rated() -> None:
    limit = _most_survivors(_recipe(pass_fraction=0.004), 0.006)
    assert limit.per_cm2 == pytest.approx(4 * 0.004 * 100**2)
    assert limit.per_image == 40_000  # of 250 cm2


def test_a_validation_image_with_many_survivors_raises_the_limit_above_its_own() -> None:
    limit = _most_survivors(_recipe(pass_fraction=0.001), 0.02)
    assert limit.per_cm2 == pytest.approx(1.25 * 0.02 * 100**2)


def test_the_limit_counts_pixels_of_the_recipe_s_spacing() -> None:
    fine, coarse = (_most_survivors(_recipe(pass_fraction=0.004, spacing_mm=s), 0.0) for s in (0.05, 0.1))
    assert fine.per_cm2 == pytest.approx(4 * coarse.per_cm2)


def test_no_more_pixels_are_rated_than_there_are() -> None:
    assert _most_survivors(_recipe(pass_fraction=0.001), 0.9).per_cm2 == 100**2
