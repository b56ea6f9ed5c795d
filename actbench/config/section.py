"""What every section of a recipe has in common, and the kinds of numbers in it."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict

T = TypeVar("T")

MOST_LAYERS = 10_000
Positive = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Several = Annotated[tuple[T, ...], Strict(False)]  # a YAML list


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys forbidden, and `on` no boolean, `true` no number, "3" no integer."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
