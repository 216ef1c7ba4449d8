"""The name of a system: manufacturer and model in a uniform spelling.

Names are used for grouping and display only and never affect the detection.
"""

from __future__ import annotations

import re

# Beginnings of Manufacturer (0008,0070) in public data sets, in lower case, and the
# names used here. Sources: headers of EMBED, VinDr-Mammo, INbreast, OPTIMAM
# descriptions and of the files named in docs; spelling differs within one vendor.
_MANUFACTURERS = (
    ("hologic", "Hologic"),
    ("lorad", "Hologic"),  # bought 2000; "LORAD", "Lorad.", "Lorad, A Hologic Company"
    ("ge ", "GE"),  # "GE MEDICAL SYSTEMS", "GE HEALTHCARE"
    ("siemens", "Siemens"),  # "SIEMENS", "Siemens Healthineers", "SIEMENS AG"
    ("fujifilm", "Fujifilm"),
    ("philips", "Philips"),
    ("sectra", "Philips"),  # MicroDose, bought 2011
    ("planmed", "Planmed"),
    ("ims", "IMS Giotto"),
)

# GE writes the software version into the model: "Senographe Essential VERSION ADS_54.10".
_VERSION = re.compile(r"\s+(VERSION\s+)?ADS_\S*$", re.IGNORECASE)


def system_name(manufacturer: str, model: str) -> str | None:
    """Return manufacturer and model in a uniform spelling; None if both are empty.

    >>> system_name("GE MEDICAL SYSTEMS", "Senographe Essential VERSION ADS_54.10")
    'GE Senographe Essential'
    >>> system_name("HOLOGIC, Inc.", "Hologic Selenia")
    'Hologic Selenia'
    """
    low = manufacturer.lower()
    vendor = next((name for start, name in _MANUFACTURERS if low.startswith(start)), manufacturer)
    kind = _VERSION.sub("", model)
    if vendor and kind.lower().startswith(vendor.lower()):
        kind = kind[len(vendor) :].lstrip(" ,.")
    return " ".join(part for part in (vendor, kind) if part) or None
