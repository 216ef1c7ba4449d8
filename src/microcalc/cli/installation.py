"""The checks of ``microcalc doctor``."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from microcalc import __version__

_NEEDED: Final = ("cyclopts", "numpy", "onnxruntime", "pillow", "pydantic", "pydicom", "rich", "scipy")
_DECODERS: Final = {"RLE": "pydicom", "JPEG": "gdcm", "JPEG-LS": "jpeg_ls", "JPEG 2000": "openjpeg"}
_EXTRAS: Final = {
    "evaluate": ("matplotlib",),
    "cascade": ("numba",),
    "report": ("highdicom",),
    "parquet": ("pyarrow",),
    "view": ("starlette", "uvicorn"),
    "node": ("highdicom", "pynetdicom", "dicomweb_client", "prometheus_client"),
    "train": ("torch", "onnx", "numba"),
}
_VALIDATORS: Final = {
    "dciodvfy": "dicom3tools: DICOM validity",
    "dsrdump": "dcmtk: structured reports and networking",
    "java": "PixelMed's validator of structured reports",
    "Orthanc": "a PACS",
    "Rscript": "R with pROC: ROC curves",
}
_FLAGS: Final = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Attributes
    ----------
    state
        ``ok``; ``absent``, if something optional is not installed; ``broken``, if something needed does not work.
    """

    name: str
    state: Literal["ok", "absent", "broken"]
    detail: str


def checks() -> Iterator[Check]:
    """Yield the checks as they are done."""
    yield Check("microcalc", "ok", f"{__version__}, Python {platform.python_version()}, {platform.system()}")
    yield from (_library(name) for name in _NEEDED)
    yield _attempt("run-time engine", _engine)
    yield Check("processor", "ok", _processor())
    yield Check("memory", "ok", _memory())
    for kind, module in _DECODERS.items():
        yield _attempt(f"decoder {kind}", lambda module=module: _imported(module))  # type: ignore[misc]
    for model in ("raw", "processed", "cascade"):
        yield _attempt(f"model {model}", lambda model=model: _model(model))  # type: ignore[misc]
    yield from (_extra(name, modules) for name, modules in _EXTRAS.items())
    for tool, purpose in _VALIDATORS.items():
        where = shutil.which(tool)
        yield Check(
            f"validator {tool}", "ok" if where else "absent", where or f"{purpose}; only for the tests of microcalc"
        )


def _library(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "broken", "not installed; install microcalc again")


def _attempt(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except Exception as error:
        return Check(name, "broken", f"{type(error).__name__}: {error}")


def _imported(module: str) -> str:
    importlib.import_module(module)
    return module


def _engine() -> str:
    """Run the shipped networks on a small image; return the engine's version and providers."""
    import numpy as np

    from microcalc.cnn.engine import engine_providers
    from microcalc.domain import NormalisedMammogram
    from microcalc.models.model import load_model, shipped_model

    model = load_model(shipped_model("raw"), threads=1)
    pixels = np.zeros((128, 128), np.float32)
    image = NormalisedMammogram(pixels, pixels == 0, model.scorer.spacing_mm, (0.0, 0.0), "doctor")
    model.scorer.score(image)
    return f"onnxruntime {version('onnxruntime')} runs the shipped networks; {', '.join(engine_providers())}"


def _processor() -> str:
    from microcalc.cnn.precision import processor_flags
    from microcalc.execution.cores import core_count

    flags = processor_flags(Path("/proc/cpuinfo"))
    features = ", ".join(flag for flag in _FLAGS if flag in flags) or "none of " + ", ".join(_FLAGS)
    return f"{platform.machine()}, {core_count()} of {os.cpu_count()} cores; {features}"


def _memory() -> str:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return "not known"
    return f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB free"


def _model(name: str) -> str:
    """Hold the files of a shipped model against the hashes in its description."""
    from microcalc.models.description import DESCRIPTION, CascadeDescription, FileEntry, parse_description
    from microcalc.models.model import shipped_model
    from microcalc.storage.key import file_sha256

    folder = shipped_model(name)
    description = parse_description((folder / DESCRIPTION).read_bytes(), where=f"{name}/{DESCRIPTION}")
    if isinstance(description, CascadeDescription):
        entries: tuple[FileEntry, ...] = (description.cascade,)
    else:
        entries = (description.cnn1, description.cnn2)
    for entry in entries:
        if file_sha256(folder / entry.file) != entry.sha256:
            raise ValueError(f"{name}/{entry.file} was changed: its SHA-256 is not that of {DESCRIPTION}")
    return f"{description.name} {description.version}, files as described"


def _extra(name: str, modules: tuple[str, ...]) -> Check:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        return Check(f"extra {name}", "absent", f"missing: {', '.join(missing)}; pip install 'microcalc[{name}]'")
    return Check(f"extra {name}", "ok", ", ".join(modules))
