"""What gradients derived by hand are made of, each in the form that is fastest with a compiler or without one.

Autograd walks through two to four times as many operations. Compiled, sums over a whole tensor are taken row by row:
the compiler then makes all of a backward pass in one loop. `benchmarks/README.md` tells how to measure what this buys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def columns(coefficients: Tensor) -> Sequence[Tensor]:
    """Those of (k,), each (), or of (F, k), each (F,)."""
    return coefficients.unbind(-1)


def elements(coefficients: Tensor) -> Sequence[Any]:
    """As `columns`; but those of (k,) as plain numbers where nothing but their value matters: work on them is free."""
    plain = type(coefficients) in (Tensor, nn.Parameter) and coefficients.ndim == 1 and not differentiated()
    if plain and coefficients.device.type == "cpu":
        numbers: list[float] = coefficients.tolist()
        return numbers
    return columns(coefficients)


def total(a: Tensor, b: Tensor | None = None) -> Tensor:
    """The sum of a, or of a b, over all elements, (); both of one shape (..., F)."""
    if torch.compiler.is_compiling():
        return (a if b is None else a * b).sum(-1).sum()
    if b is None:
        return a.sum()
    return torch.dot(a, b) if a.ndim == 1 else torch.dot(a.reshape(-1), b.reshape(-1))


def row_totals(a: Tensor, b: Tensor) -> Tensor:
    """The sums of a b over the last axis, (..., 1)."""
    return (a * b).sum(-1, keepdim=True)


def moments(h: Tensor, x: Tensor, square: Tensor, count: int) -> Tensor:
    """sum(h x^i) for i = 0 .. count - 1, given x^2: (count,)."""
    found = [total(h)]
    for i in range(1, count):
        if i > 1 and i % 2:
            h = h * square if i == 3 else times(h, square)
        found.append(total(h, x if i % 2 else square))
    return torch.stack(found)


def powers(h: Tensor, x: Tensor, count: int) -> Iterator[Tensor]:
    """h x^i for i = 0 .. count - 1, each of h's shape."""
    for i in range(count):
        h = h * x if i else h
        yield h


def where_positive(grad: Tensor, x: Tensor) -> Tensor:
    """`grad` where x > 0, else 0."""
    return torch.ops.aten.threshold_backward(grad, x, 0)


def times(a: Any, b: Tensor) -> Tensor:
    """a b for a tensor a that nobody else needs, or a number: in the place of a where no gradient is wanted."""
    in_place = isinstance(a, Tensor) and a.shape == b.shape and not differentiated()
    return a.mul_(b) if in_place else a * b


def with_sign_of(sign: Tensor, value: Tensor) -> Tensor:
    """`value` where sign >= 0, else -value; without a compiler torch.where is slow."""
    if differentiated():
        return torch.where(sign >= 0, value, -value)
    return torch.sub(value, where_positive(value, -sign), alpha=2)


def exp(x: Tensor, factor: float = 1.0) -> Tensor:
    """e^(factor x); without a compiler by exp2, as torch.exp may be MKL's, which is slow on some processors."""
    if differentiated():
        return torch.exp(x if factor == 1 else factor * x)
    return torch.mul(x, factor / math.log(2)).exp2_()


def at_most(x: Tensor, bound: float) -> Tensor:
    """min(x, bound); compiled, clamp asks for nan too, which takes time."""
    return bound - (bound - x).relu() if differentiated() else x.clamp_max(bound)


def add_product(total: Tensor, a: Tensor | float, b: Tensor) -> Tensor:
    """total + a b for a scalar a, in place where no gradient is wanted."""
    if not isinstance(a, Tensor):
        return torch.add(total, b, alpha=a) if differentiated() else total.add_(b, alpha=a)
    if torch.is_grad_enabled() or a.ndim:
        return total + a * b
    return total.addcmul_(a, b)


def subtract_product(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """total - a b, all of one shape, in place where no gradient is wanted."""
    return total - a * b if differentiated() else total.addcmul_(a, b, value=-1)


def differentiated() -> bool:
    """Whether autograd or the compiler follows what is done."""
    return torch.is_grad_enabled() or torch.compiler.is_compiling()


def through_prelu(x: Tensor, grad: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Of x above zero and slope x below, by x and by the slope, ()."""
    above = where_positive(grad, x)
    below = grad - above
    return add_product(above, slope, below), total(below, x)
