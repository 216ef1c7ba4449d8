"""Images as the page shows them: opened when asked for, hung by the chest wall, and kept for a while."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from microcalc.datasets.open import open_row
from microcalc.domain import Intent, Mammogram, NormalisedMammogram, Window
from microcalc.errors import InputError
from microcalc.images.dicom.shown import GreyTable, Preset, read_presets
from microcalc.images.open import is_picture
from microcalc.models.model import Model, Models
from microcalc.normalise.mammogram import normalise
from microcalc.viewer.catalogue import Catalogue, ViewedImage
from microcalc.viewer.hanging import Hanging, hanging_of
from microcalc.viewer.pixels import Pyramid, PyramidCache, make_pyramid, pyramid_of_values

Layer = Literal["image", "normalised", "likelihood"]
LAYERS: Final[tuple[Layer, ...]] = ("image", "normalised", "likelihood")
MOST_BYTES: Final = 256 << 20  # seven pictures of 3328 x 4096 pixels
_NOISE_RANGE: Final = (-10.0, 40.0)  # noise standard deviations that a normalised image may show


@dataclass(frozen=True, slots=True)
class _Placed:
    """How a pyramid hangs, and where it lies.

    Attributes
    ----------
    stored
        (rows, columns) of the stored picture.
    box
        Left, top, width and height in pixels of the image as it hangs.
    """

    hanging: Hanging
    stored: tuple[int, int]
    box: tuple[float, float, float, float]


class ShownImages:
    """Opens images and their layers, and keeps those that were shown last.

    Parameters
    ----------
    opened
        Mammograms that need no opening, by the name of the image.
    """

    def __init__(self, catalogue: Catalogue, *, opened: Mapping[str, Mammogram] | None = None) -> None:
        self._catalogue, self._opened = catalogue, opened or {}
        self._cache = PyramidCache(MOST_BYTES)
        self._placed: dict[str, _Placed] = {}
        self._models: dict[Intent, Model] = {}
        # Pictures are decoded one after the other in one thread: each takes a few hundred megabytes for a moment, and
        # the C library keeps some of what each thread has freed.
        self._decoding = ThreadPoolExecutor(1, "decode")

    def describe(self, image: ViewedImage, layer: Layer = "image") -> dict[str, Any]:
        """Return what the page needs to show a layer of an image.

        Raises
        ------
        InputError
            The image cannot be used.
        """
        pyramid, placed = self._get(image, layer)
        document: dict[str, Any] = {
            "key": image.key, "layer": layer, "rows": pyramid.levels[0].shape[0],
            "columns": pyramid.levels[0].shape[1], "levels": len(pyramid.levels), "scale": pyramid.scale,
            "offset": pyramid.offset, "curve": pyramid.curve, "automatic": pyramid.automatic,
            "content": pyramid.content, "box": placed.box,
            "stored": placed.stored, **asdict(placed.hanging),
        }  # fmt: skip
        if layer != "image":
            return document
        row = image.row
        height_mm, width_mm = row.spacing_mm[::-1] if placed.hanging.transposed else row.spacing_mm
        return document | {
            "name": image.name, "exam": image.exam, "spacing_mm": row.spacing_mm, "intent": row.intent,
            "pixel_mm": width_mm, "aspect": height_mm / width_mm,
            "view": row.view or image.facts.view or "", "laterality": row.laterality or image.facts.laterality or "",
            "system": row.system, "presets": [_preset_entry(preset) for preset in self._presets(image)],
        }  # fmt: skip

    def tile(self, image: ViewedImage, layer: Layer, level: int, column: int, row: int) -> bytes:
        """Return the codes of a tile, 16 bits each, the lower byte first.

        Raises
        ------
        InputError
            There is no such tile, or the image cannot be used.
        """
        return self._get(image, layer)[0].tile(level, column, row).astype("<u2").tobytes()

    def _get(self, image: ViewedImage, layer: Layer) -> tuple[Pyramid, _Placed]:
        key = f"{image.key} {layer}"
        pyramid = self._cache.get(key, lambda: self._make(image, layer, key))
        return pyramid, self._placed[key]

    def _make(self, image: ViewedImage, layer: Layer, key: str) -> Pyramid:
        if layer == "image":
            return self._decoding.submit(self._make_image, image, key).result()
        mammogram = self._open(image)
        hanging, shape = hanging_of(mammogram, image), mammogram.pixels.shape
        model = self._model(mammogram.intent)
        normalised = normalise(mammogram, spacing_mm=model.spacing_mm)
        if layer == "normalised":
            values, value_range = normalised.pixels, _NOISE_RANGE
        else:
            values, value_range = model.scorer.score(normalised).likelihood, (0.0, 1.0)
        self._placed[key] = _Placed(hanging, shape, hanging.box(*_corners(mammogram, normalised), shape))
        return pyramid_of_values(hanging.hang(values), *value_range)

    def _make_image(self, image: ViewedImage, key: str) -> Pyramid:
        mammogram = self._open(image)
        hanging, shape = hanging_of(mammogram, image), mammogram.pixels.shape
        self._placed[key] = _Placed(hanging, shape, hanging.box((0, 0), shape, shape))
        return make_pyramid(hanging.hang(mammogram.pixels), mammogram.intent)

    def _open(self, image: ViewedImage) -> Mammogram:
        opened = self._opened.get(image.row.image)
        return open_row(image.row) if opened is None else opened

    def _presets(self, image: ViewedImage) -> tuple[Preset, ...]:
        opened = self._opened.get(image.row.image)
        if opened is not None:
            window = opened.window if opened.intent == "processed" else None
            return () if window is None else (Preset("window", window),)
        try:
            return () if is_picture(image.row.file) else read_presets(image.row.file)
        except InputError:
            return ()

    def _model(self, intent: Intent) -> Model:
        """Return the model of a run that was given, if one fits, and else the shipped one."""
        if intent not in self._models:
            for folder in reversed(self._catalogue.models):
                try:
                    self._models[intent] = Models(folder).of(intent)
                    break
                except InputError:
                    continue
            else:
                self._models[intent] = Models().of(intent)
        return self._models[intent]


def _corners(mammogram: Mammogram, normalised: NormalisedMammogram) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (row, column) of two corners of a normalised image in pixels of the stored picture."""
    height, width = normalised.pixels.shape
    edges = np.array([(-0.5, -0.5), (height - 0.5, width - 0.5)])
    (top, left), (bottom, right) = (mammogram.grid.to_pixels(normalised.grid.to_mm(edges)) + 0.5).tolist()
    return (top, left), (bottom, right)


def _preset_entry(preset: Preset) -> dict[str, Any]:
    grey = preset.grey
    if isinstance(grey, Window):
        return {"name": preset.name, "kind": grey.function, "centre": grey.centre, "width": grey.width}
    assert isinstance(grey, GreyTable)
    return {
        "name": preset.name,
        "kind": "table",
        "first": grey.first,
        "step": grey.step,
        "levels": grey.levels.tolist(),
    }
