"""Read OMI-DB (OPTIMAM): raw and processed mammograms of screening, with boxes that readers drew.

``<client>/imagedb_<client>.json`` has the marks of each image (``STUDIES``, then study, series, image and mark),
``<client>/nbss_<client>.json`` the lesions of each breast, and ``<client>/<study>/<image>.dcm`` is the image; the two
kinds of files may lie in two folders. A mark is a box with flags, which are set or have no value; none says no. Marks
with a flag for calcifications are regions; those with other flags are passed over.

Readers marked one of the images of a view. An image without marks has those of an image that it was made from, or that
was made from it, of the same size. Else it is left out where another of its view is marked, or where its breast has a
lesion: where that lies in it is not known. So are images with a mark without a flag.

References
----------
Halling-Brown MD et al., Radiology: Artificial Intelligence 3 (2021) e200103, doi 10.1148/ryai.2020200103.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from microcalc.datasets.lines import number_of
from microcalc.datasets.public import PublicSet, Reading, box, counted, files_below, region
from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.errors import TableError
from microcalc.images.info import NO_INFO, ImageInfo

SOURCE: Final = "OMI-DB"
LICENCE: Final = (
    "OPTIMAM Mammography Image Database: given under a licence agreement, for its purpose only, not to be passed on. "
    "Cite Halling-Brown MD et al., Radiology: Artificial Intelligence 3 (2021) e200103, doi 10.1148/ryai.2020200103."
)
_NAME: Final = re.compile(r"imagedb_(.+)", re.IGNORECASE)
_UID: Final = re.compile(r"\d+(\.\d+)+")
_CALCIUM: Final = {
    "SuspiciousCalcifications": "suspicious", "WithCalcification": "with-calcification",
    "OtherBenignCluster": "benign-cluster", "Dystrophic": "dystrophic", "MilkOfCalcium": "milk-of-calcium",
    "SutureCalcification": "suture", "Vascular": "vascular", "PlasmaCellMastitis": "plasma-cell-mastitis",
}  # fmt: skip
_OTHERS: Final = ("Mass", "ArchitecturalDistortion", "FocalAsymmetry", "FatNecrosis", "Skin")
_NOT_SET: Final = ("", "0", "false", "no", "n", "none", "null")
_EDGES: Final = ("Y1", "X1", "Y2", "X2")
_SIDES: Final = frozenset("LR")

_Object = Mapping[str, Any]
"""An object of a JSON file."""


@dataclass(frozen=True, slots=True)
class _View:
    """One image of a client; ``marks`` by their names, as the file has them."""

    image: ImageRow
    study: str
    marks: _Object
    sources: frozenset[str]

    def shows_the_breast_of(self, other: _View) -> bool:
        """Return whether two images are of one view in one study."""
        return (self.study, self.image.laterality, self.image.view) == (
            other.study, other.image.laterality, other.image.view
        )  # fmt: skip

    def has_the_pixels_of(self, other: _View) -> bool:
        """Return whether one of two images was made from the other, pixel by pixel."""
        made = self.image.sop_instance_uid in other.sources or other.image.sop_instance_uid in self.sources
        return made and (self.image.shape, self.image.spacing_mm) == (other.image.shape, other.image.spacing_mm)


def read_omi_db(folder: Path, said: ImageInfo = NO_INFO) -> PublicSet:
    """Read OMI-DB.

    Parameters
    ----------
    said
        Pixel spacing of files that do not state it.

    Raises
    ------
    TableError
        There is no list of images, or no image can be used.
    """
    reading = Reading(SOURCE, LICENCE, said)
    texts = files_below(folder, ".json")
    clients = {file: name[1] for file in texts if (name := _NAME.fullmatch(file.stem))}
    if not clients:
        raise TableError(
            f"{folder.resolve().name}: no file such as imagedb_CLIENT.json, expected the folders of clients"
        )
    nbss = {file.stem.lower(): file for file in texts if file.stem.lower().startswith("nbss_")}
    files = {(file.parent.name, file.stem): file for file in files_below(folder, ".dcm")}
    left_out = Counter[str]()
    absent: list[str] = []
    listed = set[tuple[str, str]]()
    others = 0
    for client_file, client in clients.items():
        with reading.leaving_out(client_file):
            images = list(_images(_loaded(client_file), client_file.name))
            listed |= {(study, image) for study, image, _ in images}
            absent += [image for study, image, _ in images if (study, image) not in files]
            breasts = _breasts_with_lesions(reading, nbss.get(f"nbss_{client.lower()}"), client)
            views = _views(reading, folder, client, images, files)
            others += sum(_add(reading, view, views, breasts, left_out) for view in views)
    reading.absent(absent, "the lists name images that are not there")
    reading.absent((f.name for key, f in files.items() if key not in listed), "images that no list names")
    for reason, count in left_out.items():
        reading.notes += counted(count, "image", f"left out: {reason}")
    reading.notes += counted(others, "mark", "of masses and other lesions passed over")
    return reading.done(folder, content_of=reading.instance_of)


def _loaded(file: Path) -> _Object:
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise TableError(f"{file.name}: {error.strerror}, expected JSON") from error
    except (ValueError, RecursionError):
        raise TableError(f"{file.name}: not JSON, expected the description of a client") from None
    return _object(found, file.name)


def _object(value: object, where: str) -> _Object:
    if not isinstance(value, dict):
        raise TableError(f"{where}: found {type(value).__name__}, expected an object of JSON")
    return value


def _images(client: _Object, where: str) -> Iterator[tuple[str, str, _Object]]:
    """Yield study, image and marks; beside series, a study has texts such as its date."""
    for study, of_study in _object(client.get("STUDIES") or {}, f"{where} STUDIES").items():
        for series, of_series in _object(of_study or {}, f"{where} study").items():
            if _UID.fullmatch(series) and isinstance(of_series, dict):
                for image, marks in of_series.items():
                    yield study, image, _object(marks or {}, f"{where} image {image}")


def _breasts_with_lesions(reading: Reading, file: Path | None, client: str) -> frozenset[str]:
    """Return the breasts with a lesion in any episode: both where the list of the client's lesions is not there."""
    if file is None:
        reading.absent([f"nbss_{client}.json"], "a list of lesions is not there")
        return _SIDES
    episodes = (episode for episode in _loaded(file).values() if isinstance(episode, dict))
    lesions = [_object(episode.get("LESION") or {}, f"{file.name} LESION") for episode in episodes]
    return frozenset(side for of_episode in lesions for side in _SIDES if of_episode.get(side))


