"""What is to be measured, from words that a user typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actbench.errors import BadInput, Problem, nearest

AXES = ("width", "depth", "length", "batch")
TEXT, STUDIES = "text", "studies"
PARTS = (*AXES, TEXT, STUDIES)

SMALLEST_MB, LARGEST_MB = 0.1, 1e6
MOST_RUNS = 10_000


@dataclass(frozen=True)
class Request:
    """The parts in their order; how often the sizes of a step take turns; bytes of the texts; runs of the studies."""

    parts: tuple[str, ...]
    rounds: int
    text_bytes: tuple[int, ...]
    runs: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        megabytes = [size / 1e6 for size in self.text_bytes]
        return {"parts": list(self.parts), "rounds": self.rounds, "text_mb": megabytes, "runs": list(self.runs)}


def request(parts: Sequence[str], rounds: int, text_mb: str, runs: str) -> Request:
    """Reads lists such as "1,4,16" and "1,2,4"; no parts mean all. Raises BadInput with all that is wrong."""
    problems = [Problem("unknown part", part, hint=nearest(part, PARTS)) for part in parts if part not in PARTS]
    megabytes = _rising(text_mb, "--text-mb", (SMALLEST_MB, LARGEST_MB), False, problems)
    counts = _rising(runs, "--runs", (1, MOST_RUNS), True, problems)
    if problems:
        raise BadInput(problems)
    return Request(
        parts=tuple(part for part in PARTS if part in parts or not parts),
        rounds=rounds,
        text_bytes=tuple(round(1e6 * size) for size in megabytes),
        runs=tuple(map(int, counts)),
    )


def _rising(
    text: str, option: str, limits: tuple[float, float], whole: bool, problems: list[Problem]
) -> tuple[float, ...]:
    """The different numbers of a list, the smallest first. Notes what is none, out of the limits, or only one."""
    low, high = limits
    numbers = []
    for word in text.split(","):
        try:
            number = float(int(word)) if whole else float(word)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            kind = "whole number" if whole else "number"
            problems.append(Problem(f"'{word.strip()}' is no {kind} from {low:g} to {high:g}", option))
        numbers.append(number)
    if len(set(numbers)) < 2:
        problems.append(Problem("growth needs two sizes at least", option, hint="as in 1,4"))
    return tuple(sorted(set(numbers)))
