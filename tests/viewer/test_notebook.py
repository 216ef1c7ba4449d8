"""The page for one mammogram, from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import pytest
from tests.viewer.tables import SPECKS, write_detections, write_picture

import microcalc
from microcalc.detection.result import read_result


@pytest.fixture
def mammogram(tmp_path: Path) -> microcalc.Mammogram:
    write_picture(tmp_path / "DOE_JANE.png")
    return microcalc.read(tmp_path / "DOE_JANE.png", pixel_spacing_mm=0.1, intent="processed")


def _answer(address: str, path: str) -> dict[str, Any]:
    with urlopen(address + path) as answer:
        document: dict[str, Any] = json.loads(answer.read())
    return document


def test_a_mammogram_and_its_result_are_served_by_this_process(mammogram: microcalc.Mammogram, tmp_path: Path) -> None:
    places = [(*SPECKS[0], 0.9), (*SPECKS[1], 0.8)]
    result = read_result(write_detections(tmp_path / "d" / "a.json", "a", places))
    address = microcalc.view(mammogram, result, browser=False)
    with urlopen(address) as page:
        assert b"<title>microcalc view</title>" in page.read()
    marks = _answer(address, "api/images/i0/marks")["detectors"][0]["candidates"]
    assert [(mark["row"], mark["column"]) for mark in marks] == [place[:2] for place in places]
    assert "DOE" not in json.dumps(_answer(address, "api/catalogue"))
    other = microcalc.view(mammogram, browser=False)  # the first page stays
    assert _answer(other, "api/catalogue")["detectors"] == []
    assert len(_answer(address, "api/catalogue")["detectors"]) == 1


def test_what_is_no_mammogram_or_of_another_is_refused(mammogram: microcalc.Mammogram, tmp_path: Path) -> None:
    file = write_detections(tmp_path / "d" / "a.json", "a", [(*SPECKS[0], 0.9), (*SPECKS[1], 0.8)])
    result = read_result(file)
    with pytest.raises(microcalc.InputError, match=r"view of a Result, expected view\(mammogram, result\)"):
        microcalc.view(cast(Any, result))
    file.write_text(file.read_text().replace('"rows": 640', '"rows": 6400'))
    with pytest.raises(microcalc.InputError, match=r"a result of an image of \(6400, 700\) pixels"):
        microcalc.view(mammogram, read_result(file))
