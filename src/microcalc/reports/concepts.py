"""The coded concepts of reports, and the older codes that some workstations need.

They are listed here and not taken from the dictionary of a library for two reasons: one meaning there
("Individual Impression/Recommendation") contains an invisible space, and reports must not change with the
version of the library.

References
----------
DICOM PS3.16 TID 4000 to 4023 (Mammography CAD), CID 4015, 6010, 6012, 6014, 6022, 6034, 6042,
6047, 7470, 7471, and annex L (SNOMED CT for SNOMED RT).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from microcalc.dicom.codes import VIEWS
from microcalc.domain import CalcificationKind, Distribution


class Concept(NamedTuple):
    """A coded concept; ``srt`` is its older code in SNOMED RT, empty if there is none."""

    value: str
    scheme: str
    meaning: str
    srt: str = ""


def _dcm(value: str, meaning: str) -> Concept:
    return Concept(value, "DCM", meaning)


def _sct(value: str, srt: str, meaning: str) -> Concept:
    return Concept(value, "SCT", meaning, srt)


# The document.
MAMMOGRAPHY_CAD_REPORT: Final = _dcm("111036", "Mammography CAD Report")
LANGUAGE: Final = _dcm("121049", "Language of Content Item and Descendants")
ENGLISH: Final = Concept("en-US", "RFC5646", "English (United States)")
IMAGE_LIBRARY: Final = _dcm("111028", "Image Library")

# An image of the library, TID 4020.
IMAGE_LATERALITY: Final = _dcm("111027", "Image Laterality")
IMAGE_VIEW: Final = _dcm("111031", "Image View")
IMAGE_VIEW_MODIFIER: Final = _dcm("111032", "Image View Modifier")
ORIENTATION_ROW: Final = _dcm("111044", "Patient Orientation Row")
ORIENTATION_COLUMN: Final = _dcm("111043", "Patient Orientation Column")
STUDY_DATE: Final = _dcm("111060", "Study Date")
STUDY_TIME: Final = _dcm("111061", "Study Time")
CONTENT_DATE: Final = _dcm("111018", "Content Date")
CONTENT_TIME: Final = _dcm("111019", "Content Time")
HORIZONTAL_SPACING: Final = _dcm("111026", "Horizontal Pixel Spacing")
VERTICAL_SPACING: Final = _dcm("111066", "Vertical Pixel Spacing")

# The summary, TID 4001 to 4003.
SUMMARY: Final = _dcm("111017", "CAD Processing and Findings Summary")
ALL_SUCCEEDED_WITHOUT: Final = _dcm("111241", "All algorithms succeeded; without findings")
ALL_SUCCEEDED_WITH: Final = _dcm("111242", "All algorithms succeeded; with findings")
NOT_ALL_SUCCEEDED_WITHOUT: Final = _dcm("111243", "Not all algorithms succeeded; without findings")
NOT_ALL_SUCCEEDED_WITH: Final = _dcm("111244", "Not all algorithms succeeded; with findings")
NONE_SUCCEEDED: Final = _dcm("111245", "No algorithms succeeded; without findings")
COMMENT: Final = _dcm("121106", "Comment")
IMPRESSION_DESCRIPTION: Final = _dcm("111033", "Impression Description")
INDIVIDUAL_IMPRESSION: Final = _dcm("111034", "Individual Impression/Recommendation")
RENDERING_INTENT: Final = _dcm("111056", "Rendering Intent")
REQUIRED: Final = _dcm("111150", "Presentation Required: Rendering device is expected to present")
OPTIONAL: Final = _dcm("111151", "Presentation Optional: Rendering device may present")
NOT_SHOWN: Final = _dcm("111152", "Not for Presentation: Rendering device expected not to present")

# A finding, TID 4006 to 4010, 4019, 4021.
SINGLE_IMAGE_FINDING: Final = _dcm("111059", "Single Image Finding")
CLUSTER: Final = _sct("129769006", "F-01775", "Calcification Cluster")
INDIVIDUAL: Final = _sct("129770007", "F-01776", "Individual Calcification")
OPERATING_POINT: Final = _dcm("111071", "CAD Operating Point")
ALGORITHM_NAME: Final = _dcm("111001", "Algorithm Name")
ALGORITHM_PARAMETERS: Final = _dcm("111002", "Algorithm Parameters")
ALGORITHM_VERSION: Final = _dcm("111003", "Algorithm Version")
CERTAINTY: Final = _dcm("111012", "Certainty of Finding")
CENTER: Final = _dcm("111010", "Center")
OUTLINE: Final = _dcm("111041", "Outline")
CALCIFICATION_TYPE: Final = _dcm("111009", "Calcification Type")
MICROCALCIFICATIONS: Final = _sct("44771000", "D7-90435", "Microcalcifications of the breast")
VASCULAR: Final = _sct("129759000", "F-0176B", "Vascular calcification")
MACROCALCIFICATIONS: Final = _dcm("111345", "Macrocalcifications")
ROD_LIKE: Final = _sct("129752009", "F-01764", "Large rod-like calcification")
LUCENT_CENTERED: Final = _sct("129754005", "F-01766", "Lucent-centered calcification")
TYPES: Final[dict[CalcificationKind, Concept]] = {
    "microcalcification": MICROCALCIFICATIONS,
    "vascular": VASCULAR,
    "coarse": MACROCALCIFICATIONS,
    "rod_like": ROD_LIKE,
    "rim_or_skin": LUCENT_CENTERED,
}
"""Kind of a calcification → the type that reports state; CID 6010. They name what the rules of the kinds measure:
"coarse" is a size, and both rims and skin calcifications have a lucent centre."""
BENIGN_TYPES: Final[dict[Concept, CalcificationKind | None]] = {
    _sct("129757003", "F-01769", "Calcified skin of breast"): "rim_or_skin",
    _sct("129758008", "F-0176A", "Calcified suture material"): None,
    _sct("129749001", "F-01761", "Coarse (popcorn-like) calcification"): "coarse",
    _sct("129750001", "F-01762", "Dystrophic calcification"): None,
    _sct("129751002", "F-01763", "Eggshell calcification"): "rim_or_skin",
    ROD_LIKE: "rod_like",
    LUCENT_CENTERED: "rim_or_skin",
    _sct("129753004", "F-01765", "Milk of calcium calcification"): None,
    _sct("129756007", "F-01768", "Round shaped calcification"): None,
    VASCULAR: "vascular",
    MACROCALCIFICATIONS: "coarse",
}
"""Type that is typically benign by BI-RADS → our kind, None without one; CID 6010."""
DISTRIBUTION: Final = _dcm("111008", "Calcification Distribution")
DISTRIBUTIONS: Final[dict[Distribution, Concept]] = {
    "grouped": _sct("129766004", "F-01772", "Grouped calcification distribution"),
    "linear": _sct("129765000", "F-01771", "Linear calcification distribution"),
    "segmental": _sct("129768003", "F-01774", "Segmental calcification distribution"),
    "regional": _sct("129767008", "F-01773", "Regional calcification distribution"),
    "diffuse": _sct("129764001", "F-01770", "Diffuse calcification distribution"),
}
"""CID 6012."""
CALCIFICATION_COUNT: Final = _dcm("111038", "Number of calcifications")
DIAMETER: Final = _sct("81827009", "M-02550", "Diameter")
AREA: Final = _sct("42798000", "G-A166", "Area")

# The detections, TID 4015, 4017, 4023.
DETECTIONS: Final = _dcm("111064", "Summary of Detections")
ANALYSES: Final = _dcm("111065", "Summary of Analyses")
SUCCEEDED: Final = _dcm("111222", "Succeeded")
PARTIALLY_SUCCEEDED: Final = _dcm("111223", "Partially Succeeded")
FAILED: Final = _dcm("111224", "Failed")
NOT_ATTEMPTED: Final = _dcm("111225", "Not Attempted")
SUCCESSFUL_DETECTIONS: Final = _dcm("111063", "Successful Detections")
FAILED_DETECTIONS: Final = _dcm("111025", "Failed Detections")
DETECTION_PERFORMED: Final = _dcm("111022", "Detection Performed")
MAXIMUM_OPERATING_POINT: Final = _dcm("111072", "Maximum CAD Operating Point")
RECOMMENDED_OPERATING_POINT: Final = _dcm("111092", "Recommended CAD Operating Point")

# Measurement reports, TID 1500, 1410, 1501, 1003.
MAMMOGRAPHY: Final = _sct("71651007", "", "Mammography")
MEASUREMENT_GROUP: Final = _dcm("125007", "Measurement Group")
TRACKING_IDENTIFIER: Final = _dcm("112039", "Tracking Identifier")
FINDING: Final = _dcm("121071", "Finding")
PERSON: Final = _dcm("121006", "Person")
PERSON_NAME: Final = _dcm("121008", "Person Observer Name")

# Units.
MILLIMETER: Final = Concept("mm", "UCUM", "millimeter")
SQUARE_MILLIMETER: Final = Concept("mm2", "UCUM", "Square millimeter")
PERCENT: Final = Concept("%", "UCUM", "Percent")
NO_UNITS: Final = Concept("1", "UCUM", "no units")
ARBITRARY: Final = Concept("[arb'U]", "UCUM", "arbitrary unit")
POINT_OF_FINDING: Final = Concept("{1:n}", "UCUM", "range: 1:n")
POINT_OF_ALGORITHM: Final = Concept("{0:n}", "UCUM", "range:0:n")

SIDES: Final = {
    "L": _sct("80248007", "T-04030", "Left breast"),
    "R": _sct("73056007", "T-04020", "Right breast"),
}
"""ImageLaterality (0020,0062) → code; CID 6022."""

VIEW_CONCEPTS: Final = {name: _sct(*code) for name, code in VIEWS.items()}
"""ViewPosition (0018,5101) → code; CID 4014."""

VIEW_MODIFIERS: Final = (
    _sct("399163009", "R-102D6", "Magnification"),
    _sct("399055006", "R-102D7", "Spot Compression"),
    _sct("399161006", "R-102D2", "Cleavage"),
    _sct("399011000", "R-102D1", "Axillary Tail"),
    _sct("399197002", "R-102D3", "Rolled Lateral"),
    _sct("399226006", "R-102D4", "Rolled Medial"),
    _sct("414493004", "R-102CA", "Rolled Inferior"),
    _sct("415670009", "R-102C9", "Rolled Superior"),
    _sct("399209000", "R-102D5", "Implant Displaced"),
    _sct("399110001", "R-102C2", "tangential"),
    _sct("442581004", "R-40AB3", "Nipple in profile"),
    _sct("441752004", "P2-00161", "Anterior compression"),
    _sct("442593008", "R-40ABE", "Infra-mammary fold"),
    _sct("442580003", "R-40AB2", "Axillary tissue"),
)
"""View modifiers; CID 4015."""

SRT_OF: Final = {
    concept.value: concept.srt
    for concept in (
        CLUSTER,
        INDIVIDUAL,
        MICROCALCIFICATIONS,
        VASCULAR,
        ROD_LIKE,
        LUCENT_CENTERED,
        DIAMETER,
        AREA,
        *DISTRIBUTIONS.values(),
        *SIDES.values(),
        *VIEW_CONCEPTS.values(),
        *VIEW_MODIFIERS,
    )
}
"""Code of SNOMED CT → code of SNOMED RT, for every code in our CAD reports."""
