"""Optional installs, asked for before the work that needs them begins."""

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
}


def require_modules(*modules: str) -> None:
    """Refuse to begin where a library is not installed.

    Raises
    ------
    MissingExtraError
        Names the libraries that are missing, and the extras of microcalc that bring them.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        extras = ",".join(dict.fromkeys(_EXTRA_OF[name] for name in missing))
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(f"{' and '.join(missing)} {verb} not installed, expected microcalc[{extras}]")
