"""Cross-entropy over a large vocabulary without ever holding all its logits.

A batch's logits are many times larger than anything else in a small model, and each pass over them goes through main
memory. So the loss is taken a few rows at a time, and its gradient with it, while the rows' logits are at hand (as in
Liger-Kernel's fused linear cross-entropy, Hsu et al. 2024, arXiv 2410.10989).

Shapes: N tokens, D model width, V vocabulary, R rows taken at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

MOST = 1 << 26  # logits at a time: 128 MB in bf16


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
        nats = [
            F.cross_entropy(F.linear(rows, weight, bias).float(), wanted, reduction="sum")
            for rows, wanted in _parts(hidden, weight, targets)
        ]
        return torch.stack(nats).sum() / len(targets)


class Gradients(NamedTuple):
    """Of the loss by the rows' hidden states (R, D), the weight (V, D) and, if any, the bias (V,)."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None


class CrossEntropyPart(nn.Module):
    """The summed loss of some rows times `scale`, and its gradients; a module of its own to be compiled alone."""

    def forward(
        self, hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None, scale: float, into: Gradients
    ) -> Tensor:
        """`hidden` (R, D), `targets` (R,) -> the loss. Its gradients are written, the parameters' added, to `into`.

        Each exponential is taken once: it makes the normaliser and the gradient. Added to in here, the weight's
        gradient goes through memory once less.
        """
        product, at = F.linear(hidden, weight, bias), targets[:, None]
        dtype, logits = product.dtype, product.float()
        largest, own = logits.amax(-1, keepdim=True), logits.gather(-1, at)
        exponentials = (logits - largest).exp_()
        del product, logits  # uncompiled, they would lie beside all that follows
        normaliser = exponentials.sum(-1, keepdim=True)
        nats = (normaliser.log() + largest - own).sum()
        # Every logit's gradient is its share; the target's is less by `scale`. These few are put in one by one: to ask
        # of each logit whether it is the target's takes a third of all the time between products.
        shares = exponentials.mul_(scale / normaliser)
        if into.bias is not None:
            into.bias.add_(shares.sum(0)).index_add_(0, targets, torch.full_like(own[:, 0], -scale))
        d_own = (own - largest).exp() * (scale / normaliser) - scale
        d_logits = shares.to(dtype).scatter_(-1, at, d_own.to(dtype))  # cast here: autocast would cast it twice
        into.hidden.copy_(F.linear(d_logits, weight.t()))
        into.weight.add_(F.linear(d_logits.t(), hidden.t()))
        return nats * scale


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, part: CrossEntropyPart, hidden: Tensor, targets: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        into = Gradients(
            torch.empty_like(hidden), torch.zeros_like(weight), None if bias is None else torch.zeros_like(bias)
        )
        loss = torch.zeros((), device=hidden.device)
        device = hidden.device.type
        if torch.is_autocast_enabled(device):  # once for all parts
            weight = weight.to(torch.get_autocast_dtype(device))
        for rows, wanted, d_rows in _parts(hidden, weight, targets, into.hidden):
            loss += part(rows, wanted, weight, bias, 1 / len(targets), into._replace(hidden=d_rows))
        ctx.save_for_backward(*into)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight, d_bias = (None if saved is None else saved * grad for saved in ctx.saved_tensors)
        return None, d_hidden, None, d_weight, d_bias


def _parts(hidden: Tensor, weight: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Some rows of `hidden` (N, D) and the others at a time; `weight` (V, D).

    4 D of them: with fewer, summing the gradients of the weights would cost as much as the logits. But at most as many
    as have MOST logits, however wide the model.
    """
    rows = min(4 * hidden.shape[-1], max(1, MOST // len(weight)))
    return zip(*(x.split(rows) for x in (hidden, *others)), strict=True)
