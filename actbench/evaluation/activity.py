"""What a model's activations do on a text: their inputs and outputs, units that do nothing, gradients by layer.

Shapes: R rows (tokens that reach a slot), F the width an activation sees.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from actbench.activations import Activation
from actbench.config.placement import recipe_slot
from actbench.data.batches import Batch
from actbench.nn.bert import Bert
from actbench.nn.build import activation_slots
from actbench.nn.gpt import Gpt

REACH, BINS = 8.0, 128  # of the histograms: [-REACH, REACH); what lies outside is told as a share
WEAK = 0.01  # of the root mean square of a slot's outputs


def activity(model: Bert | Gpt, batches: Iterable[Batch]) -> dict[str, Any]:
    """JSON data: {"slots": {slot: facts}, "gradient_norms": {layer: norms}, "edges": the histograms' edges}.

    A unit is dead where its output is 0 and the loss's gradient by all its inputs is 0 for every token of the text. It
    is weak where the root mean square of its outputs is at most WEAK of that of the whole slot. Dead units are weak
    too. Gradient norms are those of the mean loss over the text, by a block's weights. Dropout is off; slots that the
    text does not reach, as BERT's pooler, are left out. Experts' own slots are told as one, that of their layer.
    """
    device = next(model.parameters()).device
    watched = {slot: _Slot(module) for slot, module in activation_slots(model).items()}
    model.eval()
    model.zero_grad(set_to_none=True)
    scored = 0
    try:
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            for batch in batches:
                count = batch["targets"].numel()
                loss = model(**{key: value.to(device) for key, value in batch.items()})
                (loss * count).backward()
                scored += count
    finally:
        for slot in watched.values():
            slot.stop()
    norms = gradient_norms(model, scored)
    model.zero_grad(set_to_none=True)
    reached = {name: slot.facts() for name, slot in watched.items() if slot.rows}
    by_slot: dict[str, list[dict[str, Any]]] = {}
    for name, found in reached.items():
        by_slot.setdefault(recipe_slot(name), []).append(found)
    facts = {name: merged(several) if several[1:] else several[0] for name, several in by_slot.items()}
    edges = torch.linspace(-REACH, REACH, BINS + 1).tolist()
    return {"slots": facts, "gradient_norms": norms, "edges": edges, "scored_tokens": scored}


def merged(slots: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The facts of several slots of one width as those of one: each counts with its rows."""
    rows = [slot["rows"] for slot in slots]
    shares = {key: _mean([slot[key] for slot in slots], rows) for key in ("dead_share", "weak_share", "zero_share")}
    values = {side: _merged_values([slot[side] for slot in slots], rows) for side in ("inputs", "outputs")}
    return {"units": slots[0]["units"], "rows": sum(rows), **shares, **values}


def _merged_values(values: Sequence[dict[str, Any]], rows: Sequence[int]) -> dict[str, Any]:
    mean = _mean([one["mean"] for one in values], rows)
    variance = _mean([one["sd"] ** 2 + (one["mean"] - mean) ** 2 for one in values], rows)
    bins = zip(*(one["fractions"] for one in values), strict=True)
    return {
        "mean": mean,
        "sd": math.sqrt(variance),
        "below": _mean([one["below"] for one in values], rows),
        "above": _mean([one["above"] for one in values], rows),
        "fractions": [_mean(shares, rows) for shares in bins],
    }


def _mean(values: Sequence[float], rows: Sequence[int]) -> float:
    """Weighted by the rows."""
    return math.fsum(value * n for value, n in zip(values, rows, strict=True)) / sum(rows)


def gradient_norms(model: nn.Module, scored: int) -> dict[str, dict[str, float]]:
    """By layer: the L2 norm of the present gradients over `scored`, of the block, its feed-forward and attention."""
    squares: dict[str, dict[str, float]] = {}
    for name, parameter in model.named_parameters():
        if not name.startswith("layers.") or parameter.grad is None:
            continue
        _, number, part, *_ = name.split(".")
        own = squares.setdefault(f"layers.{number}", dict.fromkeys(("block", "feed_forward", "attention"), 0.0))
        square = parameter.grad.double().square().sum().item()
        for key in ("block", part) if part in own else ("block",):
            own[key] += square
    return {layer: {key: math.sqrt(value) / scored for key, value in own.items()} for layer, own in squares.items()}


class _Slot:
    """One activation, watched through forward and backward passes."""

    def __init__(self, module: Activation):
        self.rows = 0
        self.inputs, self.outputs = _Values(), _Values()
        self.zeros = 0
        self.squares = self.acts = self.learns = torch.zeros(())
        self._hook = module.register_forward_hook(self._see)

    def stop(self) -> None:
        self._hook.remove()

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        dead = ~(self.acts | self.learns)
        weak = self.squares <= WEAK**2 * self.squares.mean()
        return {
            "units": dead.numel(),
            "rows": self.rows,
            "dead_share": dead.double().mean().item(),
            "weak_share": weak.double().mean().item(),
            "zero_share": self.zeros / (self.rows * dead.numel()),
            "inputs": self.inputs.facts(),
            "outputs": self.outputs.facts(),
        }

    def _see(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not self.rows:
            self.squares = torch.zeros(output.shape[-1], dtype=torch.float64, device=output.device)
            self.acts = self.learns = torch.zeros(output.shape[-1], dtype=torch.bool, device=output.device)
        seen = output.detach().float().flatten(0, -2)
        self.rows += len(seen)
        self.acts = self.acts | (seen != 0).any(0)
        self.zeros += int((seen == 0).sum())
        self.squares = self.squares + seen.double().square().sum(0)
        self.inputs.add(inputs[0].detach().float())
        self.outputs.add(seen)
        for x in inputs:
            x.register_hook(self._learn)

    def _learn(self, gradient: Tensor) -> None:
        self.learns = self.learns | (gradient != 0).flatten(0, -2).any(0)


class _Values:
    """A histogram, mean and standard deviation of all values that were added."""

    def __init__(self) -> None:
        self.count, self.sum, self.squares, self.below, self.above = 0, 0.0, 0.0, 0, 0
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        self.count += x.numel()
        exact = x.double()
        self.sum += exact.sum().item()
        self.squares += exact.square().sum().item()
        self.below += int((x < -REACH).sum())
        self.above += int((x >= REACH).sum())
        inside = x[(x >= -REACH) & (x < REACH)]
        self.counts += torch.histc(inside, BINS, -REACH, REACH).double().cpu()

    def facts(self) -> dict[str, Any]:
        """JSON data: fractions of all values."""
        mean = self.sum / self.count
        return {
            "mean": mean,
            "sd": math.sqrt(max(0.0, self.squares / self.count - mean**2)),
            "below": self.below / self.count,
            "above": self.above / self.count,
            "fractions": (self.counts / self.count).tolist(),
        }
