"""Images as the page shows them: opened when asked for, hung by the chest wall, and kept for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from microcalc.viewer.pixels import Pyramid, PyramidCache, make_pyramid, pyramid_of_values

Layer = Literal["image", "normalised", "likelihood"]
LAYERS: Final[tuple[Layer, ...]] = ("image", "normalised", "likelihood")
MOST_BYTES: Final = 320 << 20
_NOISE_RANGE: Final = (-10.0, 40.0)  # noise standard deviations that a normalised image may show
_EDGE_SHARE: Final = 0.1  # of the columns at each side that are compared to find the chest wall (ours)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A pyramid, how the stored picture is mirrored in it, and where it lies in the image.

    Attributes
    ----------
    box
        Left, top, width and height in pixels of the image as it is shown.
    """

    pyramid: Pyramid
    mirror_rows: bool
    mirror_columns: bool
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
        self._placed: dict[str, tuple[bool, bool, tuple[float, float, float, float]]] = {}
        self._models: dict[Intent, Model] = {}

    def describe(self, image: ViewedImage, layer: Layer = "image") -> dict[str, Any]:
        """Return what the page needs to show a layer of an image.

        Raises
        ------
        InputError
            The image cannot be used.
        """
        placed = self._get(image, layer)
        pyramid = placed.pyramid
        document: dict[str, Any] = {
            "key": image.key, "layer": layer, "rows": pyramid.levels[0].shape[0],
            "columns": pyramid.levels[0].shape[1], "levels": len(pyramid.levels), "scale": pyramid.scale,
            "offset": pyramid.offset, "curve": pyramid.curve, "automatic": pyramid.automatic,
            "content": pyramid.content, "box": placed.box,
            "mirror_rows": placed.mirror_rows, "mirror_columns": placed.mirror_columns,
        }  # fmt: skip
        if layer != "image":
            return document
        row = image.row
        return document | {
            "name": image.name, "exam": image.exam, "spacing_mm": row.spacing_mm, "intent": row.intent,
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
        return self._get(image, layer).pyramid.tile(level, column, row).astype("<u2").tobytes()

    def _get(self, image: ViewedImage, layer: Layer) -> _Placed:
        key = f"{image.key} {layer}"
        pyramid = self._cache.get(key, lambda: self._make(image, layer, key))
        return _Placed(pyramid, *self._placed[key])

    def _make(self, image: ViewedImage, layer: Layer, key: str) -> Pyramid:
        opened = self._opened.get(image.row.image)
        mammogram = open_row(image.row) if opened is None else opened
        rows, columns = _mirrored(mammogram, image)
        if layer == "image":
            pyramid = make_pyramid(mammogram, mirror_rows=rows, mirror_columns=columns)
            height, width = mammogram.pixels.shape
            self._placed[key] = rows, columns, (0.0, 0.0, float(width), float(height))
            return pyramid
        model = self._model(mammogram.intent)
        normalised = normalise(mammogram, spacing_mm=model.spacing_mm)
        if layer == "normalised":
            values, value_range = normalised.pixels, _NOISE_RANGE
        else:
            values, value_range = model.scorer.score(normalised).likelihood, (0.0, 1.0)
        values = values[::-1] if rows else values
        values = values[:, ::-1] if columns else values
        self._placed[key] = rows, columns, _box(mammogram, normalised, rows, columns)
        return pyramid_of_values(values, *value_range)

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


def _box(
    mammogram: Mammogram, normalised: NormalisedMammogram, mirror_rows: bool, mirror_columns: bool
) -> tuple[float, float, float, float]:
    """Return left, top, width and height of a normalised image in pixels of the image as it is shown."""
    corners = np.array([(-0.5, -0.5), (normalised.pixels.shape[0] - 0.5, normalised.pixels.shape[1] - 0.5)])
    (top, left), (bottom, right) = mammogram.grid.to_pixels(normalised.grid.to_mm(corners)) + 0.5
    height, width = mammogram.pixels.shape
    return (
        float(width - right if mirror_columns else left),
        float(height - bottom if mirror_rows else top),
        float(right - left),
        float(bottom - top),
    )


def _mirrored(mammogram: Mammogram, image: ViewedImage) -> tuple[bool, bool]:
    """Return whether rows and columns are mirrored so that right and left breast hang chest wall to chest wall."""
    side = image.row.laterality or image.facts.laterality or mammogram.laterality
    wall = image.facts.chest_wall if image.facts.chest_wall in ("left", "right") else _brighter_side(mammogram)
    wanted = {"R": "right", "L": "left"}.get(side or "", wall)
    return image.facts.cranial == "bottom", wall != wanted


def _brighter_side(mammogram: Mammogram) -> Literal["left", "right"]:
    """Return the side with more tissue, where the chest wall of a picture without header is."""
    columns = mammogram.pixels[::8, ::8].mean(axis=0)
    n = max(1, round(len(columns) * _EDGE_SHARE))
    return "left" if columns[:n].mean() >= columns[-n:].mean() else "right"


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
