from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np
import pytest
from tests.study.synthetic import STRENGTH, scored_images

from microcalc.domain import Candidates, Cluster
from microcalc.errors import InputError
from microcalc.evaluation.matched_images import Rules
from microcalc.evaluation.roc import log_mean_sensitivity, mean_sensitivity, roc_curve
from microcalc.geometry import Grid
from microcalc.study.evaluation import AREA, LINEAR, LOG, StudyFigures, evaluate_study
from microcalc.study.predictions import ImagePredictions, marks_of_candidates


def evaluated(images: Sequence[ImagePredictions], *, resamples: int = 60, rules: Rules | None = None) -> StudyFigures:
    return evaluate_study(images, rules=rules, resamples=resamples, seed=1)


@pytest.fixture(scope="module")
def images() -> list[ImagePredictions]:
    return scored_images(np.random.default_rng(0), pictures=True)


@pytest.fixture(scope="module")
def figures(images: list[ImagePredictions]) -> StudyFigures:
    return evaluated(images)


def test_the_pooled_figures_are_those_of_all_samples_at_once(
    images: list[ImagePredictions], figures: StudyFigures
) -> None:
    for method in STRENGTH:
        curve = roc_curve(*(np.concatenate([getattr(i, c)[method] for i in images]) for c in ("positive", "negative")))
        estimates = figures.groups["pooled"].estimates[method]
        assert estimates[LINEAR].value == pytest.approx(mean_sensitivity(curve), rel=1e-12)
        assert estimates[LOG].value == pytest.approx(log_mean_sensitivity(curve), rel=1e-12)


def test_a_manufacturer_has_the_figures_that_its_images_have_alone(
    images: list[ImagePredictions], figures: StudyFigures
) -> None:
    alone = evaluated([i for i in images if i.vendor == "ge"])
    assert alone.vendors == ("ge",)
    for method in STRENGTH:
        for name, estimate in figures.groups["ge"].estimates[method].items():
            assert astuple(estimate) == pytest.approx(astuple(alone.groups["ge"].estimates[method][name]), rel=1e-12)


def test_methods_and_manufacturers_come_in_the_order_of_the_publication(figures: StudyFigures) -> None:
    assert figures.methods == ("cascade", "cnn1", "pair", "log")
    assert figures.vendors == ("hologic", "ge", "siemens")
    assert figures.pairs == (("pair", "cascade"), ("pair", "cnn1"))


def test_another_method_is_shown_beside_the_four_and_compared_to_the_pair() -> None:
    rng = np.random.default_rng(0)
    more = evaluated(
        scored_images(rng, patients=2, negatives=100, strength={**STRENGTH, "no_mining": 1.0}), resamples=9
    )
    assert more.methods == ("cascade", "cnn1", "pair", "log", "no_mining")
    assert ("pair", "no_mining") in more.groups["pooled"].differences


def test_differences_are_those_of_the_values_and_paired(figures: StudyFigures) -> None:
    for group in figures.groups.values():
        for (first, second), differences in group.differences.items():
            for name in (LINEAR, LOG, AREA):
                values = [group.estimates[m][name].value for m in (first, second)]
                assert differences[name].value == pytest.approx(values[0] - values[1])
                assert differences[name].low <= differences[name].value <= differences[name].high


def test_strata_share_out_the_positives(figures: StudyFigures) -> None:
    pooled = figures.groups["pooled"].positives
    for quantity in ("d'", "diameter", "density"):
        assert sum(s.positives for s in figures.strata if s.name.startswith(quantity)) == pooled


def test_a_stratum_has_the_curve_of_its_positives_against_all_negatives(
    images: list[ImagePredictions], figures: StudyFigures
) -> None:
    stratum = next(s for s in figures.strata if s.name == "d' 5 to 8")
    positive = np.concatenate([i.positive["pair"][(i.d_prime >= 5) & (i.d_prime < 8)] for i in images])
    negative = np.concatenate([i.negative["pair"] for i in images])
    value = stratum.estimates["pair"][LOG].value
    assert value == pytest.approx(log_mean_sensitivity(roc_curve(positive, negative)), rel=1e-12)


def test_images_of_a_patient_are_drawn_together() -> None:
    # One patient: no interval, however many images.
    one = evaluated(scored_images(np.random.default_rng(2), patients=1, images_per_patient=4, vendors=("ge",)))
    estimate = one.groups["pooled"].estimates["pair"][LINEAR]
    assert (one.groups["pooled"].images, one.groups["pooled"].patients) == (4, 1)
    assert np.isfinite(estimate.value)
    assert np.isnan([estimate.low, estimate.high]).all()


