"""Polynomials of an inner function: PolyCom (Zhuo et al. 2025, arXiv 2411.03884), coefficients a_1..a_r and a_0.

All start at a_i = 1/r and a_0 = 0; the paper takes r = 3. PolyNorm and its relatives are in `poly_norm.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from actbench.activations import options
from actbench.activations.base import Activation, ElementwiseActivation, Sharing
from actbench.activations.blocks import gradients
from actbench.activations.by_hand import moments, through_prelu, where_positive
from actbench.activations.horner import derivative, even_and_odd, horner
from actbench.activations.inner import adopt, inner_activation
from actbench.activations.poly_norm import SYMBOLS, ZHUO, Order, RowNorm
from actbench.activations.registry import register
from actbench.errors import Problem


class _Polynomial(ElementwiseActivation):
    """The coefficients that all forms share."""

    source = ZHUO
    symbols = SYMBOLS

    def __init__(self, order: int, sharing: Sharing, width: int | None):
        super().__init__(sharing, width)
        self.weight = self.coefficient([1.0 / order] * order)
        self.bias = self.coefficient(0.0)

    def coefficients(self) -> tuple[Tensor, ...]:
        """a_0, a_1, ..., a_r, each () or (F,)."""
        return self.spread(self.bias), *self.terms(self.weight)

    def through(self, u: Tensor, grad: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradients of sum_i a_i u^i by u and by the coefficients."""
        a, square = self.coefficients(), u * u
        by_a = moments(grad, u, square, len(a))
        return even_and_odd(derivative(a), u, square) * grad, {"weight": by_a[1:], "bias": by_a[0]}


@register("poly_relu")
class PolyReLU(_Polynomial):
    """A polynomial of the positive part of x."""

    formula = r"a_0 + \sum_{i=1}^{r} a_i \max(0, x)^i"

    def __init__(self, order: Order = 3, sharing: Sharing = "layer", width: int | None = None):
        super().__init__(order, sharing, width)

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        return horner(self.coefficients(), x.relu())

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        (x,) = inputs
        by_positive, by = self.through(x.relu(), grad)
        return where_positive(by_positive, x), *self.not_frozen(**by)


@register("poly_prelu")
class PolyPReLU(_Polynomial):
    """A polynomial of a PReLU, whose slope s below zero is learned too, from 1/4; one of PolyCom's ablations."""

    formula = r"a_0 + \sum_{i=1}^{r} a_i (\max(0, x) + s \min(0, x))^i"
    symbols: ClassVar = {**SYMBOLS, "slope": "s"}

    def __init__(self, order: Order = 3, sharing: Sharing = "layer", width: int | None = None):
        super().__init__(order, sharing, width)
        self.slope = self.coefficient(0.25)

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        return horner(self.coefficients(), self._prelu(x))

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand."""
        (x,) = inputs
        by_prelu, by = self.through(self._prelu(x), grad)
        by_x, by_slope = through_prelu(x, by_prelu, self.slope)
        return by_x, *self.not_frozen(**by, slope=by_slope)

    def _prelu(self, x: Tensor) -> Tensor:
        return x.relu() - self.spread(self.slope) * (-x).relu()


@register("polycom")
class PolyCom(_Polynomial):
    """The general composition: type I of `kind` 1 takes powers of rho, type II of `kind` 2 takes rho of powers.

    rho is the row normalisation if `inner` is "norm", with the options norm ("rms" or "l2") and eps (1e-6); else the
    activation of that name with the options `inner_options`. a_0 stands alone in both types. Raises ValueError when
    there is no such activation.
    """

    formula = (
        r"a_0 + \sum_{i=1}^{r} a_i\, \rho(x)^i \ \ (\mathrm{I}), \quad "
        r"a_0 + \sum_{i=1}^{r} a_i\, \rho(x^i) \ \ (\mathrm{II})"
    )
    inner: Activation

    def __init__(
        self,
        kind: Literal[1, 2] = 1,
        inner: str = "norm",
        order: Order = 3,
        inner_options: dict[str, Any] | None = None,
        sharing: Sharing = "layer",
        width: int | None = None,
    ):
        super().__init__(order, sharing, width)
        self.kind = kind
        adopt(
            self, _row_norm(inner_options, width) if inner == "norm" else inner_activation(inner, inner_options, width)
        )

    def compute(self, x: Tensor) -> Tensor:
        """(..., F) -> (..., F)."""
        if self.kind == 1:
            return horner(self.coefficients(), self.inner.compute(x))
        if isinstance(self.inner, RowNorm):
            return self.inner.polynomial(x, self.coefficients())
        total, *weights = self.coefficients()
        power = torch.ones_like(x)
        for a in weights:
            power = power * x
            total = total + a * self.inner.compute(power)
        return total

    def has_gradients(self) -> bool:
        """For type I, where those of the inner function were too."""
        return self.kind == 1 and super().has_gradients() and self.inner.has_gradients()

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        """By hand, of type I."""
        (x,) = inputs
        by_inner, by = self.through(self.inner.compute(x), grad)
        by_x, *others = gradients(self.inner, [x], by_inner)
        return by_x.view_as(x), *self.not_frozen(**by), *others  # the inner function may see one axis

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        """The graph at `x` (N,), the mean over the channels; norms are the mean ones of `inputs` (R, F)."""
        if not self.whole_row:
            return (
                self.compute(x if self.width is None else x[:, None].expand(-1, self.width)).view(len(x), -1).mean(-1)
            )
        total, *weights = (a.mean() for a in self.coefficients())
        for i, a in enumerate(weights, start=1):
            inner = self.inner.curve(x, inputs) ** i if self.kind == 1 else self.inner.curve(x**i, inputs**i)
            total = total + a * inner
        return total


def _row_norm(chosen: Mapping[str, Any] | None, width: int | None) -> RowNorm:
    checked, flaws = options.check(RowNorm, chosen or {})
    if flaws:
        raise ValueError(
            "; ".join(str(Problem(message, key=f"inner_options.{key}", hint=hint)) for key, message, hint in flaws)
        )
    return RowNorm(**checked, width=width)
