"""``microcalc info`` and ``microcalc doctor``: how a file is read, and what works on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from microcalc.cli.options import ABOUT_IMAGES, IntentOption, Json, SpacingOption
from microcalc.cli.output import PRINTING, print_error, print_fault, print_json, print_line, print_result
from microcalc.errors import InputError, OutputError
from microcalc.wording import quantity

if TYPE_CHECKING:
    from microcalc.batch.describe import Described
    from microcalc.datasets.table import ImageRow

_UNKNOWN = "not stated"


def info(
    files: list[Path],
    /,
    *,
    picture: Path | None = None,
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
    any_view: Annotated[bool, Parameter(group=ABOUT_IMAGES, show_default=False)] = False,
    json: Json = False,
) -> int:
    """Show how mammograms are read, and why detection would refuse them. Nothing is detected.

    The exit code is 1 if an image would be refused.

    Parameters
    ----------
    files
        DICOM mammograms or pictures, or folders of them.
    picture
        PNG file to write: the image, with the outline of the area of the breast that is searched. For one image only.
    pixel_spacing
        Pixel spacing in mm of pictures, and of DICOM files whose header has none.
    intent
        raw (for processing) or processed (for presentation), of pictures.
    any_view
        Accept magnified, stereo and specimen views.
    json
        Print one JSON object per image.
    """
    from microcalc.batch.describe import describe
    from microcalc.batch.inputs import find_inputs
    from microcalc.images.info import ImageInfo

    PRINTING.json = json
    found = find_inputs(files, with_pictures=True)
    paths = [image.file for image in found.images] + [row.file for row in _rows(found.tables)]
    if picture is not None:
        _check_picture(picture, len(paths))
    for problem in found.problems:
        print_fault(str(problem))
    stated = ImageInfo(None if pixel_spacing is None else (pixel_spacing, pixel_spacing), intent)
    if paths and not any(path.exists() for path in paths):
        for path in paths:
            print_error(f"{path.name}: no such file or folder, expected a mammogram")
        return 2
    refused = 0
    for path in paths:
        described = describe(path, stated, any_view=any_view)
        refused += bool(described.description.refused)
        if json:
            print_json(described.description.to_dict())
        else:
            for line in _lines(described):
                print_result(line)
        if picture is not None:
            _write_picture(described, picture)
    if found.problems and not paths:
        return 2
    return 1 if refused or found.problems else 0


def _rows(tables: list[Path]) -> Iterator[ImageRow]:
    from microcalc.cli.options import table_of

    for table in tables:
        yield from table_of(table, "all").images


def doctor(*, json: Json = False) -> int:
    """Check this installation: versions, run-time engine, processor, decoders, extras, validators, shipped models.

    The exit code is 1 if something that detection needs does not work.

    Parameters
    ----------
    json
        Print one JSON object per check.
    """
    from microcalc.cli.installation import checks

    PRINTING.json = json
    broken = 0
    for check in checks():
        broken += check.state == "broken"
        if json:
            print_json({"check": check.name, "state": check.state, "detail": check.detail})
        else:
            print_result(f"{check.state:8} {check.name:22} {check.detail}")
    if broken:
        return print_error(f"{quantity(broken, 'check')} failed: detection does not work on this machine", code=1)
    print_line("Detection works on this machine.")
    return 0


def _check_picture(picture: Path, images: int) -> None:
    from microcalc.batch.folder import is_result

    if images != 1:
        raise InputError(f"--picture: {images} images, expected one")
    if picture.suffix.lower() != ".png":
        raise InputError(f"--picture {picture.name}: expected a name that ends with .png")
    if not picture.parent.is_dir():
        raise InputError(f"--picture: no folder {picture.parent.name}, expected one that exists")
    if picture.exists() and not is_result(picture):
        raise OutputError(f"{picture.name} was not made by microcalc, and is kept; expected another name")


def _write_picture(described: Described, picture: Path) -> None:
    from microcalc.display.overlay import write_overlay

    if described.normalised is not None:
        write_overlay(described.picture(), picture)
        print_line(f"{picture}: the area that is searched")
    else:
        print_error(f"{picture.name}: not written, since the image would be refused")


def _lines(described: Described) -> Iterator[str]:
    d = described.description
    yield f"{d.file}: {'would be refused' if d.refused else 'accepted'}"
    if d.refused:
        yield f"  reason          {d.refused.removeprefix(f'{d.file}: ')}"
    if not d.format:
        return
    spacing = d.pixel_spacing_mm and f"{d.pixel_spacing_mm[0]:g} x {d.pixel_spacing_mm[1]:g} mm"
    edges = {"chest wall": d.chest_wall, "head": d.cranial}
    intents = {"raw": "raw (for processing)", "processed": "processed (for presentation)", None: None}
    entries: Mapping[str, object] = {
        "format": d.format,
        "intent": intents[d.intent],
        "system": d.system,
        "view": d.view,
        "laterality": d.laterality,
        "size": d.rows and f"{d.rows} rows x {d.columns} columns",
        "pixel spacing": spacing and f"{spacing} ({d.pixel_spacing_from})",
        "window": d.window,
        "orientation": ", ".join(f"{name} at the {edge} edge" for name, edge in edges.items() if edge),
        "burned-in text": {True: "yes: it may be detected as calcifications", False: "no", None: None}[d.burned_in],
        "breast": d.breast_area_cm2 and f"{d.breast_area_cm2:g} cm2 are searched",
    }
    for name, value in entries.items():
        yield f"  {name:15} {value or _UNKNOWN}"
    for remark in d.remarks:
        yield f"  {'doubt':15} {remark}"
