"""Ways of doing a piece of work, measured in turn, so that whatever slows the machine down slows all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
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
    works = (baseline, candidate)
    memory = warm_up(works, device)
    calls = calls_in_a_round(baseline, device)
    pairs = take_turns(works, (calls, calls), rounds=rounds, device=device)
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


def warm_up(works: Sequence[Work], device: str) -> list[int]:
    """Calls each a few times, in turn, and returns the peak of each one's memory above what was held before."""
    for _ in range(WARM_UP):
        for work in works:
            work()
    return [peak_memory(work, device) for work in works]


def calls_in_a_round(work: Work, device: str) -> int:
    """How often to call it for one measurement, by how long it takes."""
    return max(1, math.ceil(SHORTEST / max(1e-9, _seconds(work, 1, device))))


def take_turns(works: Sequence[Work], calls: Sequence[int], *, rounds: int, device: str) -> list[tuple[float, ...]]:
    """Seconds of a call of each work in every round: first, second, ..., last, first, ..."""
    return [
        tuple(_seconds(work, times, device) for work, times in zip(works, calls, strict=True)) for _ in range(rounds)
    ]


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
