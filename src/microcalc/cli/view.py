"""``microcalc view``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from microcalc.cli.options import (
    ABOUT_IMAGES,
    Flag,
    IntentOption,
    LateralityOption,
    SpacingOption,
    refuse_beside,
    whole,
)
from microcalc.cli.output import print_fault, print_line, print_more_faults, print_result

_SERVER = Group("Server", sort_key=50)
_Port = Annotated[int, Parameter(converter=whole, validator=Number(gte=0, lte=65535), group=_SERVER)]
_Server = Parameter(group=_SERVER)
_ServerFlag = Annotated[bool, Parameter(group=_SERVER, show_default=False)]
_Described = Parameter(group=ABOUT_IMAGES)


def view(
    paths: list[Path],
    /,
    *,
    out: Path | None = None,
    judge: Annotated[str, Parameter(show_default=False)] = "",
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
    view: Annotated[str | None, _Described] = None,
    laterality: Annotated[LateralityOption | None, _Described] = None,
    show_identity: Flag = False,
    no_browser: _ServerFlag = False,
    host: Annotated[str, _Server] = "127.0.0.1",
    port: _Port = 0,
    certificate: Annotated[Path | None, _Server] = None,
    key: Annotated[Path | None, _Server] = None,
    insecure: _ServerFlag = False,
) -> int:
    """Show mammograms, marks and annotations in the browser; with --out also annotate. Needs microcalc[view].

    Everything is served from this computer to the address printed, until Ctrl-C; nothing is loaded from elsewhere.
    Press ? in the page for its keys.

    Parameters
    ----------
    paths
        What to show together: DICOM mammograms, pictures, folders of these, tables (images.csv), results of microcalc
        detect, CAD reports (DICOM SR) or CSV files of marks on these images, runs of microcalc train, studies.
    out
        Folder for annotations: new, empty, or of earlier calls. It is a table that every command takes.
    judge
        Name of the person who annotates. Required with --out.
    pixel_spacing
        Pixel spacing in mm. Required for pictures outside tables.
    intent
        raw (for processing) or processed (for presentation). Required for pictures outside tables.
    view
        View: CC, MLO, ...
    laterality
        Laterality of the breast.
    show_identity
        Show names and IDs of patients and of files as they are. By default the page shows neither.
    no_browser
        Do not open the browser.
    host
        Address to listen at. Others than this computer's own need --certificate and --key, or --insecure.
    port
        TCP port to listen at. By default (0) any that is free.
    certificate
        File with the certificate of the server (PEM), for TLS.
    key
        File with the private key of the certificate (PEM).
    insecure
        Listen at an address that others can reach without TLS.
    """
    from microcalc.errors import InputError
    from microcalc.extras import require_modules

    require_modules("starlette", "uvicorn")
    from microcalc.images.info import ImageInfo
    from microcalc.viewer.annotations import AnnotationFolder, check_annotation_folder, check_words
    from microcalc.viewer.serve import Address, check_address, serve
    from microcalc.viewer.server import Viewer
    from microcalc.viewer.shown import ShownImages
    from microcalc.viewer.sources import open_catalogue

    address = Address(host, port, certificate, key)
    check_address(address, insecure=insecure)
    if out is None:
        refuse_beside("a view without --out", judge=judge or None)
    else:
        check_annotation_folder(out, paths)
        if not judge:
            raise InputError("--out: annotations need the name of their reader, expected --judge NAME")
        check_words(judge, "--judge")
    info = ImageInfo(None if pixel_spacing is None else (pixel_spacing, pixel_spacing), intent, None, view, laterality)
    catalogue = open_catalogue(paths, info, show_identity=show_identity)
    notes = None if out is None else AnnotationFolder(out, catalogue.table, judge)
    if notes is not None:
        print_line(f"annotations: {notes.folder}")
        if notes.taken_over:
            print_line(f"changed by hand and taken over: {notes.taken_over}")
    viewer = Viewer(catalogue, ShownImages(catalogue), notes, show_identity)
    for problem in catalogue.problems:
        print_fault(viewer.hide_identity(problem))
    print_more_faults()
    with contextlib.suppress(KeyboardInterrupt):
        serve(viewer, address, browser=not no_browser, ready=print_result)
    return 1 if catalogue.problems else 0
