"""What networks are trained on; this module does not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from microcalc.domain import Device


@dataclass(frozen=True, slots=True)
class Hardware:
    """What networks are trained on.

    Attributes
    ----------
    device
        ``"cpu"`` or ``"cuda"``.
    gpus
        Number of GPUs, each with a process of its own.
    """

    device: Device = "cpu"
    gpus: int = 1


ON_PROCESSOR: Final = Hardware()
