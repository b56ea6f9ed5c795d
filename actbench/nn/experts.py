"""A mixture of experts in the place of a feed-forward block, as OLMoE (Muennighoff et al. 2024, arXiv 2409.02060).

Every token goes to K of E experts. Rows are sorted by expert, so that none has to be dropped or padded.

Shapes: N tokens, D model width, F an expert's width, E experts, K experts a token, R = N K rows.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from actbench import activations
from actbench.activations import Activation
from actbench.config.moe import MoeSection
from actbench.config.schema import ActivationSpec
from actbench.nn.grouped import ExpertLinear
from actbench.nn.router import Router


class MixtureOfExperts(nn.Module):
    """sum_k w_k down_k(act(up_k(x))) over a token's experts; gated as in FeedForward.

    The activation has one set of coefficients, or one an expert if it has any. A function of the whole row, as a
    normalisation, sees the F columns of one token in one expert.
    """

    def __init__(self, d_model: int, width: int, spec: ActivationSpec, moe: MoeSection):
        super().__init__()
        activation = activations.create(spec.name, width=width, **spec.options)
        self.activation: Activation | EachExpertsOwn = activation
        if moe.activation_sharing == "expert" and next(activation.parameters(), None) is not None:
            self.activation = EachExpertsOwn([copy.deepcopy(activation) for _ in range(moe.experts)])
        self.width = width
        self.router = Router(d_model, moe)
        self.up = ExpertLinear(moe.experts, d_model, width)
        self.gate = ExpertLinear(moe.experts, d_model, width) if activation.gated else None
        self.down = ExpertLinear(moe.experts, width, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D), summed in fp32."""
        tokens = x.reshape(-1, x.shape[-1])
        _, experts, weights = self.router(tokens)
        sorting = (_sorted_apart if x.is_cuda else Sorting.by)(experts, self.router.out_features)
        rows = _ToExperts.apply(tokens, sorting.order, sorting.places)
        inputs = [layer(rows, sorting.ends) for layer in (self.gate, self.up) if layer is not None]
        if isinstance(self.activation, EachExpertsOwn):
            hidden = self.activation(sorting.ends, *inputs)
        else:
            hidden = self.activation(*inputs)
        served = _ToTokens.apply(self.down(hidden, sorting.ends), sorting.order, sorting.places)
        return (served.view(*weights.shape, -1) * weights[..., None]).sum(1).view(x.shape)


class EachExpertsOwn(nn.Module):
    """An activation for each expert, alike but for what it learns."""

    def __init__(self, experts: list[Activation]):
        super().__init__()
        self.experts = nn.ModuleList(experts)

    @torch.compiler.disable  # the number of an expert's rows changes with every batch
    def forward(self, ends: Tensor, *inputs: Tensor) -> Tensor:
        """Rows (R, F), those of expert e ending before `ends[e]`, -> (R, F)."""
        sizes = ends.diff(prepend=ends.new_zeros(1)).tolist()
        parts = zip(*(x.split(sizes) for x in inputs), strict=True)
        return torch.cat([expert(*part) for expert, part in zip(self.experts, parts, strict=True)])


class Sorting(NamedTuple):
    """The R choices, (token, one of its experts) in a token's order, as rows sorted by expert.

    order (R,): the choice that a row is. places (R,): the row that a choice is. ends (E,): where experts' rows end.
    """

    order: Tensor
    places: Tensor
    ends: Tensor

    @classmethod
    def by(cls, experts: Tensor, n_experts: int) -> Sorting:
        """Of choices (N, K)."""
        ascending, order = experts.flatten().sort(stable=True)
        numbers = torch.arange(len(order), device=order.device)
        places = torch.empty_like(order).scatter_(0, order, numbers)
        ends = torch.searchsorted(ascending, torch.arange(n_experts, device=order.device), right=True)
        return cls(order, places, ends)


@torch.compiler.disable
def _sorted_apart(experts: Tensor, n_experts: int) -> Sorting:
    """The same, not compiled: a block compiled whole had wrong gradients on a GPU with torch 2.11 (docs/log.md)."""
    return Sorting.by(experts, n_experts)


class _ToExperts(torch.autograd.Function):
    """Tokens (N, D) -> a row (R, D) for each choice. Backward, a token adds its rows up: nothing is scattered."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, order: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.N = len(tokens)
        return tokens.index_select(0, order // (len(order) // len(tokens)))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return grad.index_select(0, places).view(ctx.N, -1, grad.shape[-1]).sum(1), None, None


class _ToTokens(torch.autograd.Function):
    """Rows (R, D) -> choices (R, D), and back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return rows.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (order,) = ctx.saved_tensors
        return grad.index_select(0, order), None, None
