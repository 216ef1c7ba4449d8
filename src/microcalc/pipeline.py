"""The method on one page: read, normalise, score, group, report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.domain import Intent, PixelScorer, Stage

if TYPE_CHECKING:
    from microcalc.models.model import Model


def choose_model(choice: str | None, *, threads: int = 0, stage: Stage = "pair") -> Callable[[Intent], Model]:
    """What gives every image its model: by default the shipped one for its intent; see ``models.model``.

    Parameters
    ----------
    choice
        Name of a shipped model, "log", or a model's folder; None: by the image's intent.
    threads
        Of the scorer; 0: all cores.
    stage
        ``"cnn1"`` rates by the first network alone.
    """
    from microcalc.models import model

    return model.choose_model(choice, threads=threads or os.cpu_count() or 1, stage=stage, open_cascade=open_cascade)


def open_cascade(file: Path, threads: int) -> PixelScorer:
    """What ``models.model.load_model`` opens the file of a cascade with."""
    from microcalc.cascade.cascade import load_cascade
    from microcalc.cascade.rate import CascadeScorer  # brings the compiler

    return CascadeScorer(load_cascade(file), threads=threads)
