"""The classes every activation derives from.

Shapes: F is the width an activation sees, (..., F) in and (..., F) out; G is the number of sets of coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from actbench.activations.running import run

Sharing = Literal["layer", "channel"] | Annotated[int, Field(ge=1, le=65536)]


class Activation(nn.Module):
    """An element-wise or row-wise function with, possibly, learnable coefficients.

    A subclass writes `compute`, once, in plain PyTorch; it always receives at least fp32, also inside bf16 autocast.
    Constructor keyword arguments are the activation's options in a recipe; one named `width` is no option but receives
    F, or None where that is not known. Nothing here may draw random numbers at construction.
    """

    name: ClassVar[str] = ""
    formula: ClassVar[str] = ""  # LaTeX, of compute
    source: ClassVar[str] = ""  # who proposed it: authors, year, where
    symbols: ClassVar[Mapping[str, str]] = {}  # a parameter's name -> what the formula calls it, in LaTeX
    gated: ClassVar[bool] = False  # a gated activation's compute takes (gate, value), each (..., F)
    whole_row: ClassVar[bool] = False  # an element's value depends on its whole row, as in a normalisation
    weight_decay: ClassVar[float] = 0.0  # of the coefficients, unless a recipe says otherwise
    lr_multiplier: ClassVar[float] = 1.0  # of the model's learning rate, unless a recipe says otherwise
    compute: Callable[..., Tensor]  # the function itself: (..., F) -> (..., F)
    # By hand, for speed: (inputs, grad) -> the gradients of (compute * grad).sum() by each input and each parameter
    # that is not frozen. It is asked only where `has_gradients` says so, and must leave what it is given as it is.
    gradients: Callable[..., Sequence[Tensor]] | None = None
    native_low_precision: ClassVar[bool] = False  # True: torch's own kernel already computes in fp32 inside

    def forward(self, *inputs: Tensor) -> Tensor:
        """(..., F) -> (..., F) in the inputs' dtype; computed in fp32, or wider if the inputs are."""
        return run(self, inputs)

    @property
    def draws(self) -> bool:
        """Whether `compute` draws random numbers now, so that a forward pass may call it only once."""
        return any(isinstance(part, Activation) and part.draws for part in self.children())

    @property
    def element_alone(self) -> bool:
        """Whether an element of the output depends on nothing but the same element of one input, wherever it stands."""
        return False

    def has_gradients(self) -> bool:
        """Whether there are `gradients` for these options."""
        return self.gradients is not None

    def not_frozen(self, **by: Tensor) -> list[Tensor]:
        """Of the gradients by each of its own parameters, given by name, those that `gradients` returns."""
        return [by[name] for name, parameter in self.named_parameters(recurse=False) if parameter.requires_grad]

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The function's graph at the points `x`, for plotting.

        `x` is (N,). `inputs` (R, F) are rows that the activation really received; only a function that looks at the
        whole row (a normalisation) needs them.
        """
        return self.compute(x)

    @classmethod
    def expand(cls, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The options with what they refer to (a file) put in its place: one set for all slots, or one a slot.

        Several are in the order of the model's layers, then, optionally, BERT's pooler. Raises ValueError.
        """
        return [dict(options)]


class ElementwiseActivation(Activation):
    """An element-wise function with coefficients: one set a layer, or one for each group of channels or each channel.

    `sharing` is "layer", "channel", or a number of groups of neighbouring channels, which must divide F.
    """

    def __init__(self, sharing: Sharing = "layer", width: int | None = None):
        super().__init__()
        self.width = width
        self.sets = _sets(sharing, width)

    @property
    def element_alone(self) -> bool:
        """Where the whole layer, and each part of the function, shares one set."""
        return not any(part.whole_row or getattr(part, "sets", None) for part in self.modules())

    def has_gradients(self) -> bool:
        """Whether there are `gradients`: for the one set of a layer."""
        return self.sets is None and super().has_gradients()

    def coefficient(self, start: float | Sequence[float]) -> nn.Parameter:
        """A new parameter, each set of it at `start`: () or (k,) for a layer, (G,) or (G, k) for G sets."""
        value = torch.tensor(start, dtype=torch.float32)
        return nn.Parameter(value if self.sets is None else value.repeat(self.sets, *(1 for _ in value.shape)))

    def spread(self, parameter: Tensor) -> Tensor:
        """The parameter so that it lines up with (..., F): as it is for a layer, else (F,) or (F, k)."""
        if self.sets is None or self.width is None:
            return parameter
        return parameter.repeat_interleave(self.width // self.sets, dim=0)

    def terms(self, parameter: Tensor) -> tuple[Tensor, ...]:
        """The k coefficients of a parameter with a last axis of k, each () or (F,), ready to meet an x of (..., F)."""
        return self.spread(parameter).unbind(-1)

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The graph at `x` (N,); with several sets of coefficients, the mean over the channels."""
        if self.sets is None or self.width is None:
            return self.compute(x)
        return self.compute(x[:, None].expand(-1, self.width)).mean(-1)


def _sets(sharing: Sharing, width: int | None) -> int | None:
    if sharing == "layer":
        return None
    if width is None:
        raise ValueError(f"sharing {sharing!r} needs to know the width")
    sets = width if sharing == "channel" else int(sharing)
    if width % sets:
        raise ValueError(f"{sets} groups do not divide a width of {width}")
    return sets