def _views(
    reading: Reading, folder: Path, client: str, images: Iterable[tuple[str, str, _Object]],
    files: Mapping[tuple[str, str], Path],
) -> list[_View]:  # fmt: skip
    views = []
    for study, name, marks in images:
        file = files.get((study, name))
        if file is not None:
            with reading.leaving_out(file):
                path = file.relative_to(folder).with_suffix("").as_posix()
                image, facts = reading.described(file)
                image = replace(image, image=path, patient=f"omi-{client}")
                views.append(_View(image, study, marks, facts.sources))
    return views


def _add(reading: Reading, view: _View, views: Sequence[_View], breasts: frozenset[str], left_out: Counter[str]) -> int:
    """Add an image with its regions, or count why it is left out; return how many marks of other lesions it has."""
    marks = view.marks or next((v.marks for v in views if v.marks and v.has_the_pixels_of(view)), {})
    others = 0
    with reading.leaving_out(view.image.file):
        reason = _why_unclear(view, marks, views, breasts)
        if reason:
            left_out[reason] += 1
            return 0
        regions = [row for mark in marks.values() if (row := _region(mark, view.image)) is not None]
        reading.add(view.image, regions)
        others += len(marks) - len(regions)
    return others


def _why_unclear(view: _View, marks: _Object, views: Sequence[_View], breasts: frozenset[str]) -> str:
    """Return why it is not known what an image shows; empty where it is."""
    described = (_object(mark, view.image.file.name) for mark in marks.values())
    if not all(_is_set(mark, (*_CALCIUM, *_OTHERS)) for mark in described):
        return "a mark that does not say what it shows"
    if not marks and any(v.marks and v.shows_the_breast_of(view) for v in views):
        return "no mark, though another image of the view has one"
    if not marks and (view.image.laterality in breasts or (breasts and not view.image.laterality)):
        return "no mark, though the breast has a lesion"
    return ""


def _is_set(mark: _Object, keys: Iterable[str]) -> bool:
    return any(str(mark.get(key) or "").strip().lower() not in _NOT_SET for key in keys)


def _region(mark: _Object, image: ImageRow) -> AnnotationRow | None:
    """Return the region of a mark of calcifications; None for one of another lesion."""
    where = f"{image.file.name} mark {str(mark.get('MarkID', ''))[:20]}"
    words = " ".join(word for key, word in _CALCIUM.items() if _is_set(mark, (key,)))
    if not words:
        return None
    y1, x1, y2, x2 = (number_of(str(mark.get(edge, "")), edge, where) for edge in _EDGES)
    corners = box(min(y1, y2), min(x1, x2), max(y1, y2), max(x1, x2), where)
    return region(corners, image, judge=SOURCE, morphology=words, where=where)
