"""The bound on what the second network rates, which bounds the time that any image takes."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

_ALWAYS: Final = 1000  # ours: a small crop may be full of calcium


class SurvivorLimit(BaseModel):
    """How many pixels CNN2 rates at most: of each cm² of breast, and of an image."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    per_cm2: Annotated[float, Field(gt=0)]
    per_image: Annotated[int, Field(gt=0)]

    def of(self, area_cm2: float) -> int:
        """Return how many of a breast of this area; at least 1,000, which take a fraction of a second."""
        return min(self.per_image, max(_ALWAYS, round(self.per_cm2 * area_cm2)))
