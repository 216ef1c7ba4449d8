"""Rules of evaluation by which other publications count, so that their figures can stand beside ours.

What a publication does not state is left as the user sets it. No protocol changes who may be in which split: figures of
INbreast by image, as several publications give them, have most patients in training and test, and are too high.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

ProtocolName = Literal["gravitynet", "hdogreg", "lu-carneiro"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a publication counts.

    Attributes
    ----------
    source
        The publication.
    rules
        Entries of `microcalc.evaluation.matched_images.Rules`.
    figures
        What the publication states, for a person to compare with, and on what.
    """

    source: str
    rules: Mapping[str, Any]
    figures: str


PROTOCOLS: Final[Mapping[ProtocolName, Protocol]] = {
    "gravitynet": Protocol(
        "C. Russo, A. Bria, C. Marrocco, GravityNet for end-to-end small lesion detection, Artif. Intell. Med. 150 "
        "(2024) 102842, and its published settings",
        {"hit_px": 10.0, "false_on": "lesion_free", "mean_up_to": 10.0},
        "mean sensitivity from 0 to 10 false marks per image, on INbreast in two halves by image: nearly all patients "
        "are in both halves",
    ),
    "hdogreg": Protocol(
        "C. Marasinou et al., Segmentation of Breast Microcalcifications: A Multi-Scale Approach, arXiv 2102.00754 "
        "(2021)",
        {"hit_px": 5.0, "hit_iou": 0.3},
        "sensitivity 0.744 at 0.4 false marks per cm²; IoU 0.607 per microcalcification and 0.670 per image",
    ),
    "lu-carneiro": Protocol(
        "Z. Lu, G. Carneiro et al., Multiscale deep learning for microcalcification detection (2016)",
        {},
        "sensitivity 0.40 at 1 and 0.80 at 10 false marks per image, on INbreast; the radius of a hit is not known",
    ),
}
