"""The checks of what a module does: how it is made, what it keeps, what its output depends on."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actbench.activations.base import Activation
from actbench.activations.blocks import at_least_fp32
from actbench.activations.check_subject import Broken, Subject, nudge

LEADING = ((), (5,), (2, 3))  # the axes before F


def made(subject: Subject) -> str:
    """Construction draws no random numbers, and leaves no tensor where a state dict does not see it."""
    before = _generators()
    module = subject.make()
    drew = [library for library, state in _generators().items() if state != before[library]]
    if drew:
        raise Broken(f"draws random numbers at construction ({', '.join(drew)})")
    for key, value in vars(module).items():
        if isinstance(value, Tensor):
            raise Broken(f"self.{key} is a tensor, but neither an nn.Parameter nor a buffer")
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{count} coefficient{'s' * (count != 1)}, no random number drawn"


def shape(subject: Subject) -> str:
    """The output has the input's shape and dtype."""
    for way, sharing in subject.sharings().items():
        module = subject.make(**sharing)
        for sizes in ((*leading, subject.width) for leading in LEADING):
            for dtype in (torch.float32, torch.bfloat16):
                inputs = subject.inputs(*sizes, dtype=dtype)
                for got in (module(*inputs), module.compute(*map(at_least_fp32, inputs)).to(dtype)):
                    if got.shape != sizes or got.dtype != dtype:
                        found = f"{tuple(sizes)} {dtype} into {tuple(got.shape)} {got.dtype}".replace("torch.", "")
                        raise Broken(f"{way}turns {found}")
    return "keeps (F,), (B, F) and (B, T, F)"


def rows(subject: Subject) -> str:
    """A row stands for itself; and so does an element, unless `whole_row` says otherwise."""
    module, inputs = subject.make(), subject.inputs(4, subject.width)
    before = module(*inputs)
    for x in inputs:
        x[1, 5] += 0.5
    moved = (module(*inputs) != before).nonzero().tolist()
    if any(row != 1 for row, _ in moved):
        raise Broken("a row's output depends on another row")
    if any(column != 5 for _, column in moved) and not module.whole_row:
        raise Broken("an element's output depends on others of its row: set whole_row = True")
    return "each row by itself" if module.whole_row else "each element by itself"


def repeatable(subject: Subject) -> str:
    """In evaluation mode the same input gives the same output, whatever came between."""
    module, inputs = subject.make(), subject.inputs(5, subject.width)
    first = module(*inputs)
    module(*subject.inputs(3, subject.width, reach=9.0))
    away = _distance(module(*inputs), first)
    if away != 0:
        raise Broken(f"the same input gives another output, {away:.1e} away, in evaluation mode")
    module.train()
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    one, other = (_seeded(seed, module, inputs) for seed in (1, 2))
    if not module.draws and _distance(one, other) != 0:
        raise Broken("compute draws random numbers in training: say so by a property `draws` that is then True")
    if any(not torch.equal(value, kept[name]) for name, value in module.state_dict().items()):
        raise Broken("compute changes a buffer, and it may be called several times a step, each with some rows")
    return "the same output each time"


def state(subject: Subject) -> str:
    """A new module that loads the state dict of a changed, trained one equals it."""
    one, other = subject.make(), subject.make()
    nudge(one)
    one.train()(*subject.inputs(3, subject.width, reach=5.0))
    one.eval()
    other.load_state_dict(one.state_dict())
    inputs = subject.inputs(5, subject.width)
    away = _distance(one(*inputs), other(*inputs))
    if away != 0:
        raise Broken(f"a copy made from the state dict is {away:.1e} away: some state is kept outside it")
    return "a copy made from the state dict is equal"


def curve(subject: Subject) -> str:
    """`curve` gives a number for each point, as the figures need it."""
    x = torch.linspace(-4, 4, 81)
    with torch.no_grad():
        y = subject.make().curve(x, subject.inputs(8, subject.width)[0])
    if y.shape != x.shape or not torch.isfinite(y).all():
        raise Broken(
            f"curve() turns {tuple(x.shape)} into {tuple(y.shape)}, {int(torch.isfinite(y).sum())} of it finite"
        )
    return f"from {y.min().item():.3g} to {y.max().item():.3g} on [-4, 4]"


def _generators() -> dict[str, Any]:
    """The states of the global generators of random numbers."""
    numbers = np.random.get_state(legacy=False)["state"]
    return {
        "torch": torch.get_rng_state().tolist(),
        "random": random.getstate(),
        "numpy": (numbers["pos"], numbers["key"].tolist()),
    }


def _seeded(seed: int, module: Activation, inputs: list[Tensor]) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return module.compute(*inputs)


def _distance(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().nan_to_num(nan=torch.inf).max().item()
