"""A twin is its image without half of the inserted microcalcifications, and nothing else differs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.datasets.test_inserted import SPACING_MM, _values

from microcalc.datasets.inserted import insert_data_set
from microcalc.datasets.open import open_row
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import read_table
from microcalc.datasets.twins import LEFT_OUT, TWIN, draw_left_out
from microcalc.domain import Intent
from microcalc.simulate.placement import Insertion

_REACH_PX = 25
_BLOCK_PX = 8  # of a JPEG file: what changes in a block changes the block


def _source(folder: Path, name: str, intent: Intent) -> ImageRow:
    values = _values(intent)
    file = folder / name
    if file.suffix == ".jpg":
        Image.fromarray(np.clip(values / 8.0, 0, 255).astype(np.uint8)).save(file, quality=90)
    else:
        Image.fromarray(values.astype(np.uint16)).save(file)
    return ImageRow(file.stem, file, intent, (SPACING_MM, SPACING_MM), patient="p", split="train", tags="normal")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("source")
    images = (_source(folder, "raw.png", "raw"), _source(folder, "compressed.jpg", "processed"))
    known = AnnotationRow("raw", 320.0, 150.0, diameter_mm=1.5, kind="coarse", judge="by eye", id="a-1")
    return Table(images, (known,))


@pytest.fixture(scope="module")
def made(source: Table, tmp_path_factory: pytest.TempPathFactory) -> Table:
    out = tmp_path_factory.mktemp("made")
    insert_data_set(source, out, insertion=Insertion(clusters=2, singles=2), twins=True, seed=4)
    return read_table(out)


def _pairs(table: Table) -> list[tuple[ImageRow, ImageRow]]:
    return list(zip(table.images[::2], table.images[1::2], strict=True))


def _near(places: list[tuple[float, float]], shape: tuple[int, ...], reach_px: int) -> np.ndarray:
    near = np.zeros(shape, dtype=bool)
    for row, column in places:
        (top, left) = (max(0, round(v) - reach_px) for v in (row, column))
        near[top : round(row) + reach_px + 1, left : round(column) + reach_px + 1] = True
    return near


def test_each_image_is_followed_by_its_twin_which_is_tagged(made: Table) -> None:
    assert [i.image for i in made.images] == ["raw", "raw-twin", "compressed", "compressed-twin"]
    assert [i.tags for i in made.images] == ["normal", f"normal {TWIN}"] * 2
    assert {(i.patient, i.split) for i in made.images} == {("p", "train")}


def test_what_was_known_of_the_source_is_known_of_both_and_the_table_reads_back(made: Table) -> None:
    known = [(a.image, a.kind, a.id) for a in made.annotations if a.judge == "by eye"]
    assert known == [("raw", "coarse", ""), ("raw-twin", "coarse", "")], "an id is there once, so neither keeps it"


def test_a_twin_says_of_the_same_places_which_microcalcifications_it_lacks(made: Table) -> None:
    for full, twin in _pairs(made):
        before, after = made.rows_of(full), made.rows_of(twin)
        assert [(a.row, a.column) for a in before] == [(a.row, a.column) for a in after]
        clusters = Counter(a.cluster for a in before if a.judge == "inserted")
        lacking = Counter(b.cluster for b, a in zip(before, after, strict=True) if a.judge == LEFT_OUT)
        assert lacking == {name: n // 2 for name, n in clusters.items()}
        assert len(lacking) == 3, "both clusters, and the single ones"
        for b, a in zip(before, after, strict=True):
            if a.judge == LEFT_OUT:
                assert (b.kind, a.kind, a.d_prime, a.cluster) == ("microcalcification", "no_calcium", None, "")
            else:
                assert (a.kind, a.judge, a.d_prime, a.cluster) == (b.kind, b.judge, b.d_prime, b.cluster)


def test_a_twin_differs_from_its_image_at_the_places_it_lacks_and_nowhere_else(made: Table) -> None:
    for full, twin in _pairs(made):
        change = open_row(full).pixels - open_row(twin).pixels
        places = [(a.row, a.column) for a in made.rows_of(twin) if a.judge == LEFT_OUT]
        assert places
        assert not change[~_near(places, change.shape, _REACH_PX + 2 * _BLOCK_PX)].any()
        for row, column in places:
            assert change[round(row) - 1 : round(row) + 2, round(column) - 1 : round(column) + 2].max() > 0


def test_where_a_twin_lacks_a_microcalcification_it_is_its_source_but_for_the_compression(
    source: Table, made: Table
) -> None:
    originals = {i.image: open_row(i).pixels for i in source.images}
    for full, twin in _pairs(made):
        its = made.rows_of(twin)
        untouched = ~_near([(a.row, a.column) for a in its if a.judge == "inserted"], originals["raw"].shape, _REACH_PX)
        lacking = _near([(a.row, a.column) for a in its if a.judge == LEFT_OUT], originals["raw"].shape, _REACH_PX)
        difference = (open_row(twin).pixels - originals[full.image])[lacking & untouched]
        assert difference.size
        assert np.abs(difference).max() <= (0 if full.image == "raw" else 4)


def test_an_image_of_which_nothing_can_be_left_out_has_no_twin(source: Table, tmp_path: Path) -> None:
    alone = Insertion(clusters=0, singles=1)
    table, _ = insert_data_set(Table(source.images[:1]), tmp_path / "out", insertion=alone, twins=True, seed=1)
    assert [i.image for i in table.images] == ["raw"]


def test_without_twins_the_images_are_the_same(source: Table, made: Table, tmp_path: Path) -> None:
    alone = Table(source.images[:1], source.annotations)
    insert_data_set(alone, tmp_path / "out", insertion=Insertion(clusters=2, singles=2), seed=4)
    assert [f.name for f in (tmp_path / "out").glob("*.png")] == ["raw.png"]
    assert (tmp_path / "out" / "raw.png").read_bytes() == made.images[0].file.read_bytes()


@given(st.lists(st.sampled_from(["", "c1", "c2"]), max_size=30), st.integers(0, 1000))
def test_half_of_every_cluster_is_left_out_rounded_down(clusters: list[str], seed: int) -> None:
    left_out = draw_left_out(clusters, np.random.default_rng(seed))
    counts = Counter(clusters)
    assert Counter(clusters[i] for i in left_out) == {name: n // 2 for name, n in counts.items() if n // 2}
