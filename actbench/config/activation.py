"""What a recipe says about activations: which one, in which slots, and how its coefficients learn.

A slot is a place in the model that holds an activation: "layers.0" is the first feed-forward block, "pooler" BERT's.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from actbench.config import layers
from actbench.config.section import NonNegativeFloat, Positive, PositiveFloat, Section


class ActivationSpec(BaseModel):
    """An activation by its registered name; every other key is an option of that activation."""

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The activation's own options, as given."""
        return dict(self.__pydantic_extra__ or {})


class Selector(Section):
    """Some of the model's slots, by exactly one of `layers` and `slot`."""

    layers: str | None = None  # counted from 0: "8-11", "0,4-6", 3, or [0, 4]
    slot: str | None = None  # "pooler" or "layers.3"

    @field_validator("layers", mode="before")
    @classmethod
    def _one_way_to_write_them(cls, given: object) -> str | None:
        return None if given is None else layers.canonical(given)

    @model_validator(mode="after")
    def _one_selector(self) -> Selector:
        if (self.layers is None) == (self.slot is None):
            raise ValueError("give exactly one of layers and slot")
        return self

    @model_serializer(mode="wrap")
    def _what_was_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without defaults: what an override leaves unsaid is not its own."""
        return {key: value for key, value in dict(write(self)).items() if key in self.model_fields_set}


class ActivationOverride(Selector):
    """Another activation in some slots; every key that is not named here is an option of that activation."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    name: str

    @property
    def spec(self) -> ActivationSpec:
        """The activation, without where it goes."""
        return ActivationSpec(name=self.name, **(self.__pydantic_extra__ or {}))


class ActivationOptimizer(Section):
    """How the activation's own coefficients learn."""

    lr: PositiveFloat | None = None  # None: the model's rate times lr_multiplier
    lr_multiplier: PositiveFloat | None = None  # None: the activation's own default, mostly 1
    weight_decay: NonNegativeFloat | None = None  # None: the activation's own default, mostly 0
    schedule: Literal["same", "constant"] = "same"  # constant: flat after the warm-up, as RAFT
    frozen: bool = False  # true: the coefficients stay as they start
    unfreeze_after: Positive | None = None  # steps for which they are frozen; then they learn

    @model_validator(mode="after")
    def _no_contradiction(self) -> ActivationOptimizer:
        for one, other in ALTERNATIVES:
            if getattr(self, one) and getattr(self, other):
                raise ValueError(f"give {one} or {other}, not both (null or false takes one back)")
        return self


ALTERNATIVES = (("lr", "lr_multiplier"), ("frozen", "unfreeze_after"))


class ActivationOptimizerOverride(Selector, ActivationOptimizer):
    """How the coefficients of some slots learn, where that differs; what is not said here stays."""

    @model_validator(mode="after")
    def _says_something(self) -> ActivationOptimizerOverride:
        if not self.model_fields_set & set(ActivationOptimizer.model_fields):
            raise ValueError(f"says nothing: give one of {', '.join(ActivationOptimizer.model_fields)}")
        return self

    def over(self, base: ActivationOptimizer) -> ActivationOptimizer:
        """`base` with what is said here; saying one of two alternatives takes the other back."""
        said = {key: getattr(self, key) for key in ActivationOptimizer.model_fields if key in self.model_fields_set}
        fields = ActivationOptimizer.model_fields
        taken_back = {
            other: fields[other].default
            for pair in ALTERNATIVES
            for one, other in (pair, pair[::-1])
            if one in said and other not in said
        }
        return base.model_copy(update={**taken_back, **said})
