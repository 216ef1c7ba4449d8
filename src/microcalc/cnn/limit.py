"""The limits on what the second network rates, so that no image takes much longer than others of its size.

When the limits were set, on one thread and with the shipped models, a patch took 0.09 ms, and 0.74 ms where it is
averaged over eight orientations; all that comes before the second network took 5 ms per cm². What comes before takes
longest where every pixel of a large picture is breast, so there the limits are lower. Ordinary images reach
neither limit.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

_ALWAYS: Final = 1000  # ours: a small crop may be full of calcium
_AVERAGED_PER_CM2: Final = 20.0  # ours: of 16 raw images and the demo, the densest breast has 18 per cm2
_AVERAGED_PER_IMAGE: Final = 3000
_AVERAGED_ALWAYS: Final = 200
_LARGE_CM2: Final = 350.0  # ours: larger than the breasts of raw images that we have
_FEWER_SHARE: Final = (
    0.002  # ours, per cm², of the limit per image: the time that a cm² takes before the second network
)
_AVERAGED_FEWER_PER_CM2: Final = 7.0


class SurvivorLimit(BaseModel):
    """The largest number of pixels that CNN2 rates, per cm² of breast and per image."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    per_cm2: Annotated[float, Field(gt=0)]
    per_image: Annotated[int, Field(gt=0)]

    def of(self, area_cm2: float) -> int:
        """Return the limit for a breast of this area; it is 1,000 at least, which take a fraction of a second."""
        most = self.per_image * (1.0 - _FEWER_SHARE * max(0.0, area_cm2 - _LARGE_CM2))
        return min(self.per_image, max(_ALWAYS, round(min(self.per_cm2 * area_cm2, most))))


def most_averaged(area_cm2: float) -> int:
    """Return the largest number of patches of a breast of this area that are averaged over orientations."""
    most = _AVERAGED_PER_IMAGE - _AVERAGED_FEWER_PER_CM2 * max(0.0, area_cm2 - _LARGE_CM2)
    return max(_AVERAGED_ALWAYS, round(min(_AVERAGED_PER_CM2 * area_cm2, most)))
