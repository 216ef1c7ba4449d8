"""Whole mammograms and exams, on a receptor of few pixels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from microcalc.simulate.breast import View
from microcalc.simulate.exam import VIEWS, SimulatedMammogram, simulate_exam, simulate_mammogram
from microcalc.simulate.lesions import NO_LESIONS, LesionRates
from microcalc.simulate.systems import VENDORS, System, system

MANY = LesionRates(
    clusters=3.0,
    singles=6.0,
    crossings=6.0,
    confusers={"coarse": 2.0, "rim": 1.0, "arterial": 1.0, "skin": 1.0, "clip": 1.0},
    nodes=1.0,
    moles=1.0,
    folds=1.0,
    artefacts=1.0,
    low_dose=0.0,
)


def small(name: str) -> System:
    """Return the system with a receptor of 48 mm x 36 mm."""
    s = system(name)
    return replace(s, fields=((round(48 / s.pitch_mm), round(36 / s.pitch_mm)),))


@pytest.fixture(scope="module", params=VENDORS)
def mammogram(request: pytest.FixtureRequest) -> SimulatedMammogram:
    return simulate_mammogram(
        small(request.param),
        seed=3,
        density="C",
        intents=("raw", "processed"),
        rates=replace(MANY, confusers={}, artefacts=0.0),
    )


@pytest.fixture(scope="module")
def exam() -> list[SimulatedMammogram]:
    return list(simulate_exam(small("ge"), seed=21, rates=MANY))


@pytest.fixture(scope="module")
def left() -> dict[View, SimulatedMammogram]:
    return {v: simulate_mammogram(small("ge"), seed=5, view=v, laterality="L", rates=MANY) for v in VIEWS}


def test_what_is_too_faint_in_a_view_is_in_no_view(left: dict[View, SimulatedMammogram]) -> None:
    visible = replace(MANY, clusters=6.0, min_d_prime=5.0)
    views = list(simulate_exam(small("ge"), seed=21, views=VIEWS, lateralities=("L",), rates=visible))
    faintest = [a.d_prime for v in views for a in v.annotations if a.kind == "microcalcification"]
    assert faintest
    assert min(d for d in faintest if d is not None) >= 5.0
    all_ = [a.d_prime for v in left.values() for a in v.annotations if a.kind == "microcalcification"]
    assert min(d for d in all_ if d is not None) < 5.0, "without the limit there are fainter ones"


def test_the_same_seed_gives_the_same_mammogram(left: dict[View, SimulatedMammogram]) -> None:
    first, second = left["CC"], simulate_mammogram(small("ge"), seed=5, rates=MANY)
    assert np.array_equal(first.stored["raw"], second.stored["raw"])
    assert first.annotations == second.annotations
    assert first.tags == second.tags
    other = simulate_mammogram(small("ge"), seed=12, rates=MANY)
    assert not np.array_equal(first.stored["raw"], other.stored["raw"])


def test_asking_for_the_processed_image_too_changes_nothing_in_the_raw_one(
    left: dict[View, SimulatedMammogram],
) -> None:
    alone = left["CC"]
    both = simulate_mammogram(small("ge"), seed=5, rates=MANY, intents=("raw", "processed"))
    assert np.array_equal(alone.stored["raw"], both.stored["raw"])


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_a_right_breast_is_the_mirror_image_of_a_left_one(view: View, left: dict[View, SimulatedMammogram]) -> None:
    seen = left[view]
    right = simulate_mammogram(small("ge"), seed=5, view=view, laterality="R", rates=MANY)
    assert np.array_equal(seen.stored["raw"], right.stored["raw"][:, ::-1])
    columns = seen.stored["raw"].shape[1]
    for there, here in zip(right.annotations, seen.annotations, strict=True):
        back = there.mirrored(columns)
        assert (back.kind, back.cluster, back.d_prime) == (here.kind, here.cluster, here.d_prime)
        assert (back.row, back.column) == pytest.approx((here.row, here.column), abs=1e-9)
    chest, far = seen.stored["raw"][:, :5].mean(), seen.stored["raw"][:, -5:].mean()
    assert chest < 0.5 * far


def test_the_breast_is_darker_than_air_when_raw_and_brighter_when_processed(mammogram: SimulatedMammogram) -> None:
    raw, processed = mammogram.stored["raw"], mammogram.stored["processed"]
    breast = processed > 0
    assert 0.1 < breast.mean() < 0.9
    assert np.median(raw[breast]) < 0.6 * np.median(raw[~breast])
    assert processed.max() <= 4095
    assert len(mammogram.windows) == len(mammogram.window_names) == 3


def test_processing_keeps_denser_brighter(mammogram: SimulatedMammogram) -> None:
    raw, processed = mammogram.stored["raw"].astype(float), mammogram.stored["processed"].astype(float)
    middle = (slice(raw.shape[0] // 3, 2 * raw.shape[0] // 3), slice(10, raw.shape[1] // 3))
    assert np.corrcoef(raw[middle].ravel(), processed[middle].ravel())[0, 1] < -0.5


def test_microcalcifications_say_how_visible_they_are_and_what_they_look_like(mammogram: SimulatedMammogram) -> None:
    found = [p for p in mammogram.annotations if p.kind == "microcalcification"]
    assert found
    assert all(p.d_prime is not None and 0.0 < p.d_prime < 400.0 for p in found)
    assert all(p.outline and 0.03 < p.diameter_mm < 2.0 for p in found)
    assert {len(p.morphology.split()) for p in found} == {2}, "morphology and layout"
    rows, columns = mammogram.stored["raw"].shape
    assert all(0 <= p.row < rows and 0 <= p.column < columns for p in mammogram.annotations)


def test_an_exam_is_two_views_of_either_breast(exam: list[SimulatedMammogram]) -> None:
    assert [(m.laterality, m.view) for m in exam] == [("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO")]
    assert len({m.density for m in exam}) == 1


def test_the_views_of_a_breast_show_the_same_clusters_and_those_of_the_other_breast_do_not(
    exam: list[SimulatedMammogram],
) -> None:
    def specks(m: SimulatedMammogram) -> Counter[tuple[str, str]]:
        return Counter((p.cluster, p.morphology) for p in m.annotations if p.kind == "microcalcification")

    left_cc, left_mlo, right_cc, right_mlo = map(specks, exam)
    assert left_cc == left_mlo
    assert right_cc == right_mlo
    assert left_cc != right_cc
    assert any(name for name, _ in left_cc)


def test_a_breast_does_not_depend_on_whether_the_other_one_is_asked_for(exam: list[SimulatedMammogram]) -> None:
    alone = list(simulate_exam(small("ge"), seed=21, rates=MANY, lateralities=("R",)))
    assert [(m.laterality, m.view) for m in alone] == [("R", "CC"), ("R", "MLO")]
    for here, there in zip(alone, exam[2:], strict=True):
        assert np.array_equal(here.stored["raw"], there.stored["raw"])
        assert here.annotations == there.annotations


def test_an_exam_can_be_made_twice_of_one_seed_sequence() -> None:
    sequence = np.random.SeedSequence(5)
    first, second = (next(simulate_exam(small("ge"), seed=sequence, rates=NO_LESIONS, views=("CC",))) for _ in range(2))
    assert np.array_equal(first.stored["raw"], second.stored["raw"])


def test_what_is_put_into_a_breast_changes_its_image_only_there() -> None:
    rates = replace(NO_LESIONS, clusters=2.0, singles=3.0)
    empty, filled = (simulate_mammogram(small("hologic"), seed=8, rates=a) for a in (NO_LESIONS, rates))
    assert {p.morphology for p in empty.annotations} == {"tissue"}
    assert any(p.kind == "microcalcification" for p in filled.annotations)
    changed = empty.stored["raw"] != filled.stored["raw"]
    assert changed.any()
    rows, columns = np.nonzero(changed)
    places = np.array([(p.row, p.column) for p in filled.annotations if p.kind == "microcalcification"])
    away = np.hypot(rows[:, None] - places[:, 0], columns[:, None] - places[:, 1]).min(axis=1)
    assert away.max() * filled.system.pitch_mm < 3.0


def test_a_clear_microcalcification_is_a_dark_spot_of_the_raw_image() -> None:
    rates = replace(NO_LESIONS, singles=6.0, diameter_mm=0.5, packing=(0.9, 1.0))
    empty, filled = (simulate_mammogram(small("siemens"), seed=9, rates=a) for a in (NO_LESIONS, rates))
    lost = empty.stored["raw"].astype(float) - filled.stored["raw"]
    calcium = [p for p in filled.annotations if p.kind == "microcalcification"]
    assert calcium
    for p in calcium:
        row, column = round(p.row), round(p.column)
        assert lost[row - 1 : row + 2, column - 1 : column + 2].mean() > 0
        assert p.contrast is not None
        assert p.contrast > 0.05


def test_half_the_dose_halves_the_values_and_is_tagged() -> None:
    full, half = (simulate_mammogram(small("ge"), seed=6, rates=NO_LESIONS, dose=d) for d in (1.0, 0.5))
    ratio = half.stored["raw"][100:400, 20:120].astype(float).mean() / full.stored["raw"][100:400, 20:120].mean()
    assert ratio == pytest.approx(0.5, rel=0.01)
    assert full.tags == ()
    assert half.tags == ("dose-50",)
    assert half.technique.mas == pytest.approx(0.5 * full.technique.mas, rel=0.02)


def test_the_field_is_the_smallest_with_room_for_the_breast() -> None:
    s = small("ge")
    rows, columns = s.fields[0]
    two = replace(s, fields=((rows // 2, columns // 2), (rows, columns)))
    assert simulate_mammogram(two, seed=1, rates=NO_LESIONS).stored["raw"].shape == (rows, columns)


def test_what_stands_out_without_calcium_is_in_the_truth_with_its_name_and_clear_of_calcium(
    exam: list[SimulatedMammogram],
) -> None:
    names: set[str] = set()
    for m in exam:
        assert m.tags
        calcium = np.array([(p.row, p.column) for p in m.annotations if p.kind != "no_calcium"])
        for p in m.annotations:
            if p.kind == "no_calcium" and p.morphology != "clip":
                names.add(p.morphology)
                assert np.hypot(*(calcium - (p.row, p.column)).T).min() * m.system.pitch_mm > 2.0
    assert {"crossing", "tissue"} <= names
    assert names & {"dust", "bad-pixel", "hair"}
