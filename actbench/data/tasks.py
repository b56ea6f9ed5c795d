"""What a fine-tuning task is: its examples, its metrics, and which of its examples a run sees."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

MEAN = "mean"  # the headline of a task with two metrics, as on the GLUE leaderboard


@dataclass(frozen=True)
class Example:
    """One text or pair of texts. `label` is a class index, or a score where the task is a regression."""

    text_a: str
    text_b: str | None
    label: float


@dataclass(frozen=True)
class Answer:
    """A part of a text that answers a question, and the character of the text at which it begins."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question about a text. Each of `answers` is right; there are none where the text does not tell."""

    id: str
    text: str
    context: str
    answers: tuple[Answer, ...]


AnyExample = Example | Question
E = TypeVar("E", Example, Question)
T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """A task's shape. `labels` names its classes in the order of their indices; empty for a regression.

    `spans` answers questions with a part of their text. `headline` is what early stopping and tables use: the first of
    a span task's `metrics`, or the only one of another, or "mean" for the mean of them all. A `stand_in` was made from
    built-in text: its numbers are never reported as a public benchmark's.
    """

    name: str
    kind: Literal["classification", "regression", "spans"]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    stand_in: bool = False

    @property
    def n_classes(self) -> int:
        """The number of outputs of the task's head: its classes, or 1 for a regression."""
        return len(self.labels) or 1

    @property
    def headline(self) -> str:
        """The one number that stands for the task."""
        return self.metrics[0] if len(self.metrics) == 1 or self.kind == "spans" else MEAN


@dataclass(frozen=True)
class TaskData(Generic[E]):
    """A task with its examples. `evaluation` has one or more named sets (MNLI has two).

    `facts` is JSON data for a run's manifest: where the examples came from, their number and hash by split,
    and whether they are a subset of the official ones.
    """

    task: Task
    train: Sequence[E]
    evaluation: Mapping[str, Sequence[E]]
    facts: dict[str, Any]


def digest(examples: Sequence[Example]) -> str:
    """The sha256 of the examples, in hexadecimal: the same wherever they were read from.

    Labels count as float32: so the hub keeps STS-B's scores, and so they are learnt.
    """
    total = hashlib.sha256()
    for example in examples:
        total.update(repr((example.text_a, example.text_b, float(np.float32(example.label)))).encode() + b"\n")
    return total.hexdigest()


def sample(examples: Sequence[T], n: int, seed: int) -> list[T]:
    """`n` examples drawn without regard to their class, the same ones that RAFT's code draws (UKPLab/2022-RAFT).

    The draw depends on `seed` and the number of examples alone, so runs that differ in their model or
    activation see the same ones. Raises ValueError when there are fewer than `n`.
    """
    return random.Random(seed).sample(examples, n)


def shuffled(examples: Sequence[T], seed: int) -> list[T]:
    """All examples in the order of `datasets.Dataset.shuffle(seed)`, by which RAFT's code splits."""
    return [examples[i] for i in np.random.default_rng(seed).permutation(len(examples))]
