"""Check optional dependencies before the work that needs them begins."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from microcalc.errors import MissingExtraError

_EXTRA_OF: Final = {
    "torch": "train",
    "onnx": "train",
    "numba": "cascade",
    "matplotlib": "evaluate",
    "highdicom": "report",
    "pyarrow": "parquet",
    "starlette": "view",
    "uvicorn": "view",
    "distributed": "cluster",
}


def require_modules(*modules: str) -> None:
    """Raise an error if one of the modules is not installed.

    Raises
    ------
    MissingExtraError
        A module is missing; the message names the extra of microcalc that installs it.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        extras = ",".join(dict.fromkeys(_EXTRA_OF[name] for name in missing))
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(f"{' and '.join(missing)} {verb} not installed, expected microcalc[{extras}]")
