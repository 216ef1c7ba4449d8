"""The API that the package hands on: its documented examples run, and it loads nothing before it is needed."""

from __future__ import annotations

import doctest
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microcalc
from microcalc.batch.many import detect_all
from microcalc.errors import InputError, NoBreastError

_HEAVY = ("numpy", "scipy", "pydicom", "pydantic", "onnxruntime", "matplotlib", "pandas", "PIL", "torch", "numba")
_DOCUMENTED = ("read", "detect", "load_model", "show", "view", "detect_all", "Result")


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated raw mammogram of 64 x 48 mm with clusters."""
    from microcalc.datasets.simulated import Settings, make_exam
    from microcalc.simulate.lesions import LesionRates
    from microcalc.simulate.systems import system

    folder = tmp_path_factory.mktemp("api")
    small = replace(system("ge"), fields=((640, 480),))
    lesions = LesionRates(clusters=2.5, diameter_mm=0.3, packing=(1.5, 2.5))
    settings = Settings(intents=("raw",), views=("CC",), lateralities=("L",), rates=lesions)
    image = make_exam(folder, small, 5, settings).images[0]
    return image.file.rename(folder / "view.dcm")


@pytest.mark.parametrize("name", ["__init__", *_DOCUMENTED])
def test_the_examples_of_the_api_give_what_they_state(name: str, view: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    monkeypatch.chdir(view.parent)
    documented = microcalc if name == "__init__" else getattr(microcalc, name)
    names = {"microcalc": microcalc, "mammogram": microcalc.read(view)}
    tests = [test for test in doctest.DocTestFinder(recurse=True).find(documented, name, globs=names) if test.examples]
    assert tests, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_loads_no_library() -> None:
    code = f"import sys, microcalc; dir(microcalc); print([m for m in {_HEAVY!r} if m in sys.modules])"
    assert _python(code) == "[]"


def test_reading_loads_no_engine(view: Path) -> None:
    code = f"import sys, microcalc; microcalc.read({str(view)!r}); print('onnxruntime' in sys.modules)"
    assert _python(code) == "False"


def test_every_name_is_there_and_others_are_not() -> None:
    assert all(hasattr(microcalc, name) for name in microcalc.__all__)
    assert set(microcalc.__all__) <= set(dir(microcalc))
    with pytest.raises(AttributeError, match="module 'microcalc' has no attribute 'detekt'"):
        microcalc.detekt  # type: ignore[attr-defined] # noqa: B018
    assert _python("import microcalc, microcalc.detection.result; print(callable(microcalc.detect))") == "True"


def test_the_api_and_a_batch_find_the_same(view: Path) -> None:
    (batched,) = detect_all([view])
    assert batched.seconds is not None
    assert batched.seconds.total >= batched.seconds.read + batched.seconds.score
    result = microcalc.detect(microcalc.read(str(view)))
    assert batched.model_copy(update={"seconds": None}) == result
    assert result.image.file == "view.dcm"


def test_a_file_that_fails_is_named_after_the_results_of_the_others(view: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent.dcm"
    results = detect_all([absent, view], executor=microcalc.Processes(2))
    assert next(results).image.file == "view.dcm"
    with pytest.raises(microcalc.BatchError, match=r"^1 of 2 files could not be used: absent\.dcm: no such") as caught:
        next(results)
    assert list(caught.value.failures) == [absent]
    assert isinstance(caught.value.failures[absent], microcalc.UnreadableImageError)


def test_a_model_for_the_other_intent_is_refused(view: Path) -> None:
    with pytest.raises(InputError, match="processed: a model for processed images, expected one for raw images"):
        microcalc.detect(microcalc.read(view), microcalc.load_model("processed"))


def test_an_image_without_a_breast_is_refused_and_searched_whole_when_asked(view: Path) -> None:
    mammogram = microcalc.read(view)
    dark = replace(mammogram, pixels=np.full_like(mammogram.pixels, -4000))
    with pytest.raises(NoBreastError):
        microcalc.detect(dark)
    whole = microcalc.detect(mammogram, whole_image=True, max_candidates=3)
    assert whole.breast_area_cm2 == pytest.approx(27.3, abs=0.1)
    assert len(whole.candidates) == 3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_candidates": 0}, "max_candidates 0, expected a whole number of at least 1"),
        ({"max_candidates": 2.5}, "max_candidates 2.5, expected a whole number"),
        ({"min_likelihood": 1.1}, "min_likelihood 1.1, expected a number from 0 to 1"),
        ({"min_likelihood": np.nan}, "min_likelihood nan, expected a number from 0 to 1"),
        ({"benign": "aside"}, "benign 'aside', expected show or apart"),
    ],
)
def test_an_impossible_option_is_refused_before_any_work(option: dict[str, Any], message: str) -> None:
    flat = microcalc.Mammogram(np.zeros((9, 9), np.float32), (0.1, 0.1), "raw", "1.2")
    with pytest.raises(InputError, match=message):
        microcalc.detect(flat, **option)
    with pytest.raises(InputError, match=message):
        next(microcalc.detect_all(["absent.dcm"], **option))


def test_a_result_travels_and_is_drawn_only_on_its_own_image(view: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    mammogram = microcalc.read(view)
    result = microcalc.detect(mammogram, max_candidates=100)
    assert pickle.loads(pickle.dumps(result)) == result
    assert json.loads(result.to_json()) == result.to_dict()
    axes = microcalc.show(mammogram, result)
    marks = [mark for finding in result.findings for mark in finding.calcifications] + list(result.singles)
    assert len(axes.lines) == len(result.findings) + len(marks)  # the outline of each
    with pytest.raises(InputError, match="a result of an image of"):
        microcalc.show(replace(mammogram, pixels=mammogram.pixels[:-1]), result)
