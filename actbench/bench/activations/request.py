"""What is to be measured, from words that a user typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from actbench import activations
from actbench.activations import Activation
from actbench.errors import BadInput, Problem, nearest

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
MODES = ("compiled", "eager")


@dataclass(frozen=True)
class Request:
    """The activations by name, and the dtypes, modes and shapes (rows, F) to measure each in."""

    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    modes: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        shapes = [list(shape) for shape in self.shapes]
        names, dtypes, modes = list(self.names), list(self.dtypes), list(self.modes)
        return {"activations": names, "dtypes": dtypes, "modes": modes, "shapes": shapes, "rounds": self.rounds}


def place(mode: str) -> str:
    """The words after `actbench bench` by which a page's place for what was measured in a mode is called."""
    return f"activations {mode}"


def request(names: Sequence[str], dtypes: str, modes: str, shapes: str, rounds: int) -> Request:
    """Reads lists such as "fp32,bf16" and "2048x3072,8192x1024"; no names mean every activation that learns.

    Raises BadInput with all that is wrong.
    """
    problems: list[Problem] = []
    chosen = Request(
        names=tuple(dict.fromkeys(names)) or learnable(),
        dtypes=_words(dtypes, tuple(DTYPES), "--dtypes", problems),
        modes=_words(modes, MODES, "--modes", problems),
        shapes=tuple(dict.fromkeys(_shape(text, problems) for text in shapes.split(","))),
        rounds=rounds,
    )
    for name in chosen.names:
        problems.extend(Problem(message, name, hint=hint) for _, message, hint in activations.option_problems(name, {}))
    if problems:
        raise BadInput(problems)
    return chosen


def learnable() -> tuple[str, ...]:
    """All registered activations with coefficients."""
    return tuple(name for name in activations.available() if learns(activations.create(name)))


def learns(activation: Activation) -> bool:
    """Whether it has coefficients."""
    return next(activation.parameters(), None) is not None


def _words(text: str, known: tuple[str, ...], option: str, problems: list[Problem]) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    problems.extend(Problem(f"unknown '{w}'", option, hint=nearest(w, known)) for w in words if w not in known)
    return words


def _shape(text: str, problems: list[Problem]) -> tuple[int, int]:
    rows, _, width = text.strip().partition("x")
    if not (rows.isdecimal() and width.isdecimal() and int(rows) and int(width)):
        problems.append(Problem(f"'{text}' is not a shape", "--shapes", hint="rows and width, as in 2048x3072"))
        return 1, 1
    return int(rows), int(width)
