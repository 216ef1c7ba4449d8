"""Coded concepts of the standard that reading and writing share, one table for each context group.

References
----------
DICOM PS3.16 CID 4014 (View for Mammography), CID 4015 (View Modifier for
Mammography), CID 4013 (Anatomic Region for Mammography).
"""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """A concept in SNOMED CT (scheme SCT), and in SNOMED RT (SRT, SNM3), which machines still write."""

    sct: str
    srt: str
    meaning: str


BREAST = Code("76752008", "T-04000", "Breast")

VIEWS: dict[str, Code] = {
    "CC": Code("399162004", "R-10242", "cranio-caudal"),
    "MLO": Code("399368009", "R-10226", "medio-lateral oblique"),
    "ML": Code("399260004", "R-10224", "medial-lateral"),
    "LM": Code("399352003", "R-10228", "latero-medial"),
    "LMO": Code("399099002", "R-10230", "latero-medial oblique"),
    "FB": Code("399196006", "R-10244", "caudo-cranial"),
    "SIO": Code("399188001", "R-102D0", "superolateral to inferomedial oblique"),
    "ISO": Code("441555000", "R-40AAA", "inferomedial to superolateral oblique"),
    "XCCL": Code("399192008", "R-1024A", "cranio-caudal exaggerated laterally"),
    "XCCM": Code("399101009", "R-1024B", "cranio-caudal exaggerated medially"),
}
"""ViewPosition (0018,5101) → code in ViewCodeSequence (0054,0220); CID 4014."""

SPECIMEN = Code("127457009", "G-8310", "tissue specimen from breast")
MAGNIFICATION = Code("399163009", "R-102D6", "Magnification")
SPOT_COMPRESSION = Code("399055006", "R-102D7", "Spot Compression")
