"""Polynomials by Horner's rule, in the form that is fastest with a compiler and in the one that is without."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def horner(terms: Sequence[Tensor], x: Tensor) -> Tensor:
    """sum_i terms[i] x^i for terms that broadcast to x; of x's shape if there are two or more."""
    total = terms[-1]
    for term in reversed(terms[:-1]):
        total = step(total, x, term)
    return total


def step(total: Tensor, x: Tensor, term: Tensor) -> Tensor:
    """total x + term; without a compiler in one pass through memory, and in place where nobody needs the old total."""
    if torch.compiler.is_compiling():
        return total * x + term  # makes better code than addcmul
    reused = total if total.shape == x.shape and not torch.is_grad_enabled() else None
    return torch.addcmul(term, total, x, out=reused)


def derivative(terms: Sequence[Tensor]) -> list[Tensor]:
    """The terms of the derivative of sum_i terms[i] x^i, for two terms or more; two at least."""
    found = [i * term for i, term in enumerate(terms)][1:]
    return found if len(found) > 1 else [*found, torch.zeros_like(found[0])]
