"""What is under test in `activations check`, and the inputs it is tested with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from actbench.activations import options
from actbench.activations.base import Activation, ElementwiseActivation

WIDTH = 8


class Broken(Exception):
    """A promise is not kept; the text says how."""


def in_a_line(error: Exception) -> str:
    """An error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


@dataclass(frozen=True)
class Subject:
    """An activation's class and the options to make it with."""

    cls: type[Activation]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """F: one that groups of channels divide, if the options name their number."""
        groups = self.options.get("sharing")
        return WIDTH * groups if isinstance(groups, int) else WIDTH

    def make(self, **more: Any) -> Activation:
        """A new one, in evaluation mode."""
        return options.construct(self.cls, {**self.options, **more}, self.width).eval()

    def inputs(self, *shape: int, reach: float = 2.0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        """One tensor for each of its inputs, in [-reach, reach], at no round numbers: a kink is hardly ever met."""
        places = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
        waves = (reach * torch.sin(1.7 * places + start) for start in (0.3, 1.1))
        return [wave.view(shape).to(dtype) for wave in waves][: 2 if self.cls.gated else 1]

    def sharings(self) -> dict[str, dict[str, Any]]:
        """The ways its coefficients can be shared: what to call them, and the options; the chosen way comes first."""
        ways: dict[str, dict[str, Any]] = {"": {}}
        if issubclass(self.cls, ElementwiseActivation) and "sharing" not in self.options:
            ways |= {"by channel, ": {"sharing": "channel"}, "in 2 groups, ": {"sharing": 2}}
        return ways


def nudge(module: nn.Module) -> None:
    """Moves every coefficient a little, each by another amount, so that none stays at a kink or at its start."""
    with torch.no_grad():
        for parameter in module.parameters():
            steps = torch.arange(parameter.numel(), dtype=parameter.dtype).view_as(parameter)
            parameter.add_(0.05 + 0.01 * torch.sin(steps))
