"""The nouns of the method, one per stage.

``Mammogram → NormalisedMammogram → Candidates → Cluster → detection.result.Result``: a step
cannot be skipped, because the next function does not take the earlier type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from microcalc.geometry import Grid, Points

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]

Intent = Literal["raw", "processed"]
"""DICOM's FOR PROCESSING and FOR PRESENTATION."""
Laterality = Literal["L", "R"]
Distribution = Literal["grouped", "linear", "segmental", "regional", "diffuse"]
"""How the calcifications of a cluster are distributed (BI-RADS)."""
Stage = Literal["pair", "cnn1"]
"""Which networks rate pixels: both, or the first alone, for comparison."""
Device = Literal["cpu", "cuda"]
"""What networks run on: the processor, or a GPU."""

Edge = Literal["left", "right", "top", "bottom"]
"""An edge of the stored picture: ``top`` is row 0, ``left`` is column 0."""


class Orientation(NamedTuple):
    """The patient's directions along the rows and columns of the stored image (DICOM PS3.3 C.7.6.1.1.1).

    Each is one to three letters, the main direction first: A anterior, P posterior, L and R
    the patient's left and right, H head, F foot.

    Attributes
    ----------
    right
        The patient's direction at the right edge: where columns count upwards to.
    bottom
        The patient's direction at the bottom edge: where rows count upwards to.
    """

    right: str
    bottom: str

    @property
    def chest_wall(self) -> Edge | None:
        """Return the edge at the chest wall (posterior); None where neither direction is posterior or anterior."""
        return self.edge_of("P")

    @property
    def cranial(self) -> Edge | None:
        """Return the edge towards the head; None in a view from above, such as CC."""
        return self.edge_of("H")

    def upper(self, laterality: Laterality | None) -> Edge | None:
        """Return the edge that hangs at the top: the cranial one or, in a view from above such as CC, the lateral one.

        >>> Orientation("A", "F").upper("L"), Orientation("A", "R").upper("L"), Orientation("A", "R").upper("R")
        ('top', 'top', 'bottom')
        """
        if {self.right[:1], self.bottom[:1]} & {"H", "F"}:
            return self.edge_of("H")
        return None if laterality is None else self.edge_of(laterality)

    def edge_of(self, direction: Literal["A", "P", "L", "R", "H", "F"]) -> Edge | None:
        """Return the edge that a patient's direction points to: where it is the main one, else where it is one at all.

        >>> Orientation("A", "FR").edge_of("H"), Orientation("P", "HL").edge_of("P")
        ('top', 'right')
        """
        opposite = {"A": "P", "P": "A", "L": "R", "R": "L", "H": "F", "F": "H"}[direction]
        for right, bottom in ((self.right[:1], self.bottom[:1]), (self.right, self.bottom)):
            if direction in right:
                return "right"
            if opposite in right:
                return "left"
            if direction in bottom:
                return "bottom"
            if opposite in bottom:
                return "top"
        return None


@dataclass(frozen=True, slots=True)
class Window:
    """The window with which the header asks a processed image to be shown (DICOM PS3.3 C.11.2).

    ``centre`` and ``width`` are in the units of ``Mammogram.pixels``.
    """

    centre: float
    width: float
    function: Literal["linear", "linear_exact", "sigmoid"] = "linear"


