"""Everything that decides what is found in an image: the model, the code, and the options of the call."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from microcalc.models.model import LAPLACIAN, model_sha256
from microcalc.storage.key import code_version

_CODE: Final = (
    "microcalc.images.dicom.read",
    "microcalc.images.picture",
    "microcalc.normalise.mammogram",
    "microcalc.detection.result",
    "microcalc.cnn.scorer",
    "microcalc.cascade.rate",
)
"""The modules that decide, with those that they import, what is found in an image."""


def settings_of(choice: str | Path | None, **options: object) -> dict[str, object]:
    """Return everything that decides what is found in an image.

    Parameters
    ----------
    choice
        See ``Models``.
    options
        Options of the call; those that are None or False are omitted.

    Raises
    ------
    InputError
        The model does not exist.
    """
    model: object = [model_sha256(name) for name in (("raw", "processed") if choice is None else (choice,))]
    return {
        "model": model_sha256(LAPLACIAN) if choice == LAPLACIAN else model,
        "code": code_version(*_CODE),
        **{key: value for key, value in options.items() if value is not None and value is not False},
    }
