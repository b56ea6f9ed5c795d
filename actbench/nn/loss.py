"""Cross-entropy over a large vocabulary without ever holding all its logits.

A batch's logits are many times larger than anything else in a small model, and each pass over them goes through main
memory. So the loss is taken a few rows at a time, and its gradient with it, while the rows' logits are at hand (as in
Liger-Kernel's fused linear cross-entropy, Hsu et al. 2024, arXiv 2410.10989).

Shapes: N tokens, D model width, V vocabulary, R rows taken at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class CrossEntropy(nn.Module):
    """The mean negative log-likelihood of target ids under softmax(hidden weight' + bias)."""

    def __init__(self) -> None:
        super().__init__()
        self.part = CrossEntropyPart()

    def forward(self, hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`hidden` (N, D), `targets` (N,), `weight` (V, D), `bias` (V,) -> nats, in fp32; not twice differentiable.

        Matrix products follow autocast.
        """
        if torch.is_grad_enabled():
            return _WithGradient.apply(self.part, hidden, targets, weight, bias)
        nats = [_nats(*rows, weight, bias)[0] for rows in _parts(hidden, targets)]
        return torch.stack(nats).sum() / len(targets)


class CrossEntropyPart(nn.Module):
    """The summed loss of some rows and its gradients, all times `scale`; a module of its own to be compiled alone."""

    def forward(
        self, hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, scale: float
    ) -> tuple[Tensor, ...]:
        """`hidden` (R, D), `targets` (R,) -> the loss, then its gradients by hidden, weight and, if any, bias."""
        nats, logits, log_z = _nats(hidden, targets, weight, bias)
        ids = torch.arange(len(weight), dtype=torch.int32, device=weight.device)
        hit = ids == targets[:, None].to(torch.int32)
        d_logits = ((logits - log_z).exp() - hit.float()) * scale
        d_hidden = F.linear(d_logits, weight.t()).to(hidden.dtype)
        d_weight = F.linear(d_logits.t(), hidden.t()).to(weight.dtype)
        return (nats * scale, d_hidden, d_weight, *([] if bias is None else [d_logits.sum(0)]))


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, part: CrossEntropyPart, hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        loss = torch.zeros((), device=hidden.device)
        d_hidden = []
        sums = [torch.zeros_like(parameter) for parameter in (weight, bias) if parameter is not None]
        for rows, wanted in _parts(hidden, targets):
            nats, d_rows, *d_parameters = part(rows, wanted, weight, bias, 1 / len(targets))
            loss += nats
            d_hidden.append(d_rows)
            for total, d in zip(sums, d_parameters, strict=True):
                total += d
        ctx.save_for_backward(torch.cat(d_hidden), *sums)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, *d_bias = (saved * grad for saved in ctx.saved_tensors)
        return None, d_hidden, None, d_weight, d_bias[0] if d_bias else None


def _parts(hidden: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    """R rows at a time, R = 4 D: with fewer, summing the gradients of the weights would cost as much as the logits."""
    rows = 4 * hidden.shape[-1]
    return list(zip(hidden.split(rows), targets.split(rows), strict=True))


def _nats(hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The summed loss of some rows, their logits (R, V) in fp32, and the logarithm of their normalisers (R, 1)."""
    logits = F.linear(hidden, weight, bias).float()
    log_z = logits.logsumexp(-1, keepdim=True)
    return (log_z - logits.gather(-1, targets[:, None])).sum(), logits, log_z
