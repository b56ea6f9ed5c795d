"""A grid of fine-tuning settings: every combination is tried, and the selection set alone chooses."""

from __future__ import annotations

import itertools
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from actbench.config.finetuning import OF_COEFFICIENTS, FinetuneSettings
from actbench.config.section import Fraction, NonNegativeFloat, Positive, PositiveFloat, Section, Several

S = TypeVar("S", bound=FinetuneSettings)
V = TypeVar("V")


def _some(values: tuple[V, ...]) -> tuple[V, ...]:
    if not values:
        raise ValueError("no values to try")
    return values


Values = Annotated[Several[V], AfterValidator(_some)] | None  # None: no axis of the grid


class FinetuneGrid(Section):
    """The values to try, by setting: any that is a number, but for the number of examples, which is the task's."""

    epochs: Values[Positive] = None
    batch_size: Values[Positive] = None
    length: Values[Annotated[int, Field(ge=8)]] = None
    lr: Values[PositiveFloat] = None
    activation_lr: Values[PositiveFloat] = None
    weight_decay: Values[NonNegativeFloat] = None
    activation_weight_decay: Values[NonNegativeFloat] = None
    warmup_fraction: Values[Fraction] = None
    patience: Values[Positive] = None

    @property
    def axes(self) -> tuple[str, ...]:
        """The settings that vary, in the schema's order."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    def points(self, settings: S, *, coefficients_learn: bool) -> list[S]:
        """The settings with every combination of the values in the place of their own, each once.

        Where no coefficients learn, their settings make no difference and are left as they are.
        """
        axes = [name for name in self.axes if coefficients_learn or name not in OF_COEFFICIENTS]
        combinations = itertools.product(*(getattr(self, name) for name in axes))
        made = (settings.model_copy(update=dict(zip(axes, values, strict=True))) for values in combinations)
        return list(dict.fromkeys(made))


class SquadGrid(FinetuneGrid):
    """The same for SQuAD's settings."""

    length: Values[Annotated[int, Field(ge=16)]] = None
    max_query_length: Values[Positive] = None
    doc_stride: Values[Positive] = None
    n_best_size: Values[Positive] = None
    max_answer_length: Values[Positive] = None
