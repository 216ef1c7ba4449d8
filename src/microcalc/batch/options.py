"""What a call of ``microcalc detect``, or of ``detect_all``, may change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from microcalc.detection.options import check_options
from microcalc.domain import BenignFindings, Device, Stage
from microcalc.images.info import NO_INFO, ImageInfo

if TYPE_CHECKING:
    from microcalc.reports.cad_report import CodeScheme
    from microcalc.reports.header import ReportKind


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How an image is read and searched, whatever the model; small values only, which travel to other processes.

    Attributes
    ----------
    info, any_view
        See ``open_mammogram``; they have no effect on a line of a table.
    whole_image, min_likelihood, max_candidates, benign
        See ``pipeline.detect``.

    Raises
    ------
    InputError
        An option is out of its range.
    """

    info: ImageInfo = NO_INFO
    any_view: bool = False
    whole_image: bool = False
    min_likelihood: float | None = None
    max_candidates: int | None = None
    benign: BenignFindings = "show"

    def __post_init__(self) -> None:
        """Refuse what no image can be searched with."""
        check_options(min_likelihood=self.min_likelihood, max_candidates=self.max_candidates, benign=self.benign)


ALL_DEFAULTS: Final = ImageOptions()


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """How images are detected in, and what is written; see ``microcalc detect --help``.

    Attributes
    ----------
    again
        Whether images are tried again that the folder holds the finished results of.
    """

    model: str | None = None
    stage: Stage = "pair"
    device: Device = "cpu"
    image: ImageOptions = ALL_DEFAULTS
    overlay: bool = True
    again: bool = False
    reports: tuple[ReportKind, ...] = ()
    report_per_image: bool = False
    codes: CodeScheme = "sct"

    def settings(self) -> dict[str, object]:
        """Return the options that decide what is found in an image; None and False: as the model sets it."""
        return {
            "stage": None if self.stage == "pair" else self.stage,
            "device": None if self.device == "cpu" else self.device,
            "whole_image": self.image.whole_image,
            "min_likelihood": self.image.min_likelihood,
            "max_candidates": self.image.max_candidates,
            "benign": None if self.image.benign == "show" else self.image.benign,
        }
