"""Polynomials by Horner's rule, in the form that is fastest with a compiler and in the one that is without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def horner(terms: Sequence[Any], x: Any) -> Any:
    """sum_i terms[i] x^i for numbers, or for tensors that broadcast to x; then of x's shape from two terms on."""
    total = terms[-1]
    for i, term in enumerate(reversed(terms[:-1])):
        total = _step(total, x, term, ours=i > 0)
    return total


def even_and_odd(terms: Sequence[Any], x: Any, square: Any) -> Any:
    """As `horner`, given x^2: two chains of half the length, which a processor works on at the same time."""
    even = horner(terms[::2], square)
    return even if len(terms) == 1 else _step(horner(terms[1::2], square), x, even, ours=len(terms) > 3)


def derivative(terms: Sequence[Any]) -> list[Any]:
    """The terms of the derivative of sum_i terms[i] x^i; one at least."""
    return [*terms[1:2], *(i * term for i, term in enumerate(terms[2:], start=2))] or [0 * terms[0]]


def _step(total: Any, x: Any, term: Any, ours: bool) -> Any:
    """total x + term; where no gradient is wanted in one pass through memory, and in place if `total` is ours."""
    if type(x) is not Tensor or torch.is_grad_enabled() or torch.compiler.is_compiling():  # a DTensor adds by itself
        return total * x + term
    if not isinstance(term, Tensor):
        term = torch.scalar_tensor(term, dtype=x.dtype, device=x.device)
    if not isinstance(total, Tensor):
        return torch.add(term, x, alpha=total)
    if ours and total.shape == x.shape:
        return torch.addcmul(term, total, x, out=total)
    if total.ndim == 0 and not total.is_cuda:
        return torch.add(term, x, alpha=total.item())
    return (total * x).add_(term)  # addcmul is slow where two of three are spread
