"""``microcalc table inbreast`` and the like: the tables of public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from microcalc.cli.options import IntentOption, SpacingOption
from microcalc.cli.output import print_fault, print_line
from microcalc.cli.tables import print_sources
from microcalc.storage.ownership import check_output_folder, output_folder
from microcalc.wording import quantity

if TYPE_CHECKING:
    from microcalc.datasets.public import PublicSet
    from microcalc.domain import Intent
    from microcalc.images.info import ImageInfo


def table_inbreast(folder: Path, /, *, out: Path, pixel_spacing: SpacingOption | None = None) -> int:
    """Make the table of INbreast: single microcalcifications, and clusters with their outlines.

    Parameters
    ----------
    folder
        Folder with INbreast.csv, AllDICOMs and AllXML.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm of files that do not state it.
    """
    from microcalc.datasets.inbreast import read_inbreast

    check_output_folder(out, "table inbreast", inputs=[folder])
    return _written(read_inbreast(folder, _said(pixel_spacing)), out, "table inbreast", [folder])


def table_bmcd(
    folder: Path,
    /,
    *,
    out: Path,
    pixel_spacing: SpacingOption | None = None,
    masks: Path | None = None,
    mask_name: str = "*_MASK",
    patient: str = "",
) -> int:
    """Make the table of BMCD (KIOS): single microcalcifications, from a mask of each mammogram.

    Parameters
    ----------
    folder
        Folder of the mammograms.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm. Required for pictures.
    masks
        Folder of the masks. By default they lie among the mammograms.
    mask_name
        Name of a mask without its suffix, with * for the name of its image. With --masks it may be * alone.
    patient
        Regular expression that finds the patient in the path of an image below the folder, such as P[0-9]+.
    """
    from microcalc.datasets.mask_images import MaskNames, read_bmcd

    inputs = [folder] if masks is None else [folder, masks]
    check_output_folder(out, "table bmcd", inputs=inputs)
    found = read_bmcd(folder, _said(pixel_spacing), MaskNames(mask_name, masks, patient))
    return _written(found, out, "table bmcd", inputs)


def table_bcdr(folder: Path, /, *, out: Path, pixel_spacing: SpacingOption) -> int:
    """Make the table of BCDR, with the outlines of lesions with calcifications, which are regions.

    Parameters
    ----------
    folder
        Folder with bcdr_d01_outlines.csv and the like, and the images where these files say.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm.
    """
    from microcalc.datasets.bcdr import read_bcdr

    check_output_folder(out, "table bcdr", inputs=[folder])
    return _written(read_bcdr(folder, _said(pixel_spacing)), out, "table bcdr", [folder])


def table_masks(
    folder: Path,
    /,
    *,
    out: Path,
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
    masks: Path | None = None,
    mask_name: str = "*_MASK",
    patient: str = "",
    kind: Literal["microcalcification", "calcification_region"] = "microcalcification",
    source: str = "",
    licence: str = "",
) -> int:
    """Make a table of images and masks of equal size, in which each connected component is an annotation.

    Parameters
    ----------
    folder
        Folder of the images.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm. Required for pictures.
    intent
        raw (for processing) or processed (for presentation). Required for pictures.
    masks
        Folder of the masks. By default they lie among the images.
    mask_name
        Name of a mask without its suffix, with * for the name of its image. With --masks it may be * alone.
    patient
        Regular expression that finds the patient in the path of an image below the folder, such as P[0-9]+.
    kind
        What a component is: a single microcalcification, or the region of a lesion.
    source
        Name of the data set, which is kept with each image.
    licence
        Terms of its use, in one line, which are kept with each image.
    """
    from microcalc.datasets.mask_images import MaskNames, read_masks

    inputs = [folder] if masks is None else [folder, masks]
    check_output_folder(out, "table masks", inputs=inputs)
    names = MaskNames(mask_name, masks, patient)
    found = read_masks(folder, _said(pixel_spacing, intent), names, kind=kind, source=source, licence=licence)
    return _written(found, out, "table masks", inputs)


def table_tompei_cmmd(folder: Path, /, *, out: Path, annotations: Path | None = None) -> int:
    """Make the table of CMMD with the outlines of calcifications in TOMPEI-CMMD, which are regions.

    Parameters
    ----------
    folder
        Folder of CMMD. CMMD_clinicaldata_revision.csv, saved from the published spreadsheet, may be there, too.
    out
        Folder for images.csv and annotations.csv.
    annotations
        Folder of TOMPEI-CMMD. By default it is below the folder of CMMD.
    """
    from microcalc.datasets.tompei_cmmd import read_tompei_cmmd

    inputs = [folder] if annotations is None else [folder, annotations]
    check_output_folder(out, "table tompei-cmmd", inputs=inputs)
    return _written(read_tompei_cmmd(folder, annotations), out, "table tompei-cmmd", inputs)


def table_mini_mias(folder: Path, /, *, out: Path) -> int:
    """Make the table of mini-MIAS, digitised film, with circles around calcifications, which are regions.

    Parameters
    ----------
    folder
        Folder with Info.txt and the PGM files.
    out
        Folder for images.csv and annotations.csv.
    """
    from microcalc.datasets.mini_mias import read_mini_mias

    check_output_folder(out, "table mini-mias", inputs=[folder])
    return _written(read_mini_mias(folder), out, "table mini-mias", [folder])


def table_ddsm(folder: Path, /, *, out: Path) -> int:
    """Make the table of DDSM, digitised film, with the outlines of calcifications in its overlays, which are regions.

    Parameters
    ----------
    folder
        Folder of the cases, with .ics and .OVERLAY files and the images as 16-bit PNG or TIFF.
    out
        Folder for images.csv and annotations.csv.
    """
    from microcalc.datasets.ddsm import read_ddsm

    check_output_folder(out, "table ddsm", inputs=[folder])
    return _written(read_ddsm(folder), out, "table ddsm", [folder])


def table_cbis_ddsm(folder: Path, /, *, out: Path, pixel_spacing: SpacingOption | None = None) -> int:
    """Make the table of CBIS-DDSM, digitised film, with the outlines of its masks of calcifications, which are regions.

    Parameters
    ----------
    folder
        Folder with calc_case_description_train_set.csv and its likes, and the DICOM files anywhere below it.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm. Required where the files do not state it, as those published do not.
    """
    from microcalc.datasets.cbis_ddsm import read_cbis_ddsm

    check_output_folder(out, "table cbis-ddsm", inputs=[folder])
    return _written(read_cbis_ddsm(folder, _said(pixel_spacing)), out, "table cbis-ddsm", [folder])


def table_vindr_mammo(folder: Path, /, *, out: Path, pixel_spacing: SpacingOption | None = None) -> int:
    """Make the table of VinDr-Mammo, with the boxes of suspicious calcifications, which are regions.

    Parameters
    ----------
    folder
        Folder with finding_annotations.csv and images.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm of files that do not state it.
    """
    from microcalc.datasets.vindr_mammo import read_vindr_mammo

    check_output_folder(out, "table vindr-mammo", inputs=[folder])
    return _written(read_vindr_mammo(folder, _said(pixel_spacing)), out, "table vindr-mammo", [folder])


def table_embed(folder: Path, /, *, out: Path, pixel_spacing: SpacingOption | None = None) -> int:
    """Make the table of EMBED, with the boxes of calcifications, which are regions.

    Parameters
    ----------
    folder
        Folder with EMBED_OpenData_metadata.csv, EMBED_OpenData_clinical.csv and the DICOM files anywhere below it.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm of files that do not state it.
    """
    from microcalc.datasets.embed import read_embed

    check_output_folder(out, "table embed", inputs=[folder])
    return _written(read_embed(folder, _said(pixel_spacing)), out, "table embed", [folder])


def table_omi_db(folder: Path, /, *, out: Path, pixel_spacing: SpacingOption | None = None) -> int:
    """Make the table of OMI-DB (OPTIMAM), raw and processed, with the boxes of calcifications, which are regions.

    Parameters
    ----------
    folder
        Folder of the clients, with imagedb_CLIENT.json, nbss_CLIENT.json and the DICOM files in folders of studies.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm of files that do not state it.
    """
    from microcalc.datasets.omi_db import read_omi_db

    check_output_folder(out, "table omi-db", inputs=[folder])
    return _written(read_omi_db(folder, _said(pixel_spacing)), out, "table omi-db", [folder])


def _said(pixel_spacing: float | None, intent: Intent | None = None) -> ImageInfo:
    from microcalc.images.info import ImageInfo

    return ImageInfo(None if pixel_spacing is None else (pixel_spacing, pixel_spacing), intent)


def _written(found: PublicSet, out: Path, command: str, inputs: list[Path]) -> int:
    """Write the table, and say what is in it, what is not, and under which terms it may be used."""
    from microcalc.datasets.table_files import write_table

    for problem in found.problems:
        print_fault(problem)
    with output_folder(out, command, inputs=inputs):
        write_table(found.table, out)
    images, annotations = found.table.images, found.table.annotations
    print_line(f"{out}: {quantity(len(images), 'image')}, {quantity(len(annotations), 'annotation')}")
    for note in found.notes:
        print_line(note)
    print_sources(images)
    return 1 if found.problems else 0
