"""Check optional dependencies before the work that needs them begins."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from microcalc.errors import MissingExtraError

EXTRA_OF: Final = {
    "torch": "train",
    "onnx": "train",
    "matplotlib": "evaluate",
    "highdicom": "report",
    "pynetdicom": "node",
    "dicomweb_client": "node",
    "prometheus_client": "node",
    "requests": "node",
    "numba": "cascade",
    "pyarrow": "parquet",
    "starlette": "view",
    "uvicorn": "view",
    "dask": "cluster",
    "distributed": "cluster",
}
"""The extra of microcalc that installs a module."""


def require_modules(*modules: str) -> None:
    """Raise an error if one of the modules is not installed.

    Raises
    ------
    MissingExtraError
        A module is missing; the message names the extra of microcalc that installs it.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        extras = ",".join(dict.fromkeys(EXTRA_OF[name] for name in missing))
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(f"{' and '.join(missing)} {verb} not installed, expected microcalc[{extras}]")
