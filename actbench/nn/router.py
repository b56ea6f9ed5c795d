"""Which experts each token goes to, and what keeps them evenly loaded.

Shapes: N tokens, D model width, E experts, K experts a token, L routers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import fmean
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.config.moe import MoeSection


class Routing(NamedTuple):
    """A router's decision: logits (N, E) in fp32; each token's experts (N, K), and their weights (N, K) in fp32."""

    logits: Tensor
    experts: Tensor
    weights: Tensor


class Decided(NamedTuple):
    """Of one batch: the share of its choices that fell on each expert (E,), which has no gradient, each expert's mean
    probability (E,), and the mean squared logsumexp of the logits ().
    """

    load: Tensor
    probability: Tensor
    router_z: Tensor


class Losses(NamedTuple):
    """load_balance: 1 where all experts are equally loaded, up to E. router_z: how large the logits are."""

    load_balance: Tensor
    router_z: Tensor


class Router(nn.Linear):
    """Sends each token to the K experts of highest probability, in fp32; every token is served."""

    decided: Decided | None = None  # in the last forward pass in training

    def __init__(self, d_model: int, moe: MoeSection):
        super().__init__(d_model, moe.experts, bias=False)
        self.top_k, self.normalize = moe.top_k, moe.normalize_top_k
        self.loss_weights = (moe.load_balance, moe.router_z)

    def forward(self, x: Tensor) -> Routing:  # type: ignore[override]  # a linear layer in its weights alone
        """(N, D) -> the decision."""
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.float(), self.weight)
            probabilities = logits.softmax(-1)
            weights, experts = probabilities.topk(self.top_k, dim=-1)
            if self.normalize:
                weights = weights / weights.sum(-1, keepdim=True)
            if self.training and torch.is_grad_enabled():
                self.decided = decided(logits, probabilities, experts)
        return Routing(logits, experts, weights)


def decided(logits: Tensor, probabilities: Tensor, experts: Tensor) -> Decided:
    """What the losses of one router are made of."""
    E = logits.shape[-1]
    load = (experts.flatten()[:, None] == torch.arange(E, device=experts.device)).float().mean(0)
    return Decided(load, probabilities.mean(0), logits.logsumexp(-1).square().mean())


def losses(found: Decided) -> Losses:
    """Of one router, as megablocks, with which OLMoE was trained, defines them.

    load_balance (Fedus et al. 2021, arXiv 2101.03961): E sum_e f_e p_e, with f_e the share of the N K choices that fell
    on e and p_e its mean probability. router_z (Zoph et al. 2022, arXiv 2202.08906): the mean squared logsumexp.
    """
    return Losses(len(found.load) * (found.load * found.probability).sum(), found.router_z)


def with_router_losses(
    loss: Tensor,
    model: nn.Module,
    average: Callable[[list[Tensor]], None] = lambda tensors: None,
    loads: list[Tensor] | None = None,
) -> tuple[Tensor, Losses | None]:
    """What training minimises: the loss of a model's last forward pass, and its routers' losses by their weights.

    Also these losses alone, means over the routers, without weights or gradient; None where there are no routers. The
    routers forget what they decided. `average` takes means over the processes that share the batch: with the load of
    all of it, the mean of their losses is the loss of the whole batch. So it is with the parts that a batch is cut
    into, where `loads` are those of the whole, a router's each.
    """
    found = take_decided(model)
    if not found:
        return loss, None
    routers, parts = zip(*found, strict=True)
    if loads is None:
        average([part.load for part in parts])
    else:
        parts = tuple(part._replace(load=load) for part, load in zip(parts, loads, strict=True))
    each = Losses(*(torch.stack(one).mean() for one in zip(*map(losses, parts), strict=True)))
    load_balance, router_z = routers[0].loss_weights
    total = loss + load_balance * each.load_balance + router_z * each.router_z
    return total, Losses(*(one.detach() for one in each))


def take_decided(model: nn.Module) -> list[tuple[Router, Decided]]:
    """What the routers decided in a model's last forward pass in training, in the model's order; they forget it."""
    found = []
    for module in model.modules():
        if isinstance(module, Router) and module.decided is not None:
            found.append((module, module.decided))
            module.decided = None
    return found


class RouterWatch:
    """While it is open, sums up what all routers of a model decide. Not for compiled code."""

    def __init__(self, model: nn.Module):
        self._routers = {
            name.removesuffix(".feed_forward.router"): module
            for name, module in model.named_modules()
            if isinstance(module, Router)
        }
        self._sums: dict[str, dict[str, Tensor]] = {}

    def __enter__(self) -> RouterWatch:
        self._sums = {name: _nothing(router.out_features) for name, router in self._routers.items()}
        self._hooks = [
            router.register_forward_hook(lambda _, __, routing, name=name: self._add(name, routing))
            for name, router in self._routers.items()
        ]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hook in self._hooks:
            hook.remove()

    def join(self, gathered: Callable[[Tensor], Tensor]) -> None:
        """Adds what the other processes saw; `gathered` turns a tensor (...) into that of each process (P, ...)."""
        self._sums = {
            name: {key: gathered(value).sum(0) for key, value in sums.items()} for name, sums in self._sums.items()
        }

    def by_layer(self) -> dict[str, dict[str, Any]]:
        """JSON data, by layer: every expert's share of the load, entropy in nats, losses, choices nobody served."""
        return {name: _told(sums, self._routers[name]) for name, sums in self._sums.items()}

    def overall(self) -> dict[str, Any]:
        """JSON data of all layers: means, the busiest expert's load over the fair share, experts that served no token,
        and choices that no expert served. Empty without routers.
        """
        layers = list(self.by_layer().values())
        if not layers:
            return {}
        return {
            **{key: fmean(layer[key] for layer in layers) for key in ("load_balance", "router_z", "router_entropy")},
            "busiest_expert": max(max(layer["load"]) * len(layer["load"]) for layer in layers),
            "idle_experts": sum(layer["load"].count(0.0) for layer in layers),
            "dropped_tokens": sum(layer["dropped_tokens"] for layer in layers),
        }

    @torch.no_grad()
    def _add(self, name: str, routing: Routing) -> None:
        E = routing.logits.shape[-1]
        logarithms = routing.logits.double().log_softmax(-1)
        probabilities = logarithms.exp()
        added = {
            "tokens": torch.tensor(len(routing.logits)),
            "load": torch.bincount(routing.experts.flatten(), minlength=E),
            "probability": probabilities.sum(0),
            "entropy": -(probabilities * logarithms).sum(),
            "z": routing.logits.double().logsumexp(-1).square().sum(),
        }
        for key, value in added.items():
            self._sums[name][key] += value.cpu()


def _nothing(experts: int) -> dict[str, Tensor]:
    counts = {"tokens": torch.zeros((), dtype=torch.long), "load": torch.zeros(experts, dtype=torch.long)}
    numbers = {key: torch.zeros((), dtype=torch.float64) for key in ("entropy", "z")}
    return {**counts, **numbers, "probability": torch.zeros(experts, dtype=torch.float64)}


def _told(sums: Mapping[str, Tensor], router: Router) -> dict[str, Any]:
    tokens, served = int(sums["tokens"]), int(sums["load"].sum())
    load = sums["load"].double() / max(1, served)
    return {
        "load": load.tolist(),
        "router_entropy": sums["entropy"].item() / tokens,
        "load_balance": len(load) * (load * sums["probability"]).sum().item() / tokens,
        "router_z": sums["z"].item() / tokens,
        "dropped_tokens": tokens * router.top_k - served,
    }
