"""Two ways of doing a piece of work, measured in turn, so that whatever slows the machine down slows both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

import torch

from actbench.bench.memory import peak_memory

Work = Callable[[], object]

WARM_UP = 3  # calls of each side before any is measured; the first one compiles
SHORTEST = 0.005  # seconds: what is faster is called several times for one measurement


@dataclass(frozen=True)
class Comparison:
    """A candidate's time and peak memory beside its baseline's.

    `time_ratio` is the median over rounds of the candidate's time by the baseline's of the same round,
    `time_quartiles` the first and third quartile. Memory is the peak above what was held before the work began.
    """

    milliseconds: float
    baseline_milliseconds: float
    time_ratio: float
    time_quartiles: tuple[float, float]
    memory_bytes: int
    baseline_memory_bytes: int

    @property
    def memory_ratio(self) -> float:
        """The candidate's peak memory by the baseline's."""
        return self.memory_bytes / max(1, self.baseline_memory_bytes)


def alternate(baseline: Work, candidate: Work, *, rounds: int, device: str) -> Comparison:
    """Calls baseline, candidate, baseline, candidate, ... and compares them. Needs two rounds at least."""
    for _ in range(WARM_UP):
        baseline()
        candidate()
    memory = [peak_memory(work, device) for work in (baseline, candidate)]
    calls = max(1, math.ceil(SHORTEST / max(1e-9, _seconds(baseline, 1, device))))
    pairs = [(_seconds(baseline, calls, device), _seconds(candidate, calls, device)) for _ in range(rounds)]
    ratios = [candidate_time / baseline_time for baseline_time, candidate_time in pairs]
    first, _, third = quantiles(ratios, n=4, method="inclusive")
    return Comparison(
        milliseconds=1000 * median(pair[1] for pair in pairs),
        baseline_milliseconds=1000 * median(pair[0] for pair in pairs),
        time_ratio=median(ratios),
        time_quartiles=(first, third),
        memory_bytes=memory[1],
        baseline_memory_bytes=memory[0],
    )


def _seconds(work: Work, calls: int, device: str) -> float:
    """Mean time of one of so many calls."""
    _finish(device)
    start = time.perf_counter()
    for _ in range(calls):
        work()
    _finish(device)
    return (time.perf_counter() - start) / calls


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
