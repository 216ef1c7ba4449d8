from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from tests.detection.networks import write_model

from microcalc.batch.analyse import DetectedFile
from microcalc.detection.candidates import find_candidates
from microcalc.detection.make_result import make_result
from microcalc.detection.result import Result, read_result
from microcalc.detection.stages import Detected, find_clusters
from microcalc.display.overlay import HEADER_PX, draw_overlay
from microcalc.display.places import FINDING, OTHER
from microcalc.domain import Mammogram, NormalisedMammogram
from microcalc.models.model import laplacian_model, load_model

SPACING_MM = 0.1
SPECKS_MM = np.array([(10.0, 10.0), (12.0, 11.0), (11.0, 13.0), (13.0, 13.0), (10.0, 15.0)])


def _mammogram(*, contrast: float) -> Mammogram:
    """Half a disc of breast, 40 x 30 mm, with five specks."""
    rows, columns = np.indices((400, 300)) * SPACING_MM
    pixels = np.where(np.hypot(rows - 20, columns) < 19, 1000.0, 0.0)
    pixels += np.where(pixels > 0, np.random.default_rng(0).normal(scale=10, size=pixels.shape), 0)
    for row, column in SPECKS_MM:
        pixels += contrast * (np.hypot(rows - row, columns - column) <= 0.16)
    return Mammogram(pixels.astype(np.float32), (SPACING_MM, SPACING_MM), "processed", "1.2.3", "L", "CC", "a system")


def _normalise(mammogram: Mammogram) -> NormalisedMammogram:
    breast = mammogram.pixels > 500
    pixels = np.where(breast, (mammogram.pixels - 1000) / 10, 0).astype(np.float32)
    return NormalisedMammogram(pixels, breast, SPACING_MM, (0.0, 0.0), mammogram.uid)


def _detect(out: Path, *, contrast: float, overlay: bool = True) -> Result:
    mammogram = _mammogram(contrast=contrast)
    model, normalised = laplacian_model(), _normalise(mammogram)
    detected = find_clusters(mammogram, normalised, model.scorer.score(normalised), model)
    result = make_result(mammogram, detected, model, breast_area_cm2=6.0)
    DetectedFile(result, mammogram, normalised).write("breast", out, overlay=overlay)
    return result


def test_five_specks_are_found_where_they_are_and_are_one_finding(tmp_path: Path) -> None:
    document = _detect(tmp_path, contrast=400)
    found = np.array([(c.row, c.column) for c in document.candidates[:5]]) * SPACING_MM
    nearest = np.linalg.norm(found[:, np.newaxis] - SPECKS_MM, axis=2)
    assert sorted(nearest.argmin(axis=1)) == [0, 1, 2, 3, 4]
    assert nearest.min(axis=1).max() < 0.1
    assert [cluster.finding for cluster in document.clusters].count(True) == 1
    assert sorted(document.clusters[0].members) == [0, 1, 2, 3, 4]


def test_the_document_and_the_picture_are_written(tmp_path: Path) -> None:
    document = _detect(tmp_path, contrast=400)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["breast.json", "breast.png"]
    assert read_result(tmp_path / "breast.json") == document


def test_without_overlay_only_the_document_is_written(tmp_path: Path) -> None:
    _detect(tmp_path, contrast=400, overlay=False)
    assert [path.name for path in tmp_path.iterdir()] == ["breast.json"]


def test_fewer_or_likelier_candidates_can_be_asked_for() -> None:
    mammogram, model = _mammogram(contrast=400), laplacian_model()
    normalised = _normalise(mammogram)
    rated = model.scorer.score(normalised)

    def detected(*, min_likelihood: float | None = None, max_candidates: int | None = None) -> Detected:
        return find_clusters(
            mammogram, normalised, rated, model, min_likelihood=min_likelihood, max_candidates=max_candidates
        )

    every, few, likely = detected(), detected(max_candidates=3), detected(min_likelihood=0.5)
    assert (every.candidate_limit_reached, few.candidate_limit_reached) == (False, True)
    rated_all = every.candidates.likelihood
    exactly = find_candidates(normalised, rated.likelihood, **model.candidates.model_dump()).likelihood.size
    limits = [detected(max_candidates=n).candidate_limit_reached for n in (exactly - 1, exactly, exactly + 1)]
    assert limits == [True, False, False]  # it says that candidates were left out
    np.testing.assert_array_equal(few.candidates.likelihood, rated_all[:3])
    np.testing.assert_array_equal(likely.candidates.likelihood, rated_all[rated_all >= 0.5])


def test_a_pair_of_networks_goes_the_same_way(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "model"), threads=1)
    mammogram = _mammogram(contrast=400)
    normalised = _normalise(mammogram)
    detected = find_clusters(mammogram, normalised, model.scorer.score(normalised), model)
    assert detected.candidate_limit_reached  # there are more than 200, as many as the model lists
    assert detected.clusters


def test_the_overlay_outlines_a_finding_and_rings_its_members_without_covering_them(tmp_path: Path) -> None:
    _detect(tmp_path, contrast=400)
    page = np.asarray(Image.open(tmp_path / "breast.png").convert("RGB"))
    coloured = np.all(page == FINDING, axis=2)
    assert coloured.sum() > 500
    assert not np.all(page == OTHER, axis=2)[:, :300].any()  # no other outline in the whole view
    rows, columns = np.nonzero(coloured[HEADER_PX : HEADER_PX + 400, 10:310])  # the whole view at its own size
    centre = np.array([(rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2])
    cluster_px = (SPECKS_MM.min(axis=0) + SPECKS_MM.max(axis=0)) / 2 / SPACING_MM
    assert np.abs(centre - cluster_px).max() < 15  # its number stands beside it
    for speck in SPECKS_MM / SPACING_MM:
        assert page[HEADER_PX + int(speck[0]), 10 + int(speck[1])].min() > 200  # still white


def test_without_a_cluster_the_overlay_shows_the_likeliest_candidates(tmp_path: Path) -> None:
    document = _detect(tmp_path, contrast=0)
    document = document.model_copy(update={"clusters": ()})
    mammogram = _mammogram(contrast=0)
    page = np.asarray(draw_overlay(mammogram, _normalise(mammogram), document))
    assert np.all(page == OTHER, axis=2).any()
    assert not np.all(page == FINDING, axis=2).any()


def test_with_nothing_at_all_there_still_is_a_picture(tmp_path: Path) -> None:
    document = _detect(tmp_path, contrast=0).model_copy(update={"clusters": (), "candidates": ()})
    mammogram = _mammogram(contrast=0)
    assert draw_overlay(mammogram, _normalise(mammogram), document).height > 400
