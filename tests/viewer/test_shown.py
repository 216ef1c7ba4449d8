"""Images are opened when asked for, without more memory than one at a time takes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.viewer.tables import viewer_of, write_images

from microcalc.datasets.open import open_row
from microcalc.datasets.table import ImageRow
from microcalc.domain import Mammogram
from microcalc.viewer import shown


def test_pictures_that_are_asked_for_at_once_are_decoded_one_after_the_other_in_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    opening = threading.Semaphore(1)

    def open_alone(row: ImageRow) -> Mammogram:
        assert opening.acquire(blocking=False), "another picture is being opened"
        threads.append(threading.get_ident())
        mammogram = open_row(row)
        opening.release()
        return mammogram

    monkeypatch.setattr(shown, "open_row", open_alone)
    viewer = viewer_of(write_images(tmp_path / "t", "abcdef"))
    images = list(viewer.catalogue.images)
    with ThreadPoolExecutor(8) as pool:
        described = list(pool.map(viewer.images.describe, [*images, *images]))
    assert [entry["key"] for entry in described] == [image.key for image in images] * 2
    assert len(threads) == len(images)  # each once
    assert len(set(threads)) == 1
