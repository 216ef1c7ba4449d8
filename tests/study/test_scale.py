from __future__ import annotations

from pathlib import Path

import pytest
from tests.study import small

from microcalc.errors import RecipeError
from microcalc.simulate.systems import VENDORS
from microcalc.study.scale import load_scale, shipped_scales


def test_every_shipped_scale_bears_its_name_and_has_the_three_vendors() -> None:
    assert shipped_scales() == ["paper", "smoke", "tenth"]
    for name in shipped_scales():
        scale = load_scale(name)
        assert scale.name == name
        assert scale.exams.systems == VENDORS


def test_the_paper_scale_has_the_published_sample_counts() -> None:
    samples = load_scale("paper").samples
    assert (samples.train_positive, samples.train_negative) == (11_711, 27_000_000)
    assert (samples.test_positive, samples.test_negative) == (5_298, 18_000_000)
    assert load_scale("paper").evaluation.resamples >= 2000


@pytest.mark.parametrize(
    ("found", "put", "message"),
    [
        ("train_negative = 3000", "train_negatives = 3000", "small.toml: unknown entry samples.train_negatives"),
        ("train_negative = 3000", "", "small.toml: missing entry samples.train_negative"),
        ("validation = 1", "validation = 0", "small.toml: exams.validation is 0"),
        ('name = "small"', "name = ", "small.toml: not TOML"),
    ],
)
def test_a_scale_that_cannot_be_used_is_refused_by_its_entry(
    tmp_path: Path, found: str, put: str, message: str
) -> None:
    file = small.scale_file(tmp_path)
    file.write_text(small.SCALE.replace(found, put))
    with pytest.raises(RecipeError, match=message):
        load_scale(file)


def test_a_scale_that_is_not_there_is_said_with_those_that_are() -> None:
    with pytest.raises(RecipeError, match="no scale 'huge', expected one of paper, smoke, tenth"):
        load_scale("huge")


def test_the_page_states_the_numbers_of_the_scales() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "study.md").read_text(encoding="utf-8")
    for place, name in enumerate(("paper", "tenth", "smoke")):
        scale = load_scale(name)
        e, s, t = scale.exams, scale.samples, scale.training
        stated = [
            ("training samples", f"{s.train_positive:,} and {s.train_negative:,}"),
            ("test samples", f"{s.test_positive:,} and {s.test_negative:,}"),
            ("patients per vendor", f"{e.train}, {e.validation}, {e.test + e.test_free} ({e.test_free})"),
            ("steps of CNN1", f"{t.cnn1_steps} and {t.cnn2_steps}"),
            ("resamples", str(scale.evaluation.resamples)),
        ]
        for words, value in stated:
            row = next(line for line in page.splitlines() if line.startswith("|") and words in line)
            assert row.strip("|").split("|")[1 + place].strip() == value
        patients = e.train + e.validation + e.test + e.test_free
        n_images = len(e.systems) * patients * len(e.views) * len(e.lateralities)
        row = next(line for line in page.splitlines() if line.startswith("| images"))
        assert row.strip("|").split("|")[1 + place].strip().startswith(str(n_images))