@dataclass(frozen=True, eq=False, slots=True)
class Mammogram:
    """One view of one breast, as acquired.

    Attributes
    ----------
    pixels
        (rows, columns) float32, brighter = denser. Of a raw image this is *minus*
        the stored linear value, so that ``-pixels`` is proportional to exposure
        but for the system's offset. Of a processed image it is the presentation
        value before the VOI transformation.
    spacing_mm
        Pixel spacing (row, column) at the image receptor.
    intent
        ``"raw"`` (FOR PROCESSING) or ``"processed"`` (FOR PRESENTATION).
    laterality, view, system
        As the header says; None where it does not.
    uid
        SOP Instance UID; of a picture without one, the file's SHA-256.
    padding
        True where the header says that there is no image (pixel padding).
    window
        How the header wants the image shown; None where it does not say.
    orientation
        Where chest wall and head lie in the picture (PatientOrientation); None where the
        header does not say. It moves no pixel: positions are those of the stored picture.
    burned_in
        Whether the header says that text or the like is burned into the pixels
        (BurnedInAnnotation): it may be taken for calcium. None where it does not say.
    spacing_given
        Whether the pixel spacing was supplied by the caller, because the file does not state it.
    file
        Name of the file it was read from, without its folder; empty if there is none.
    """

    pixels: FloatImage
    spacing_mm: tuple[float, float]
    intent: Intent
    uid: str
    laterality: Laterality | None = None
    view: str | None = None
    system: str | None = None
    padding: BoolImage | None = None
    window: Window | None = None
    orientation: Orientation | None = None
    burned_in: bool | None = None
    spacing_given: bool = False
    file: str = ""

    @property
    def grid(self) -> Grid:
        """Return the grid of the original image's pixels."""
        return Grid(self.spacing_mm)


@dataclass(frozen=True, eq=False, slots=True)
class NormalisedMammogram:
    """A mammogram at the recipe's spacing, in units of one noise standard deviation.

    Attributes
    ----------
    pixels
        (rows, columns) float32: local contrast against its surroundings, brighter =
        denser, one unit = one standard deviation of the local noise. 0 outside the
        breast.
    breast
        (rows, columns) bool: the breast without pectoral muscle, skin, and areas clipped to white.
    spacing_mm, origin_mm
        The grid in millimetres of the original image.
    uid
        Of the mammogram it was made of.
    """

    pixels: FloatImage
    breast: BoolImage
    spacing_mm: float
    origin_mm: tuple[float, float]
    uid: str

    @property
    def grid(self) -> Grid:
        """Return where the pixels lie, in millimetres of the original image."""
        return Grid((self.spacing_mm, self.spacing_mm), self.origin_mm)

    @property
    def breast_area_cm2(self) -> float:
        """Return the area of the breast mask."""
        return float(np.count_nonzero(self.breast)) * self.spacing_mm**2 / 100.0


@dataclass(frozen=True, eq=False, slots=True)
class PixelScores:
    """The likelihood of every pixel of a mammogram.

    Attributes
    ----------
    likelihood
        (rows, columns) in [0, 1]; 0 outside the breast.
    limit_reached
        True where the scorer reached the limit on its work, so that it rated the least conspicuous
        places less thoroughly.
    """

    likelihood: FloatImage
    limit_reached: bool = False


class PixelScorer(Protocol):
    """Rates every pixel of the breast: the two networks, the cascade, or the Laplacian filter."""

    @property
    def spacing_mm(self) -> float:
        """Return the pixel spacing that the scorer was trained at."""

    def score(self, mammogram: NormalisedMammogram) -> PixelScores:
        """Return the likelihood of every pixel."""


@dataclass(frozen=True, eq=False, slots=True)
class Candidates:
    """Places that the detector proposes as calcifications, highest likelihood first.

    Attributes
    ----------
    centres
        (n, 2) positions in mm.
    likelihood
        (n,) scorer output in [0, 1], not a calibrated probability.
    """

    centres: Points
    likelihood: NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Shape:
    """The outline of a calcification, and what is measured of it.

    Attributes
    ----------
    outline
        Closed polygon (k, 2), positions in mm.
    area_mm2
        Area inside the outline.
    elongation
        Length over width of the smallest rectangle around the outline, at least 1.
    contrast_to_noise
        Difference in brightness between the inside and a band around the outline, in standard deviations of the
        noise of a pixel.
    """

    outline: Points
    area_mm2: float
    elongation: float
    contrast_to_noise: float

    @property
    def diameter_mm(self) -> float:
        """Return the diameter of the disc of equal area."""
        return float(2.0 * np.sqrt(self.area_mm2 / np.pi))


