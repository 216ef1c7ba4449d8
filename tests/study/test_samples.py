from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.study import small
from tests.training import toy

from microcalc.datasets.open import open_row
from microcalc.errors import InputError
from microcalc.execution.executor import Serial
from microcalc.study.images import Images, images_of, normalise_all, normalise_stage, normalised_images
from microcalc.study.samples import SplitSamples, by_image, draw_samples, samples_stage, split_samples
from microcalc.study.scale import SampleCounts, load_scale
from microcalc.study.stage import Stage
from microcalc.training.normalised import standardised, with_hashes

_RULES = toy.recipe().sample


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def normalised(run: Path) -> tuple[Stage, Images]:
    table = with_hashes(small.make_table(run / "data"))
    faint = replace(table.annotations[0], d_prime=2.9)
    table = replace(table, annotations=(faint, *table.annotations[1:]))
    store = normalised_images(run, spacing_mm=0.1, normalising=True)
    stage = normalise_stage(Stage(run, "exams", {}), store)
    normalise_all(stage, table, store, executor=Serial())
    return stage, images_of(table, store, min_d_prime=_RULES.min_d_prime)


def _drawn(normalised: tuple[Stage, Images], counts: SampleCounts, seed: int = 1) -> dict[str, SplitSamples]:
    stage = samples_stage(normalised[0], counts, _RULES, left_out=None, seed=seed)
    draw_samples(stage, normalised[1], counts, _RULES, exact=True, seed=seed, executor=Serial())
    return {split: split_samples(stage, split) for split in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> SampleCounts:
    return load_scale(small.scale_file(tmp_path_factory.mktemp("scale"))).samples


@pytest.fixture(scope="module")
def drawn(normalised: tuple[Stage, Images], counts: SampleCounts) -> dict[str, SplitSamples]:
    return _drawn(normalised, counts)


def test_positive_is_the_pixel_nearest_to_each_microcalcification_that_can_be_seen(
    drawn: dict[str, SplitSamples], normalised: tuple[Stage, Images]
) -> None:
    members = [list(m) for m in toy.MEMBERS]
    train = drawn["train"]
    assert train.positive[train.positive[:, 0] == 0, 1:].tolist() == members[1:]  # the first is too faint
    assert train.positive[train.positive[:, 0] == 1, 1:].tolist() == members
    for (image, row, column), place in zip(train.positive, train.place, strict=True):
        line = normalised[1].train[image].rows[place]
        assert (line.row, line.column, line.kind) == (row, column, "microcalcification")


def test_negatives_are_as_many_as_asked_clear_of_calcium_and_none_twice(
    drawn: dict[str, SplitSamples], normalised: tuple[Stage, Images], counts: SampleCounts
) -> None:
    for split, least in (("train", counts.train_negative), ("test", counts.test_negative)):
        negative = drawn[split].negative
        assert least <= len(negative) <= least + 2
        assert len(np.unique(negative, axis=0)) == len(negative)
        for image, own in zip(getattr(normalised[1], split), by_image(negative, 2), strict=True):
            assert image.open().breast[own[:, 1], own[:, 2]].all()
            distance = np.hypot(*(own[:, None, 1:] - np.array(toy.MEMBERS)).transpose(2, 0, 1))
            assert distance.min() >= 6 + 1.5 - 0.01  # clearance and radius
    assert len(drawn["validation"].negative) == 0


def test_each_image_gives_its_share_of_the_breast(
    drawn: dict[str, SplitSamples], normalised: tuple[Stage, Images]
) -> None:
    sizes = np.array([np.count_nonzero(i.open().breast) for i in normalised[1].train])
    n = np.bincount(drawn["train"].negative[:, 0])
    np.testing.assert_allclose(n / n.sum(), sizes / sizes.sum(), atol=1e-3)


def test_the_seed_draws_negatives_and_nothing_else(
    drawn: dict[str, SplitSamples], normalised: tuple[Stage, Images], counts: SampleCounts
) -> None:
    other = _drawn(normalised, counts, seed=2)
    np.testing.assert_array_equal(other["test"].positive, drawn["test"].positive)
    assert (other["test"].negative != drawn["test"].negative).any()


def test_a_scale_that_the_exams_do_not_fill_is_an_error(normalised: tuple[Stage, Images], counts: SampleCounts) -> None:
    with pytest.raises(InputError, match="9 positive samples in train, expected at least 10; use more exams"):
        _drawn(normalised, counts.model_copy(update={"train_positive": 10}))
    with pytest.raises(InputError, match=r"\d+ negative samples in test, expected at least 99999999"):
        _drawn(normalised, counts.model_copy(update={"test_negative": 99_999_999}))


@given(hnp.arrays(np.int32, st.integers(0, 40), elements=st.integers(0, 5)))
def test_samples_of_each_image_make_up_all_samples(image: NDArray[np.int32]) -> None:
    samples = np.column_stack([np.sort(image), np.arange(len(image)), np.arange(len(image))]).astype(np.int32)
    parts = by_image(samples, 6)
    np.testing.assert_array_equal(np.concatenate(parts), samples)
    assert all((part[:, 0] == n).all() for n, part in enumerate(parts))


def test_without_our_normalisation_grey_values_have_one_mean_and_deviation_in_the_breast(
    normalised: tuple[Stage, Images],
) -> None:
    image = normalised[1].test[0]
    plain = standardised(open_row(image.row), spacing_mm=0.1)
    stored = image.open()
    np.testing.assert_array_equal(plain.breast, stored.breast)
    assert plain.pixels[plain.breast].mean() == pytest.approx(0, abs=1e-4)
    assert plain.pixels[plain.breast].std() == pytest.approx(3, abs=1e-4)
    member = toy.MEMBERS[0]
    assert plain.pixels[member] > plain.pixels[member[0] - 12, member[1]]  # brighter is denser still
