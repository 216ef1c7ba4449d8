"""A mammogram and its findings in the viewer's page, from Python."""

from __future__ import annotations

import atexit
import queue
import tempfile
import threading
from pathlib import Path

from microcalc.datasets.table import ImageRow, Table
from microcalc.detection.result import Result, write_result
from microcalc.domain import Mammogram
from microcalc.errors import InputError
from microcalc.extras import require_modules
from microcalc.images.dicom.shown import ExamFacts
from microcalc.viewer.catalogue import Catalogue, DetectionFiles, group_into_exams

_WAIT_S = 60.0
_NAME = "mammogram"  # the name of a file may be that of a patient


def view(mammogram: Mammogram, result: Result | None = None, *, browser: bool = True) -> str:
    """Show a mammogram with its findings in the browser, in the page of ``microcalc view``.

    The page is served from this process, to this computer alone, until the process ends.

    Parameters
    ----------
    mammogram
        As ``read`` returns it.
    result
        What ``detect`` found in it; None: the mammogram alone.
    browser
        Whether to open the address in the browser.

    Returns
    -------
    str
        The address of the page. It holds the token without which nothing is answered.

    Raises
    ------
    InputError
        The first argument is no mammogram, or the result is of an image of another size.
    MissingExtraError
        ``microcalc[view]`` is not installed.

    Examples
    --------
    >>> mammogram = microcalc.read("view.dcm")
    >>> address = microcalc.view(mammogram, microcalc.detect(mammogram), browser=False)
    >>> address.startswith("http://127.0.0.1:")
    True
    """
    require_modules("starlette", "uvicorn")
    from microcalc.viewer.serve import Address, serve
    from microcalc.viewer.server import Viewer
    from microcalc.viewer.shown import ShownImages

    _check_mammogram(mammogram)
    rows, columns = mammogram.pixels.shape
    if result is not None and result.image.shape not in (None, (rows, columns)):
        raise InputError(
            f"a result of an image of {result.image.shape} pixels, expected one of {(rows, columns)} pixels"
        )
    row = ImageRow(
        _NAME, Path(_NAME), mammogram.intent, mammogram.spacing_mm, view=mammogram.view or "",
        laterality=mammogram.laterality or "", system=mammogram.system or "", rows=rows, columns=columns,
    )  # fmt: skip
    wall, upper = (None, None) if mammogram.orientation is None else (
        mammogram.orientation.chest_wall, mammogram.orientation.upper(mammogram.laterality),
    )  # fmt: skip
    exams = group_into_exams([row], [ExamFacts(chest_wall=wall, upper=upper)], show_identity=False)
    detectors = () if result is None else (_detector(row.image, result),)
    catalogue = Catalogue(exams, Table((row,)), detectors)
    viewer = Viewer(catalogue, ShownImages(catalogue, opened={row.image: mammogram}))
    printed: queue.Queue[str] = queue.Queue()
    options = {"browser": browser, "ready": printed.put}
    threading.Thread(target=serve, args=(viewer, Address()), kwargs=options, daemon=True).start()
    return printed.get(timeout=_WAIT_S)


def _check_mammogram(given: object) -> None:
    if not isinstance(given, Mammogram):
        raise InputError(
            f"view of a {type(given).__name__}, expected view(mammogram, result) with what microcalc.read returns"
        )


def _detector(image: str, result: Result) -> DetectionFiles:
    """Return a result as a detector's file, in a folder that is removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="microcalc-view-")
    atexit.register(folder.cleanup)
    file = Path(folder.name) / "result.json"
    write_result(result, file)
    name = "result" if result.model is None else result.model.name
    return DetectionFiles("d0", name, file, {image: file})
