"""Which data sets the images of a table are from, and under which terms they may be used.

Both stand in the line of each image, so that they go with it wherever a command takes it: into a part of the table, a
table of several data sets, copies with inserted microcalcifications, and the card of a model that is trained on it.
"""

from __future__ import annotations

from collections.abc import Iterable

from microcalc.datasets import cdd_cesm
from microcalc.datasets.table import ImageRow


def sources_of(images: Iterable[ImageRow]) -> tuple[tuple[str, str], ...]:
    """Return the sources of some images with their licences, each once and in the order of the images.

    Images of CDD-CESM in tables of earlier versions, which had no column for it, are told by their tag.
    """
    found: dict[tuple[str, str], None] = {}
    for image in images:
        if image.source or image.licence:
            found[image.source, image.licence] = None
        elif cdd_cesm.TAG in image.tags.split():
            found[cdd_cesm.SOURCE, cdd_cesm.ATTRIBUTION] = None
    return tuple(found)
