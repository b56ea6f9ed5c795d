"""Gradients derived by hand, for where there is no compiler: autograd's need two to four times as many operations.

Each function is given the input x and the gradient `grad` from above, both contiguous and of one shape, and returns the
gradient by x and by the coefficients. `benchmarks/README.md` tells how to measure what they buy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from actbench.activations.horner import derivative, horner


def rational(x: Tensor, grad: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of P/Q with P = sum_i a_i x^i and Q = 1 + sum_j b_j |x|^j, b_j >= 0; by x, by a (m + 1,) and by b (n,)."""
    p_terms, q_terms = a.unbind(), (torch.ones_like(b[0]), *b.unbind())
    z, square = x.abs(), x * x
    Q = horner(q_terms, z)
    f = horner(p_terms, x).div_(Q)
    h = torch.div(grad, Q)  # by P
    hf = f.mul_(h)  # by -Q
    by_a = _moments(h, x, square, len(a))
    by_b = -_moments(hf, z, square, len(b) + 1)[1:]
    by_z = horner(derivative(q_terms), z).mul_(hf)
    return horner(derivative(p_terms), x).mul_(h).addcmul_(by_z, x.sgn(), value=-1), by_a, by_b


def polynomial_of_relu(x: Tensor, grad: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """Of sum_i a_i relu(x)^i, by x and by a (r + 1,)."""
    positive = x.relu()
    by_a = _moments(grad, positive, positive * positive, len(a))
    by_positive = horner(derivative(a.unbind()), positive).mul_(grad)
    return through_relu(x, by_positive), by_a


def polynomial_of_norm(
    x: Tensor, grad: Tensor, a: Sequence[Tensor], scales: Sequence[Tensor], count: int
) -> tuple[Tensor, Tensor]:
    """Of a_0 + sum_i a_i s_i x^i over rows, where s_i = (sum_k x_k^2i / count + eps)^(-1/2), each (R, 1).

    By x (R, F), and by a (r + 1,).
    """
    square = x * x
    power, sums = x, []
    for i in range(len(scales)):
        power = power * x if i else x
        sums.append(torch.linalg.vecdot(grad, power)[:, None])  # of grad by s_i, but for a_i
    weights = a[1:]
    direct = derivative([a[0].expand_as(scales[0]), *(w * s for w, s in zip(weights, scales, strict=True))])
    through_norm = [  # never s^3, which underflows
        i * w * (t * s * s) * s / count for i, (w, s, t) in enumerate(zip(weights, scales, sums, strict=True), start=1)
    ]
    by_x = horner(direct, x).mul_(grad)
    by_x.addcmul_(horner([*through_norm, torch.zeros_like(scales[0])], square), x, value=-1)
    by_weights = [(s * t).sum() for s, t in zip(scales, sums, strict=True)]
    return by_x, torch.stack([grad.sum(), *by_weights])


def through_relu(x: Tensor, by_positive: Tensor) -> Tensor:
    """The gradient by x from the one by relu(x)."""
    return torch.ops.aten.threshold_backward(by_positive, x, 0)


def _moments(h: Tensor, x: Tensor, square: Tensor, count: int) -> Tensor:
    """sum(h x^i) for i = 0 .. count - 1."""
    h, x, square = h.reshape(-1), x.reshape(-1), square.reshape(-1)
    found = [h.sum()]
    for i in range(1, count):
        if i > 1 and i % 2:
            h = h * square
        found.append(torch.dot(h, x if i % 2 else square))
    return torch.stack(found)
