"""A function learned as weights of Gaussians on a grid (Ma, Yang & Yang 2024, arXiv 2411.19468)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from actbench.activations.base import ElementwiseActivation, Sharing
from actbench.activations.by_hand import elements, exp, powers, total
from actbench.activations.horner import derivative, horner
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
        total = torch.zeros_like(x)
        for middle, above, below in self._groups():
            _, up, down, bell = self._factors(x, middle)
            total = total + bell * (horner(above, up) + down * horner(below, down))
        return total

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        (x,) = inputs
        by_x, sums = torch.zeros_like(x), []
        for middle, above, below in self._groups():
            v, up, down, bell = self._factors(x, middle)
            bell = bell * grad
            by_up, by_down = horner(derivative(above), up), horner(derivative([0 * below[0], *below]), down)
            value = horner(above, up) + down * horner(below, down)
            by_x = by_x + bell * (up * by_up - down * by_down - v * value)
            falling = [total(gaussian) for gaussian in powers(bell * down, down, len(below))]
            sums += [*reversed(falling), *map(total, powers(bell, up, len(above)))]
        by_weight = torch.stack(sums) * self._heights()
        return by_x / self.spacing, *self.not_frozen(weight=by_weight)

    def _groups(self) -> Iterator[tuple[int, Sequence[Tensor], Sequence[Tensor]]]:
        """For neighbouring Gaussians, the index of the middle one, and weights from it upwards and from it downwards.

        With v = (x - c) / h for the middle centre c, the Gaussian k steps from it is exp(-v^2/2) exp(v)^k exp(-k^2/2).
        The last factor is joined with the weights.
        """
        weights = elements(self.spread(self.weight) * self._heights())
        for start, middle, stop in _parts(len(weights)):
            yield middle, weights[middle:stop], weights[start:middle][::-1]

    def _heights(self) -> Tensor:
        """exp(-k^2/2) of every Gaussian, (K,)."""
        parts = _parts(self.weight.shape[-1])
        heights = [math.exp(-0.5 * (k - middle) ** 2) for start, middle, stop in parts for k in range(start, stop)]
        return self.weight.new_tensor(heights)

    def _factors(self, x: Tensor, middle: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """v, exp(v), exp(-v) and exp(-v^2/2).

        Further away than REACH the last is 0 and v is cut off, so that the others stay finite.
        """
        reach = REACH[x.dtype]
        v = ((x - (self.low + middle * self.spacing)) * (1 / self.spacing)).clamp(-reach, reach)
        up = exp(v)
        return v, up, up.reciprocal(), exp(v * v, -0.5)

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


def _parts(count: int) -> list[tuple[int, int, int]]:
    """0 .. count - 1 in parts of GROUP at most: where each starts, its middle, and where the next one starts."""
    number = -(-count // GROUP)
    ends = [count * i // number for i in range(number + 1)]
    return [(start, (start + stop) // 2, stop) for start, stop in pairwise(ends)]
