"""What sets one kind of fine-tuning task apart: its inputs, the model's head, and how what the model says is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from actbench.config.finetuning import FinetuneSettings, SquadSettings
from actbench.config.schema import BertSection
from actbench.data.encoding import EncodedExamples, encode
from actbench.data.tasks import Task
from actbench.data.windows import Windows, windows_of
from actbench.errors import RunFailed
from actbench.evaluation import squad
from actbench.evaluation.metrics import score
from actbench.nn.bert import Bert, BertClassifier, BertSpans, Finetuned
from actbench.nn.heads import Classifier, Spans
from actbench.nn.init import initialize_head


@dataclass(frozen=True)
class Verdict:
    """A model's scores by name; for questions its answers too, and SQuAD 2.0's threshold for giving none."""

    scores: dict[str, float]
    predictions: dict[str, str] | None = None
    null_threshold: float | None = None


class Objective(Protocol):
    """A kind of task. Equal ones make the same inputs of the same examples."""

    def __hash__(self) -> int: ...

    def encode(self, tokenizer_file: Path, examples: Sequence[Any], length: int) -> EncodedExamples:
        """The examples as inputs of at most `length` tokens."""
        ...

    def model(self, encoder: Bert, config: BertSection, seed: int) -> Finetuned:
        """The encoder with a new head."""
        ...

    def judge(self, examples: EncodedExamples, outputs: Sequence[np.ndarray], chosen: Verdict | None = None) -> Verdict:
        """How good the model's outputs, one an example, are.

        `chosen` is the verdict on the selection set, where all that is left to choose was chosen; None: these examples
        are the selection set. Raises RunFailed for outputs that are not finite.
        """
        ...


@dataclass(frozen=True)
class Labelling:
    """Texts or pairs of texts to a class or a score."""

    task: Task

    def encode(self, tokenizer_file: Path, examples: Sequence[Any], length: int) -> EncodedExamples:
        """See Objective."""
        return encode(tokenizer_file, examples, length)

    def model(self, encoder: Bert, config: BertSection, seed: int) -> Finetuned:
        """See Objective."""
        classifier = Classifier(config.d_model, self.task.n_classes, config.dropout)
        initialize_head(classifier, config, seed)
        return BertClassifier(encoder, classifier)

    def judge(self, examples: EncodedExamples, outputs: Sequence[np.ndarray], chosen: Verdict | None = None) -> Verdict:
        """See Objective; outputs are (K,)."""
        each = np.stack(outputs)
        if not np.isfinite(each).all():  # the largest of none is the first class
            raise RunFailed(f"{self.task.name}: an output is not a number")
        found = each[:, 0] if self.task.kind == "regression" else each.argmax(-1)
        return Verdict(score(self.task, found, examples.labels))


@dataclass(frozen=True)
class Answering:
    """Questions to the parts of their texts that answer them."""

    may_be_none: bool  # SQuAD 2.0: a text need not have the answer
    max_query_length: int
    doc_stride: int
    n_best_size: int
    max_answer_length: int

    def encode(self, tokenizer_file: Path, examples: Sequence[Any], length: int) -> Windows:
        """See Objective."""
        return windows_of(tokenizer_file, examples, length, self.max_query_length, self.doc_stride)

    def model(self, encoder: Bert, config: BertSection, seed: int) -> Finetuned:
        """See Objective."""
        spans = Spans(config.d_model)
        initialize_head(spans, config, seed)
        return BertSpans(encoder, spans)

    def judge(self, examples: EncodedExamples, outputs: Sequence[np.ndarray], chosen: Verdict | None = None) -> Verdict:
        """See Objective; outputs are (T, 2)."""
        assert isinstance(examples, Windows)
        found = squad.answers(examples, outputs, self.n_best_size, self.max_answer_length)
        if not self.may_be_none:
            predicted = squad.predictions(examples.questions, found, None)
            return Verdict(squad.score_v1(examples.questions, predicted), predicted)
        threshold = squad.choose_threshold(examples.questions, found) if chosen is None else chosen.null_threshold
        predicted = squad.predictions(examples.questions, found, threshold)
        return Verdict(squad.score_v2(examples.questions, predicted), predicted, threshold)


def objective_of(task: Task, settings: FinetuneSettings) -> Objective:
    """The task's kind; for spans `settings` are SQuAD's. Equal for tasks and settings that need the same inputs."""
    if task.kind != "spans":
        return Labelling(task)
    assert isinstance(settings, SquadSettings)
    own = ("max_query_length", "doc_stride", "n_best_size", "max_answer_length")
    return Answering(task.name == "squad_v2", **{name: getattr(settings, name) for name in own})
