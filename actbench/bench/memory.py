"""The most memory that a piece of work holds at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

QUIET = "99"  # the profiler's library reads its log level from the environment when it is first used


def peak_memory(work: Callable[[], object], device: str) -> int:
    """Bytes of tensors that `work` holds at its peak, above what was held before it began.

    On a CPU, the running sum of what PyTorch's profiler saw allocated and freed. What a kernel takes for itself, past
    PyTorch's allocator, is not in it.
    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return int(torch.cuda.max_memory_allocated()) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    return peak_seen(profiler)


def peak_seen(profiler: profile) -> int:
    """Bytes of tensors on the CPU at the peak of a profile with memory, above what was held when it began.

    Memory that was taken before the profile began and freed during it counts as held to its end.
    """
    recorded: Any = profiler.profiler
    events = [event for event in recorded.kineto_results.events() if event.name() == "[memory]"]
    changes = (event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(accumulate(changes), default=0)


def held_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of a model's parameters and buffers and of its optimiser's state."""
    tensors = [*model.parameters(), *model.buffers()]
    for state in optimizer.state.values():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)
