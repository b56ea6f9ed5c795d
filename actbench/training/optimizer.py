"""AdamW in three groups, and the learning rate as a function of progress."""

from __future__ import annotations

import math

import torch
from torch import nn

from actbench.config.schema import OptimizerSection, ScheduleSection
from actbench.nn.build import activation_parameters


def make_optimizer(model: nn.Module, section: OptimizerSection) -> torch.optim.AdamW:
    """AdamW over matrices (with weight decay), vectors (without) and the activations' own coefficients.

    Each group carries its peak rate as "peak_lr" and its schedule as "schedule".
    """
    coefficients = activation_parameters(model)
    others = [p for p in model.parameters() if p.requires_grad and p not in coefficients]
    matrices = [p for p in others if p.ndim >= 2]
    vectors = [p for p in others if p.ndim < 2]
    own = section.activation
    own_lr = own.lr if own.lr is not None else section.lr * own.lr_multiplier
    groups = [
        ("matrices", matrices, section.lr, section.weight_decay, "same"),
        ("vectors", vectors, section.lr, 0.0, "same"),
        ("activation", [p for p in model.parameters() if p in coefficients], own_lr, own.weight_decay, own.schedule),
    ]
    return torch.optim.AdamW(
        [
            {"name": name, "params": params, "lr": lr, "peak_lr": lr, "weight_decay": decay, "schedule": schedule}
            for name, params, lr, decay, schedule in groups
            if params
        ],
        betas=section.betas,
        eps=section.eps,
        fused=True,
    )


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
