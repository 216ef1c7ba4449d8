"""The run-time engine that runs exported networks, as it is installed here."""

from __future__ import annotations

import onnxruntime


def engine_providers() -> tuple[str, ...]:
    """Return the engine's execution providers, such as ``"CPUExecutionProvider"``, in its order of preference."""
    return tuple(onnxruntime.get_available_providers())
