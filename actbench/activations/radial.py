"""A function learned as weights of Gaussians on a grid (Ma, Yang & Yang 2024, arXiv 2411.19468)."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from actbench.activations.base import ElementwiseActivation, Sharing
from actbench.activations.horner import horner
from actbench.activations.inner import inner_activation
from actbench.activations.registry import register

Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
GROUP = 15  # Gaussians that share two exponentials; more, and their powers would leave fp32's range
REACH = {torch.float32: 14.5, torch.float64: 38.7}  # spacings from a centre to where exp(-v^2 / 2) is exactly 0
MARGIN = 1.5  # spacings at each end of the grid where the start is not fitted, as nothing lies beyond to help
POINTS = 2001


@register("rbf")
class RBF(ElementwiseActivation):
    """Gaussians at `count` evenly spaced centres from one end of `range` to the other, as wide as their spacing h.

    Only the weights are learned; number, places and width of the Gaussians are this package's choice. The weights start
    as the least-squares fit to `init`, a fixed activation of one input, on all of `range` but 1.5 spacings at each end.
    Beyond the centres the function falls to 0, whatever `init` does.
    Raises ValueError for a range without an inside, or an `init` that does not suit.
    """

    formula = r"\sum_{k=1}^{K} w_k \exp\left(-\frac{(x - c_k)^2}{2 h^2}\right)"
    source = "Ma, Yang & Yang 2024, Random Feature Models with Learnable Activation Functions, arXiv 2411.19468"
    symbols: ClassVar = {"weight": r"w_1, \dots, w_K"}

    def __init__(
        self,
        count: Annotated[int, Field(ge=5, le=300)] = 15,
        range: tuple[Finite, Finite] = (-5.0, 5.0),
        init: str = "gelu",
        sharing: Sharing = "layer",
        width: int | None = None,
    ):
        super().__init__(sharing, width)
        self.low, high = range
        self.spacing = (high - self.low) / (count - 1)
        if not 0 < self.spacing < math.inf:
            raise ValueError(f"range must ascend, not {list(range)}")
        self.weight = self.coefficient(self._fitted(init, count))

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        weights = self.terms(self.weight, x)
        total = torch.zeros_like(x)
        for first in range(0, len(weights), GROUP):
            total = total + self._group(x, first, weights[first : first + GROUP])
        return total

    def _group(self, x: Tensor, first: int, weights: tuple[Tensor, ...]) -> Tensor:
        """The sum of neighbouring Gaussians, from the one of index `first`.

        With v = (x - c) / h for the middle centre c, the Gaussian k steps from it is exp(-v^2/2) exp(v)^k exp(-k^2/2).
        Further away than REACH the first factor is 0 and v is cut off, so that the others stay finite.
        """
        middle = len(weights) // 2
        reach = REACH[x.dtype]
        v = ((x - (self.low + (first + middle) * self.spacing)) / self.spacing).clamp(-reach, reach)
        up = torch.exp(v)
        scaled = [w * math.exp(-0.5 * (k - middle) ** 2) for k, w in enumerate(weights)]
        total = horner(scaled[middle:], up)
        if middle:
            down = up.reciprocal()
            total = total + down * horner(scaled[:middle][::-1], down)
        return total * torch.exp(-0.5 * v * v)

    def _fitted(self, init: str, count: int) -> list[float]:
        """The weights of the least-squares fit to the activation `init`, in fp64 on the CPU."""
        target = inner_activation(init, key="init")
        if next(target.parameters(), None) is not None:
            raise ValueError(f"init: '{init}' has coefficients of its own; it must be a fixed function")
        steps = torch.linspace(MARGIN, count - 1 - MARGIN, POINTS, dtype=torch.float64, device="cpu")
        centres = torch.arange(count, dtype=torch.float64, device="cpu")
        bells = torch.exp(-0.5 * (steps[:, None] - centres) ** 2)
        values = target.compute(self.low + self.spacing * steps)
        weights: list[float] = torch.linalg.lstsq(bells, values[:, None]).solution.flatten().tolist()
        return weights