@dataclass(frozen=True, eq=False, slots=True)
class Cluster:
    """Candidates that lie close together.

    Attributes
    ----------
    members
        Indices into ``Candidates``.
    outline
        Closed polygon (k, 2), positions in mm.
    likelihood
        In [0, 1], not a calibrated probability; see ``detection.clusters``.
    distribution
        How the members are distributed; None where it was not judged.
    kind, apart
        What the members likely are, and whether the cluster is set apart for it; None where it was not judged.
    """

    members: NDArray[np.int64]
    outline: Points
    likelihood: float
    distribution: Distribution | None = None
    kind: CalcificationKind | None = None
    apart: bool = False


LIKELIHOOD_DIGITS: Final = 8
"""Decimals of the likelihoods and thresholds that are compared and stated; float32 has no more near 1."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold on a cluster's likelihood, and the performance measured at it.

    Attributes
    ----------
    threshold
        A cluster of this likelihood or more is a finding.
    llf
        Lesion localisation fraction: the fraction of true clusters that are found, on the data named in the model
        card; None where it was not measured.
    nlf
        Non-lesion localisation fraction: false clusters per image, on the same data; None where it was not measured.
    """

    threshold: float
    llf: float | None
    nlf: float | None


Kind = Literal[
    "microcalcification",
    "coarse",
    "vascular",
    "rim_or_skin",
    "other_calcium",
    "popcorn",
    "rod_like",
    "rim",
    "round",
    "skin",
    "milk_of_calcium",
    "dystrophic",
    "suture",
    "no_calcium",
    "unsure",
    "calcification_region",
]
"""The kind of an annotation. ``no_calcium`` is a place judged to hold no calcification.

A reader tells the first five and the two before the last apart; the others are what the simulator
knows in more detail: ``rim`` and ``skin`` of ``rim_or_skin``, ``popcorn`` of ``coarse``.
``calcification_region`` is no place but an area, with an outline; see ``REGION``.
"""

REGION: Final[Kind] = "calcification_region"
"""An outlined area with calcifications whose single places nobody has annotated, such as the outline of a lesion."""

PLACE_KINDS: Final[tuple[Kind, ...]] = tuple(kind for kind in get_args(Kind) if kind != REGION)
"""The kinds of single places: what a reader may say of a place that is shown."""

CalcificationKind = Literal["microcalcification", "vascular", "coarse", "rod_like", "rim_or_skin"]
"""The kind of a calcification that was detected; see ``detection.kinds``."""

BenignFindings = Literal["show", "apart"]
"""Whether findings of another kind than microcalcifications are shown like the others, or apart from them."""

BENIGN_CALCIUM: Final[tuple[Kind, ...]] = (
    "coarse",
    "vascular",
    "rim_or_skin",
    "other_calcium",
    "popcorn",
    "rod_like",
    "rim",
    "round",
    "skin",
    "milk_of_calcium",
    "dystrophic",
    "suture",
)
"""Calcifications that are no microcalcifications."""


@dataclass(frozen=True, eq=False, slots=True)
class Annotations:
    """The reference standard of one mammogram; arrays of one length n.

    Attributes
    ----------
    centres
        (n, 2) positions in mm.
    diameter_mm
        (n,), NaN-free; 0 where the annotator gave none.
    kind
        (n,) strings of ``Kind``.
    cluster
        (n,) strings; empty where the place belongs to no cluster.
    regions
        Corners (k, 2) in mm of the annotations that are regions, by their indices.
    """

    centres: Points
    diameter_mm: NDArray[np.float64]
    kind: NDArray[np.str_]
    cluster: NDArray[np.str_]
    regions: Mapping[int, Points] = field(default_factory=dict)
