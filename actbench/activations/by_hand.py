"""What gradients derived by hand are made of, each in the form that is fastest with a compiler or without one.

Autograd walks through two to four times as many operations. Compiled, sums over a whole tensor are taken row by row:
the compiler then makes all of a backward pass in one loop. `benchmarks/README.md` tells how to measure what this buys.
"""

from __future__ import annotations

import torch
from torch import Tensor


def total(a: Tensor, b: Tensor | None = None) -> Tensor:
    """The sum of a, or of a b, over all elements, (); both of one shape (..., F)."""
    if torch.compiler.is_compiling():
        return (a if b is None else a * b).sum(-1).sum()
    return a.sum() if b is None else torch.dot(a.reshape(-1), b.reshape(-1))


def row_totals(a: Tensor, b: Tensor) -> Tensor:
    """The sums of a b over the last axis, (..., 1)."""
    return (a * b).sum(-1, keepdim=True)


def moments(h: Tensor, x: Tensor, square: Tensor, count: int) -> Tensor:
    """sum(h x^i) for i = 0 .. count - 1, given x^2: (count,)."""
    found = [total(h)]
    for i in range(1, count):
        if i > 1 and i % 2:
            h = h * square
        found.append(total(h, x if i % 2 else square))
    return torch.stack(found)


def powers(h: Tensor, x: Tensor, count: int) -> list[Tensor]:
    """sum(h x^i) for i = 0 .. count - 1, each ()."""
    found = []
    for i in range(count):
        h = h * x if i else h
        found.append(total(h))
    return found


def where_positive(grad: Tensor, x: Tensor) -> Tensor:
    """`grad` where x > 0, else 0."""
    return torch.ops.aten.threshold_backward(grad, x, 0)


def add_product(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """total + a b for a scalar a, in place where no gradient is wanted."""
    if torch.is_grad_enabled() or a.ndim:
        return total + a * b
    return total.addcmul_(a, b)


def through_prelu(x: Tensor, grad: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Of x above zero and slope x below, by x and by the slope, ()."""
    above = where_positive(grad, x)
    below = grad - above
    return add_product(above, slope, below), total(below, x)
