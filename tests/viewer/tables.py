"""Small tables of pictures, detections on them, and servers that show them."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import write_table
from microcalc.images.info import NO_INFO, ImageInfo
from microcalc.viewer.annotations import AnnotationFolder
from microcalc.viewer.serve import guarded
from microcalc.viewer.server import Viewer
from microcalc.viewer.shown import ShownImages
from microcalc.viewer.sources import open_catalogue

SPECKS = ((300, 150), (310, 160), (305, 170), (320, 165))
TOKEN = "a-token-of-this-test"
ORIGIN = "http://127.0.0.1:8080"


def write_picture(file: Path, *, seed: int = 1, shape: tuple[int, int] = (640, 700)) -> None:
    """Half a disc of breast with four specks of one to four pixels."""
    file.write_bytes(_png(seed, shape))


@functools.cache
def _png(seed: int, shape: tuple[int, int]) -> bytes:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    breast = np.hypot(rows - shape[0] / 2, columns) < 280
    noise = np.random.default_rng(seed).normal(0, 4, shape)
    pixels = np.where(breast, 120 - columns / 10 + noise, 0)
    for row, column in SPECKS:
        pixels[row, column] += 100
    content = BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(content, "png")
    return content.getvalue()


def write_images(folder: Path, names: Sequence[str] = ("a", "b"), *, annotated: bool = True) -> Path:
    """A table of processed pictures, the specks of the first of which are annotated as one cluster."""
    folder.mkdir(parents=True, exist_ok=True)
    sides: Sequence[Any] = ("R", "L")
    images = []
    for n, name in enumerate(names):
        write_picture(folder / f"{name}.png", seed=n)
        images.append(
            ImageRow(
                name, folder / f"{name}.png", "processed", (0.1, 0.1), patient=f"P{n // 4}",
                view=("CC", "MLO")[n // 2 % 2],
                laterality=sides[n % 2], rows=640, columns=700,
            )
        )  # fmt: skip
    rows = [AnnotationRow(names[0], *place, 0.2, cluster="one", judge="A. Nnotator") for place in SPECKS]
    write_table(Table(tuple(images), tuple(rows) if annotated else ()), folder)
    return folder


def write_detections(file: Path, image: str, places: Sequence[tuple[float, float, float]], **added: object) -> Path:
    """A detections document whose candidates are one cluster, except for the last."""
    document = {
        "schema": "microcalc/detections/1",
        "image": {"file": f"{image}.png", "rows": 640, "columns": 700, "pixel_spacing_mm": [0.1, 0.1]},
        "operating_point": {"threshold": 0.8, "llf": 0.6, "nlf": 0.2},
        "candidates": [{"row": r, "column": c, "likelihood": p, **added} for r, c, p in places],
        "clusters": [
            {
                "likelihood": 0.9, "finding": True, "members": list(range(len(places) - 1)),
                "outline": [[295, 145], [295, 175], [325, 175], [325, 145]],
            }
        ],
    }  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def viewer_of(*paths: Path, out: Path | None = None, judge: str = "A. Reader", info: ImageInfo = NO_INFO) -> Viewer:
    """Open what a call of ``microcalc view`` shows."""
    catalogue = open_catalogue(paths, info)
    notes = None if out is None else AnnotationFolder(out, catalogue.table, judge)
    return Viewer(catalogue, ShownImages(catalogue), notes)


def client_of(viewer: Viewer, **headers: str) -> TestClient:
    """A client that asks with the token, through the guard."""
    app = guarded(viewer.app(), token=TOKEN, scheme="http", host="127.0.0.1", port=8080)
    return TestClient(app, base_url=f"{ORIGIN}/{TOKEN}/", headers=headers)


def key_of(client: TestClient, name: str) -> str:
    """The key of an image by its name in the table."""
    exams = client.get("api/catalogue").json()["exams"]
    return next(str(image["key"]) for exam in exams for image in exam["images"] if image["name"].endswith(name))
