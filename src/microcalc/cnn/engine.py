"""The run-time engine that runs exported networks, as it is installed here, and kept from reporting its use.

ONNX Runtime from 1.29 on sends data about each session (the model's name and hash, the machine, an identifier that it
keeps in the user's cache) to its maker, unless told otherwise. Nothing of a hospital leaves it by way of this package.

References
----------
https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library is loaded, also by worker processes

import onnxruntime

onnxruntime.disable_telemetry_events()  # another library may have loaded it before

__all__ = ["engine_providers", "onnxruntime"]


def engine_providers() -> tuple[str, ...]:
    """Return the engine's execution providers, such as ``"CPUExecutionProvider"``, in its order of preference."""
    return tuple(onnxruntime.get_available_providers())
