"""Detect microcalcifications in the images of one grand-challenge job: the entry of the container.

A job's inputs are listed in ``/input/inputs.json``. Each image lies alone in ``/input/<relative path>/``, as MetaImage
or TIFF; a stack holds one mammogram in each slice. A JSON input whose name is that of an image with ``-metadata``
before ``-stacked`` (or at its end) holds the DICOM attributes of that image, one object for each slice.

Written are, for the images together, in the platform's formats:

``<points>.json``
    Multiple points: the calcifications of all findings and the single ones, with their likelihood.
``<clusters>.json``
    Multiple polygons: the outlines of the findings.
``<detections>.json``
    What ``microcalc detect`` writes, one object for each slice; or the slice's error.

Points are in the world coordinates of the image, in mm. A model's folder in ``/opt/ml/model`` is used in place of
the shipped ones. An image without a stated intent is taken for a processed one (``--intent``).

References
----------
https://grand-challenge.org/documentation/ : sockets, points and polygons, and what a container may do.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813  (its users' name for it)
from PIL import Image

import microcalc
from microcalc.errors import InputError

_SUFFIXES: Final = (".mha", ".mhd", ".tif", ".tiff")
_INTENTS: Final[Mapping[str, Literal["raw", "processed"]]] = {"FOR PROCESSING": "raw", "FOR PRESENTATION": "processed"}
_SIDES: Final[Mapping[str, Literal["L", "R"]]] = {"l": "L", "left": "L", "r": "R", "right": "R"}
_VERSION: Final = {"major": 1, "minor": 0}
_Found = microcalc.Result | InputError


@dataclass(frozen=True, slots=True)
class Slice:
    """Hold one mammogram of a job.

    Attributes
    ----------
    name
        Name of the input and number of the slice, from 0.
    stack
        The image that it is a slice of, (columns, rows) or (columns, rows, slices).
    number
        Of the slice.
    attributes
        DICOM attributes by keyword; empty where the job has none.
    """

    name: str
    stack: sitk.Image
    number: int
    attributes: Mapping[str, Any]

    def to_world(self, row: float, column: float) -> list[float]:
        """Return the place (x, y, z) in mm of a position in pixels."""
        index = (column, row, float(self.number))[: self.stack.GetDimension()]
        place = self.stack.TransformContinuousIndexToPhysicalPoint(index)
        return [*place, 0.0][:3]


def main(arguments: Sequence[str]) -> int:
    """Process one job; return 0, or 2 where the model cannot be loaded or no slice could be analysed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, default=Path("/input"))
    parser.add_argument("--output", type=Path, default=Path("/output"))
    parser.add_argument("--model", type=Path, default=Path("/opt/ml/model"))
    parser.add_argument("--intent", choices=["raw", "processed"], default="processed", help="where the job states none")
    parser.add_argument("--points", default="microcalcifications", help="name of the output socket")
    parser.add_argument("--clusters", default="microcalcification-clusters", help="name of the output socket")
    parser.add_argument("--detections", default="microcalcification-detections", help="name of the output socket")
    asked = parser.parse_args(arguments)
    try:
        slices = list(slices_of(asked.input))
        model = microcalc.load_model(asked.model) if (asked.model / "model.json").is_file() else None
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    found = [_detect(each, model, asked.intent) for each in slices]
    pairs = [(each, result) for each, result in zip(slices, found, strict=True) if not isinstance(result, InputError)]
    points = [point for each, result in pairs for point in _points(each, result)]
    polygons = [polygon for each, result in pairs for polygon in _polygons(each, result)]
    asked.output.mkdir(parents=True, exist_ok=True)
    _write(asked.output / f"{asked.points}.json", {"type": "Multiple points", "points": points, "version": _VERSION})
    content = {"type": "Multiple polygons", "polygons": polygons, "version": _VERSION}
    _write(asked.output / f"{asked.clusters}.json", content)
    _write(asked.output / f"{asked.detections}.json", list(map(_entry, slices, found)))
    return 0 if pairs else 2


def _detect(each: Slice, model: microcalc.Model | None, intent: Literal["raw", "processed"]) -> _Found:
    """Return the result of a slice, or the error that it was refused with."""
    try:
        return microcalc.detect(_read(each, intent), model)
    except InputError as error:
        print(f"{each.name}: {error}", file=sys.stderr)
        return error


def _entry(each: Slice, found: _Found) -> dict[str, Any]:
    if isinstance(found, InputError):
        return {"image": each.name, "error": str(found)}
    return {"image": each.name, "result": found.to_dict()}


