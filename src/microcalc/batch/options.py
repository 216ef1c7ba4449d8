"""What a call of ``microcalc detect`` may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from microcalc.domain import Stage
from microcalc.images.info import NO_INFO, ImageInfo

if TYPE_CHECKING:
    from microcalc.reports.cad_report import CodeScheme
    from microcalc.reports.header import ReportKind


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """How images are detected in, and what is written; see ``microcalc detect --help``.

    Attributes
    ----------
    info
        What the caller states of images that do not state it themselves.
    again
        Whether images are tried again that the folder holds the finished results of.
    """

    model: str | None = None
    stage: Stage = "pair"
    whole_image: bool = False
    min_likelihood: float | None = None
    max_candidates: int | None = None
    info: ImageInfo = NO_INFO
    any_view: bool = False
    overlay: bool = True
    again: bool = False
    reports: tuple[ReportKind, ...] = ()
    report_per_image: bool = False
    codes: CodeScheme = "sct"

    def settings(self) -> dict[str, object]:
        """Return the options that decide what is found in an image; None and False: as the model sets it."""
        return {
            "stage": None if self.stage == "pair" else self.stage,
            "whole_image": self.whole_image,
            "min_likelihood": self.min_likelihood,
            "max_candidates": self.max_candidates,
        }