def test_a_manufacturer_without_positives_has_no_figure_and_no_curve() -> None:
    images = scored_images(np.random.default_rng(0), patients=2, negatives=50, vendors=("ge", "siemens"))
    empty = np.empty(0)
    bare = [
        i
        if i.vendor == "ge"
        else replace(i, annotations=(), d_prime=empty, diameter_mm=empty,
                     positive={m: np.empty(0, dtype=np.float32) for m in i.positive})
        for i in images
    ]  # fmt: skip
    figures = evaluated(bare, resamples=9)
    assert np.isnan(figures.groups["siemens"].estimates["pair"][LINEAR].value)
    assert set(figures.roc_bands) == {"pooled", "ge"}


def test_froc_counts_marks_and_clusters_by_manufacturer_density_and_size(figures: StudyFigures) -> None:
    assert figures.froc is not None
    groups = {(v.group, v.target) for v in figures.froc.values["pair"]}
    assert {("all", "clusters"), ("system ge", "microcalcifications")} <= groups
    assert any(g.startswith("density") for g, _ in groups)
    assert any(g.startswith("diameter") for g, _ in groups)
    assert not any(about == "findings" for _, about in groups)


def test_without_marks_there_is_no_froc_and_no_example() -> None:
    images = scored_images(np.random.default_rng(0), patients=2, negatives=50, pictures=True)
    figures = evaluated([replace(i, detections={}) for i in images], resamples=9)
    assert figures.froc is None
    assert figures.examples == ()


def test_examples_show_faint_hits_clear_misses_and_the_worst_false_marks(figures: StudyFigures) -> None:
    hits, misses, false = ([e for e in figures.examples if e.what == what] for what in ("hit", "miss", "false"))
    assert {e.method for e in figures.examples} == {"pair"}
    assert [e.d_prime for e in hits] == sorted(e.d_prime for e in hits)
    assert [e.d_prime for e in misses] == sorted((e.d_prime for e in misses), reverse=True)
    assert [e.rating for e in false] == sorted((e.rating for e in false), reverse=True)
    assert min(e.rating for e in hits) > max(e.rating for e in misses)


def test_the_place_of_an_example_is_in_the_middle_of_its_picture(figures: StudyFigures) -> None:
    clear = [e for e in figures.examples if e.what == "hit" and e.d_prime > 8]
    assert clear
    for example in clear:
        middle = example.pixels.shape[0] // 2
        assert example.pixels[middle - 1 : middle + 2, middle - 1 : middle + 2].mean() > 5


def test_places_that_nobody_can_see_are_no_examples() -> None:
    images = scored_images(np.random.default_rng(0), patients=2, negatives=50, pictures=True)
    figures = evaluated(images, resamples=9, rules=Rules(min_d_prime=6.0))
    assert min(e.d_prime for e in figures.examples if e.what != "false") >= 6


def test_methods_that_differ_between_images_are_refused(images: list[ImagePredictions]) -> None:
    odd = replace(images[0], positive={"pair": images[0].positive["pair"]})
    with pytest.raises(InputError, match="expected the same methods on all"):
        evaluated([*images[1:], odd])


def test_methods_that_rate_different_numbers_of_samples_are_refused(images: list[ImagePredictions]) -> None:
    short = {m: r[1:] if m == "log" else r for m, r in images[0].negative.items()}
    with pytest.raises(InputError, match="rate different numbers of samples"):
        evaluated([replace(images[0], negative=short)])


def test_nothing_to_judge_is_refused(images: list[ImagePredictions]) -> None:
    with pytest.raises(InputError, match="no test image"):
        evaluated([])
    with pytest.raises(InputError, match="0 positive and"):
        evaluated([i for i in images if i.d_prime.size == 0])


def test_candidates_become_marks_in_pixels_of_the_original_image() -> None:
    candidates = Candidates(np.array([[7.0, 14.0], [0.7, 0.07]]), np.array([0.9, 0.4]))
    cluster = Cluster(np.array([0, 1]), np.empty((0, 2)), 0.8)
    found = marks_of_candidates(candidates, [cluster], Grid((0.07, 0.07)), breast_cm2=50.0)
    np.testing.assert_allclose(found.centres_px, [[100, 200], [10, 1]])
    assert found.members is not None
    assert found.members[0].tolist() == [0, 1]
    assert found.breast_area_cm2 == 50