def slices_of(folder: Path) -> Iterator[Slice]:
    """Yield the mammograms of a job in the order of its inputs.

    Raises
    ------
    InputError
        There is no readable list of inputs, no image in it, or an image that cannot be read.
    """
    file = folder / "inputs.json"
    try:
        sockets = [entry.get("socket") or entry["interface"] for entry in json.loads(file.read_text(encoding="utf-8"))]
        paths = {str(socket["slug"]): folder / str(socket["relative_path"]) for socket in sockets}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError("inputs.json: no list of inputs, expected the platform's, each with socket and path") from None
    images = {slug: path for slug, path in paths.items() if path.is_dir()}
    if not images:
        raise InputError(f"inputs.json: no image among {len(paths)} inputs, expected one in a folder of its own")
    for slug, path in images.items():
        stack = _image_in(path, slug)
        number = stack.GetSize()[2] if stack.GetDimension() == 3 else 1
        attributes = _attributes(paths, slug, number)
        yield from (Slice(f"{slug}/{n}", stack, n, attributes[n]) for n in range(number))


def _image_in(folder: Path, slug: str) -> sitk.Image:
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in _SUFFIXES)
    if len(files) != 1:
        raise InputError(f"{slug}: {len(files)} images ({', '.join(_SUFFIXES)}), expected one")
    try:
        image = sitk.ReadImage(str(files[0]))
    except RuntimeError:
        raise InputError(f"{slug}: an unreadable image, expected MetaImage or TIFF") from None
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() not in (2, 3):
        raise InputError(f"{slug}: a colour image or one of {image.GetDimension()} dimensions, expected grey slices")
    return image


def _attributes(paths: Mapping[str, Path], slug: str, number: int) -> list[Mapping[str, Any]]:
    """Return the DICOM attributes of each slice of an input; empty ones where the job has none."""
    stem = slug.removesuffix("-stacked")
    names = [f"{stem}-metadata-stacked", f"{stem}-metadata", f"{slug}-metadata"]
    file = next((paths[name] for name in names if name in paths), None)
    if file is None:
        return [{}] * number
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(f"{file.name}: unreadable, expected JSON with the attributes of {slug}") from None
    found = found if isinstance(found, list) else [found]
    if len(found) != number or not all(isinstance(entry, dict) for entry in found):
        raise InputError(f"{file.name}: attributes of {len(found)} images, expected those of {number}, as {slug} has")
    return found


def _read(each: Slice, intent: Literal["raw", "processed"]) -> microcalc.Mammogram:
    """Return a slice as a mammogram, by way of a picture: then it is checked as every picture is."""
    header = each.attributes
    stack = each.stack[:, :, each.number] if each.stack.GetDimension() == 3 else each.stack
    values = sitk.GetArrayFromImage(stack)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if low < 0 or high > 65535 or not np.array_equal(values, np.rint(values)):
        raise InputError(f"values from {low:g} to {high:g}, expected whole numbers from 0 to 65535")
    stated = _INTENTS.get(str(header.get("PresentationIntentType", "")).upper(), intent)
    if stated == "processed" and header.get("PhotometricInterpretation") == "MONOCHROME1":
        values = high - values
    column_mm, row_mm = stack.GetSpacing()[:2]
    words = each.name.lower().replace("/", "-").split("-")
    side = next((_SIDES[w] for w in (str(header.get("ImageLaterality", "")).lower(), *words) if w in _SIDES), None)
    view = header.get("ViewPosition") or next((w.upper() for w in words if w in ("cc", "mlo")), None)
    system = " ".join(str(header[k]) for k in ("Manufacturer", "ManufacturerModelName") if header.get(k)) or None
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "slice.png"
        Image.fromarray(values.astype(np.uint16)).save(picture, compress_level=1)
        mammogram = microcalc.read(
            picture,
            pixel_spacing_mm=(row_mm, column_mm),
            intent=stated,
            system=system,
            view=view,
            laterality=side,
        )
    if (padding := header.get("PixelPaddingValue")) is None:
        return mammogram
    return replace(mammogram, padding=sitk.GetArrayFromImage(stack) == padding)


def _points(each: Slice, result: microcalc.Result) -> Iterator[dict[str, Any]]:
    marks = [c for finding in result.findings for c in finding.calcifications] + list(result.singles)
    for number, mark in enumerate(marks, 1):
        place = each.to_world(mark.row, mark.column)
        yield {"name": f"{each.name}: {number}", "point": place, "probability": mark.likelihood}


def _polygons(each: Slice, result: microcalc.Result) -> Iterator[dict[str, Any]]:
    for number, finding in enumerate(result.findings, 1):
        corners = [each.to_world(row, column) for row, column in finding.outline]
        yield {
            "name": f"{each.name}: {number}",
            "seed_point": corners[0],
            "path_points": corners,
            "sub_type": "",
            "groups": [],
            "probability": finding.likelihood,
        }


def _write(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
