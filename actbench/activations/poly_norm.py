"""Polynomials of a normalised row: PolyNorm and its relatives (Zhuo et al. 2025, arXiv 2411.03884).

n(u) = u / sqrt(mean(u^2) + eps) over the last axis. The paper writes an L2 norm, its released code divides by the root
mean square: `norm` chooses, "rms" by default. A row of zeros is normalised to zeros, with a gradient of zero, even if
eps is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from actbench.activations.base import Activation
from actbench.activations.by_hand import row_totals, total, where_positive
from actbench.activations.horner import horner
from actbench.activations.registry import register

Norm = Literal["rms", "l2"]
Eps = Annotated[float, Field(ge=0)]
Order = Annotated[int, Field(ge=1, le=16)]

ZHUO = "Zhuo et al. 2025, Polynomial Composition Activations: Unleashing the Dynamics of Large Language Models, ICLR, \
arXiv 2411.03884"
SYMBOLS = {"weight": r"a_1, \dots, a_r", "bias": "a_0"}

# With these, the mean of x^2r and its gradient fit in fp32 for all |x| up to 5e5, which is more than fp16 can hold.
SAFE_ORDER, SAFE_EPS = 3, 1e-12


class RowNorm(Activation):
    """n(x): every row divided by its own root mean square, or L2 norm."""

    formula = r"n(x) = \frac{x}{\sqrt{\overline{x^2} + \epsilon}}"
    source = ZHUO
    whole_row = True

    def __init__(self, norm: Norm = "rms", eps: Eps = 1e-6, width: int | None = None):
        super().__init__()
        self.norm, self.eps, self.width = norm, eps, width

    def compute(self, x: Tensor) -> Tensor:
        """n(x), (..., F) -> (..., F)."""
        u, (scale,) = self.powers(x, 1)
        return u * scale

    def polynomial(self, x: Tensor, coefficients: Sequence[Tensor]) -> Tensor:
        """a_0 + sum_i a_i n(x^i) for coefficients a_0, a_1, ..., each () or (F,).

        Raises ValueError when x is only a part of its rows.
        """
        u, scales = self.powers(x, len(coefficients) - 1)
        # A scalar for each row: so compiled code sums the coefficients' gradients row by row, which is faster.
        bias, *weights = (a if a.ndim else a.expand_as(scales[0]) for a in coefficients)
        return horner([bias, *(a * scale for a, scale in zip(weights, scales, strict=True))], u)

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand: with n = scale x, by x it is scale (grad - n sum(grad n) / count)."""
        (x,) = inputs
        u, (scale,) = self.powers(x, 1)
        inward = row_totals(grad, u) * scale * scale / self._count(x)
        return [(grad - inward * u) * scale]

    def has_gradients(self) -> bool:
        """Where no row has to be scaled."""
        return self.eps >= SAFE_EPS and super().has_gradients()

    def _count(self, x: Tensor) -> int:
        return x.shape[-1] if self.norm == "rms" else 1

    def powers(self, x: Tensor, order: int) -> tuple[Tensor, list[Tensor]]:
        """u (..., F) and n_1 .. n_order, each (..., 1), such that n(x^i) = n_i u^i."""
        if self.width is not None and x.shape[-1] != self.width:
            raise ValueError(
                f"{self.name or 'a norm'} normalises rows of {self.width}, but was given {x.shape[-1]} columns: a part "
                "of a row has another norm; gather the rows, or give it a DTensor, which knows that it is a part"
            )
        if order <= SAFE_ORDER and self.eps >= SAFE_EPS:
            return x, self._scales(x, [self.eps] * order)
        # n(x^i) does not change when x is divided by any number and eps by its 2i-th power. No power of u overflows,
        # nor does the norm of a row with an element of 1 vanish.
        smallest = max(self.eps**0.5, self.eps ** (0.5 / order), torch.finfo(x.dtype).tiny)
        shrink = x.detach().abs().amax(-1, keepdim=True).clamp(min=smallest).reciprocal()
        u = x * shrink
        return u, self._scales(u, [(self.eps ** (0.5 / i) * shrink) ** (2 * i) for i in range(1, order + 1)])

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The graph at `x` (N,) when the norm is the mean one of `inputs` (R, F), rows that the layer received."""
        return (x * self.mean_scales(inputs, 1)[0]).to(x.dtype)

    def mean_scales(self, inputs: Tensor, order: int) -> list[Tensor]:
        """n_1 .. n_order with n(x^i) = n_i x^i, each () in fp64: the means over the rows of `inputs` (R, F)."""
        return [scale.mean() for scale in self._scales(inputs.double(), [self.eps] * order)]

    def _scales(self, u: Tensor, eps: Sequence[float | Tensor]) -> list[Tensor]:
        """1 / sqrt(mean(u^2i) + eps_i) for i = 1, 2, ..., each (..., 1); 0 where that is infinite."""
        scales, square = [], u * u
        power = square
        for i, extra in enumerate(eps):
            power = power * square if i else square
            size = power.mean(-1, keepdim=True) if self.norm == "rms" else power.sum(-1, keepdim=True)
            size = size + extra
            size = torch.where(size == 0, torch.inf, size)
            scales.append(size.sqrt().reciprocal())  # rsqrt's gradient has a cube, which underflows
        return scales


@register("poly_norm")
class PolyNorm(RowNorm):
    """A polynomial whose every power is normalised by its own row, with r + 1 scalars a layer."""

    formula = r"a_0 + \sum_{i=1}^{r} a_i\, n(x^i), \quad n(u) = \frac{u}{\sqrt{\overline{u^2} + \epsilon}}"
    symbols = SYMBOLS

    def __init__(self, order: Order = 3, norm: Norm = "rms", eps: Eps = 1e-6, width: int | None = None):
        super().__init__(norm, eps, width)
        self.weight = nn.Parameter(torch.full((order,), 1.0 / order))  # a_1 .. a_r
        self.bias = nn.Parameter(torch.zeros(()))  # a_0

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F). Raises ValueError when x is only a part of its rows."""
        return self.polynomial(x, (self.bias, *self.weight.unbind()))

    def has_gradients(self) -> bool:
        """Where no row has to be scaled."""
        return len(self.weight) <= SAFE_ORDER and self.eps >= SAFE_EPS and super().has_gradients()

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand: directly, and through the norms n_i = (mean(x^2i) + eps)^(-1/2) of the rows."""
        (x,) = inputs
        (x, norms), square, count = self.powers(x, len(self.weight)), x * x, self._count(x)
        power, direct, through_norms, by_weight = x, [], [], []
        for i, (a, n) in enumerate(zip(self.weight.unbind(), norms, strict=True), start=1):
            power = power * x if i > 1 else x
            t = row_totals(grad, power)
            by_weight.append((n * t).sum())
            direct.append(i * a * n)
            through_norms.append(-i * a * (t * n * n) * n / count)  # never n^3, which underflows
        by_x = horner(direct, x) * grad + horner(through_norms, square) * x
        return by_x, *self.not_frozen(weight=torch.stack(by_weight), bias=total(grad))

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The graph at `x` (N,) when the norms are the mean ones of `inputs` (R, F), rows that the layer received."""
        weights = self.weight.unbind()
        scales = self.mean_scales(inputs, len(weights))
        return horner([self.bias, *(a * s for a, s in zip(weights, scales, strict=True))], x.double()).to(x.dtype)


@register("poly_relu_norm")
class PolyReLUNorm(PolyNorm):
    """PolyNorm of the positive part of x, one of the paper's ablations.

    Its released code has no such function; the form here is PolyNorm with relu(x) in the place of x.
    """

    formula = r"a_0 + \sum_{i=1}^{r} a_i\, n(\max(0, x)^i), \quad n(u) = \frac{u}{\sqrt{\overline{u^2} + \epsilon}}"

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F). Raises ValueError when x is only a part of its rows."""
        return super().compute(x.relu())

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """As poly_norm's, through the positive parts."""
        (x,) = inputs
        by_positive, *others = super().gradients([x.relu()], grad)
        return where_positive(by_positive, x), *others

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """As poly_norm's, of the positive parts."""
        return super().curve(x.relu(), inputs.relu())
