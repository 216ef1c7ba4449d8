"""Looks up the images of a table by the identity that detections give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Final

from microcalc.datasets.table import ImageRow, Table
from microcalc.detection.entries import ImageEntry
from microcalc.errors import InputError
from microcalc.geometry import same_spacing


class TableImages:
    """The images of a table, by SOP Instance UID, SHA-256 and name."""

    def __init__(self, table: Table) -> None:
        self._by_uid: Final = {row.sop_instance_uid: row for row in table.images if row.sop_instance_uid}
        self._by_sha256: Final = {row.sha256: row for row in table.images if row.sha256}
        self._by_name: Final = tuple(
            _index(table, key) for key in (lambda row: row.file.name, lambda row: row.image, lambda row: row.file.stem)
        )

    def find(self, entry: ImageEntry, where: str) -> ImageRow | None:
        """Return the image that detections belong to, or None if the table does not have it.

        Images are compared by SOP Instance UID, then by the SHA-256 of the file. Where one side has neither, they are
        compared by name: the name of the file, the name in the table, the name of the file without suffix, in this
        order; a name may also be a SOP Instance UID.

        Parameters
        ----------
        entry
            The image as the detections describe it.
        where
            File and line of the detections, for messages.

        Raises
        ------
        InputError
            A name fits two images, or the image has another size or spacing in the table.
        """
        image = self._by_uid.get(entry.sop_instance_uid or entry.file) or self._by_sha256.get(entry.sha256 or "")
        if image is None:
            image = self._named(entry, where)
        if image is not None:
            _refuse_different(entry, image, where)
        return image

    def describe_unknown(self, entry: ImageEntry) -> str:
        """Return the name of an image that the table lacks, and the difference to an image of the same name, if any."""
        for row in self._by_name[0].get(PurePath(entry.file.replace("\\", "/")).name, ()):
            if entry.shape is not None and row.shape is not None and entry.shape != row.shape:
                sizes = f"{entry.shape[0]} x {entry.shape[1]} pixels, the table's {row.shape[0]} x {row.shape[1]}"
                return f"{entry.file} (another image of that name: {sizes})"
            if _contradicts(entry, row):
                return f"{entry.file} (another image of that name, by SOP Instance UID or content)"
        for index in self._by_name:
            for name in index:
                if name != entry.file and name.casefold() == entry.file.casefold():
                    return f"{entry.file} (the table has {name}, which differs in upper and lower case)"
        return entry.file

    def _named(self, entry: ImageEntry, where: str) -> ImageRow | None:
        base = PurePath(entry.file.replace("\\", "/")).name
        for index, key in zip(self._by_name, (base, entry.file, PurePath(base).stem), strict=True):
            fitting = [row for row in index.get(key, ()) if not _contradicts(entry, row)]
            if len(fitting) > 1:
                raise InputError(
                    f"{where}: {key!r} fits images {fitting[0].image!r} and {fitting[1].image!r}, expected one"
                )
            if fitting:
                return fitting[0]
        return None


def _index(table: Table, key: Callable[[ImageRow], str]) -> Mapping[str, list[ImageRow]]:
    index: dict[str, list[ImageRow]] = {}
    for row in table.images:
        index.setdefault(key(row), []).append(row)
    return index


def _contradicts(entry: ImageEntry, row: ImageRow) -> bool:
    """Return whether both sides identify the image, but differently."""
    if entry.sop_instance_uid and row.sop_instance_uid:
        return entry.sop_instance_uid != row.sop_instance_uid
    return bool(entry.sha256 and row.sha256 and entry.sha256 != row.sha256)


def _refuse_different(entry: ImageEntry, row: ImageRow, where: str) -> None:
    if entry.shape is not None and row.shape is not None and entry.shape != row.shape:
        raise InputError(
            f"{where}: detections on an image of {entry.shape[0]} x {entry.shape[1]} pixels, but image {row.image!r} "
            f"has {row.shape[0]} x {row.shape[1]}, expected detections on the image of the table"
        )
    spacing = entry.pixel_spacing_mm
    if spacing is not None and not same_spacing(spacing, row.spacing_mm):
        raise InputError(
            f"{where}: detections on pixels of {spacing[0]:.4g} x {spacing[1]:.4g} mm, but those of image "
            f"{row.image!r} are {row.spacing_mm[0]:.4g} x {row.spacing_mm[1]:.4g} mm, expected the same"
        )
