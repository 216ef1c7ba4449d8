"""Find microcalcifications in digital mammograms of any vendor. For research use only; not for diagnosis.

>>> import microcalc
>>> mammogram = microcalc.read("view.dcm")
>>> result = microcalc.detect(mammogram)
>>> for finding in result.findings:
...     print(f"{len(finding.calcifications)} calcifications, likelihood {finding.likelihood:.1f}")
28 calcifications, likelihood 1.0

`read` a mammogram; `detect` in it, with a model of your own from `load_model` if you like; `show` it with its
findings on axes, or `view` them in the browser; or `detect_all` in many files. Nothing is written. Errors are
`MicrocalcError` and its subclasses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microcalc.batch.many import detect_all
    from microcalc.detection.result import Calcification, Finding, Result
    from microcalc.display.show import show
    from microcalc.domain import Mammogram, OperatingPoint
    from microcalc.errors import (
        BatchError,
        InputError,
        MicrocalcError,
        MissingExtraError,
        MissingSpacingError,
        NoBreastError,
        NotAMammogramError,
        UnreadableImageError,
        UnsupportedViewError,
    )
    from microcalc.execution.cluster import Cluster
    from microcalc.execution.executor import Processes, Serial
    from microcalc.images.info import ImageInfo
    from microcalc.images.open import read
    from microcalc.models.model import Model, load_model
    from microcalc.pipeline import detect
    from microcalc.viewer.notebook import view

__version__ = "0.1.0"

__all__ = [
    "read",
    "detect",
    "load_model",
    "show",
    "view",
    "detect_all",
    "Mammogram",
    "ImageInfo",
    "Model",
    "OperatingPoint",
    "Result",
    "Finding",
    "Calcification",
    "Serial",
    "Processes",
    "Cluster",
    "MicrocalcError",
    "InputError",
    "UnreadableImageError",
    "NotAMammogramError",
    "UnsupportedViewError",
    "MissingSpacingError",
    "NoBreastError",
    "BatchError",
    "MissingExtraError",
]

# Imported when first used: the command line, and ``import microcalc``, answer at once.
_MODULE_OF = {
    "read": "images.open",
    "detect": "pipeline",
    "load_model": "models.model",
    "show": "display.show",
    "view": "viewer.notebook",
    "detect_all": "batch.many",
    "Mammogram": "domain",
    "ImageInfo": "images.info",
    "Model": "models.model",
    "OperatingPoint": "domain",
    "Result": "detection.result",
    "Finding": "detection.result",
    "Calcification": "detection.result",
    "Serial": "execution.executor",
    "Processes": "execution.executor",
    "Cluster": "execution.cluster",
}


if not TYPE_CHECKING:  # a type checker sees the imports above, and refuses names that do not exist

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"microcalc.{_MODULE_OF.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
