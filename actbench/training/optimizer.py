"""AdamW in its groups, which of them learn yet, and the learning rate as a function of progress."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from actbench.activations import Activation
from actbench.config.placement import learning, recipe_slot, spelled
from actbench.config.schema import ActivationOptimizer, OptimizerSection, ScheduleSection
from actbench.nn.build import activation_parameters, activation_slots


def make_optimizer(model: nn.Module, section: OptimizerSection) -> torch.optim.AdamW:
    """AdamW over a model's `parameter_groups`."""
    return adamw(parameter_groups(model, section), section)


def adamw(groups: list[dict[str, Any]], section: OptimizerSection) -> torch.optim.AdamW:
    """AdamW over groups of parameters, in one pass."""
    return torch.optim.AdamW(groups, betas=section.betas, eps=section.eps, fused=True)


def parameter_groups(model: nn.Module, section: OptimizerSection) -> list[dict[str, Any]]:
    """A model's matrices (with weight decay), vectors (without) and the activations' own coefficients.

    Coefficients that learn alike share a group, named "activation" or with its slots. Those that are frozen are in
    none. Each group carries its peak rate as "peak_lr", its schedule as "schedule", and as "unfreeze_after" the steps
    before which `unfreeze` keeps it frozen.
    """
    coefficients = activation_parameters(model)
    others = [p for p in model.parameters() if p.requires_grad and p not in coefficients]
    groups = [
        _group("matrices", [p for p in others if p.ndim >= 2], section.lr, section.weight_decay),
        _group("vectors", [p for p in others if p.ndim < 2], section.lr, 0.0),
        *_activation_groups(model, section),
    ]
    return [group for group in groups if group["params"]]


def unfreeze(optimizer: torch.optim.Optimizer, step: int) -> None:
    """Lets those coefficients learn, and no others, whose first steps are over after `step` steps of the whole run.

    AdamW gives a parameter its moments with its first gradient, so theirs start fresh.
    """
    for group in optimizer.param_groups:
        if group["unfreeze_after"]:
            for parameter in group["params"]:
                parameter.requires_grad_(step >= group["unfreeze_after"])


def _activation_groups(model: nn.Module, section: OptimizerSection) -> list[dict[str, Any]]:
    slots = activation_slots(model)
    learnable = {slot: [p for p in module.parameters() if p.requires_grad] for slot, module in slots.items()}
    alike: dict[tuple[Any, ...], list[str]] = {}
    learnt = learning(section, list(dict.fromkeys(map(recipe_slot, slots))))
    for slot in slots:
        own = learnt[recipe_slot(slot)]
        if own.frozen or own.unfreeze_after:
            slots[slot].requires_grad_(False)
        if learnable[slot] and not own.frozen:
            alike.setdefault(_settings(slots[slot], own, section), []).append(slot)
    return [
        _group(
            "activation" if len(alike) == 1 else f"activation of {spelled(names)}",
            [parameter for name in names for parameter in learnable[name]],
            *settings,
        )
        for settings, names in alike.items()
    ]


def _settings(activation: Activation, own: ActivationOptimizer, section: OptimizerSection) -> tuple[Any, ...]:
    """Rate, weight decay, schedule and steps to be frozen; the activation's own defaults where the recipe is silent."""
    multiplier = activation.lr_multiplier if own.lr_multiplier is None else own.lr_multiplier
    lr = section.lr * multiplier if own.lr is None else own.lr
    decay = activation.weight_decay if own.weight_decay is None else own.weight_decay
    return lr, decay, own.schedule, own.unfreeze_after


def _group(
    name: str,
    parameters: list[nn.Parameter],
    lr: float,
    weight_decay: float,
    schedule: str = "same",
    unfreeze_after: int | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "params": parameters,
        "lr": lr,
        "peak_lr": lr,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "unfreeze_after": unfreeze_after,
    }


def set_learning_rates(optimizer: torch.optim.Optimizer, section: ScheduleSection, progress: float) -> None:
    """Sets each group's rate for `progress` in [0, 1]: the share of the budget that is used up."""
    for group in optimizer.param_groups:
        kind = "constant" if group["schedule"] == "constant" else section.kind
        group["lr"] = group["peak_lr"] * rate(kind, section.warmup_fraction, section.final_fraction, progress)


def rate(kind: str, warmup: float, final: float, progress: float) -> float:
    """The share of the peak rate: linear warm-up over the first `warmup` of training, then `kind` down to `final`."""
    if progress < warmup:
        return progress / warmup
    done = min(1.0, (progress - warmup) / max(1e-12, 1 - warmup))
    if kind == "linear":
        return 1 - (1 - final) * done
    if kind == "cosine":
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
    return 1.0
