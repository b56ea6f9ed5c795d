"""Which test of a fine-tuned run on another task's data a call means, and whether it has been made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from actbench.data import nli, squad
from actbench.data.glue import NLI
from actbench.data.tasks import AnyExample, Question, Task
from actbench.errors import BadInput, Problem, nearest
from actbench.evaluation.load import TOKENIZER, WEIGHTS, check_keeps_weights, task_of
from actbench.store import Run, identity_hash

TestName = Literal["snli", "nli", "squad", "triviaqa"]

MEASURE = "transfer"
INFERENCE = ("snli", "nli")
QUESTIONS = ("squad", "triviaqa")
TESTS: tuple[TestName, ...] = ("snli", "nli", "squad", "triviaqa")
"""What may be tested on: pairs to label as MNLI's, and questions in SQuAD's format. The name is what tables show."""

SNLI_ROWS = 9_824  # labelled pairs of SNLI's test set; its development set has more


@dataclass(frozen=True)
class TransferPlan:
    """A fine-tuned run, and the examples to test it on; `label` indices in them are NLI's."""

    parent: Run
    test: str
    examples: tuple[AnyExample, ...]
    facts: dict[str, Any]
    folder: Path

    @property
    def run(self) -> Run:
        """The run this plan leads to, finished or not."""
        return Run(self.folder)

    @property
    def task(self) -> Task:
        """What the run learned, under the name that says what it is tested on."""
        learned = task_of(self.parent)
        name = transfer_name(learned.name, self.test)
        return Task(name, learned.kind, learned.labels, learned.metrics, learned.stand_in)

    @property
    def data_hash(self) -> str:
        """Stands for all text the run learned from or is tested on."""
        return identity_hash({"parent": self.parent.info["data"]["hash"], "examples": self.facts["examples_sha256"]})


def transfer_name(learned: str, test: str) -> str:
    """What a task learned and another tested are called together: "mnli to snli"."""
    return f"{learned} to {test}"


def suits(learned: Task, test: str) -> bool:
    """Whether what a task teaches can be tested so: the same three labels, or questions on texts."""
    return learned.kind == "spans" if test in QUESTIONS else set(learned.labels) == set(NLI)


def read_test(test: str, file: Path) -> tuple[tuple[AnyExample, ...], dict[str, Any]]:
    """The examples of a file to test on, and its facts. Raises BadInput for an unknown name and a broken file."""
    if test not in TESTS:
        raise BadInput(Problem(f"there is no test '{test}'", "--task", hint=nearest(test, list(TESTS))))
    examples, facts = _read(test, file)
    return examples, dict(facts)


def plan_transfer(parent: Run, test: str, file: Path, runs: Path) -> TransferPlan:
    """The plan to test a fine-tuned run on the examples in `file`.

    Raises BadInput when the run keeps no weights or learned what cannot be tested so, and when the file cannot be used.
    """
    examples, facts = read_test(test, file)
    check_keeps_weights(parent)
    learned = task_of(parent)
    if not suits(learned, test):
        needed = f"a task with the labels {', '.join(NLI)}" if test in INFERENCE else "questions on texts"
        had = f" ({', '.join(learned.labels)})" if learned.labels else ""
        hint = "a run fine-tuned on mnli" if test in INFERENCE else "a run fine-tuned on squad"
        raise BadInput(Problem(f"{parent.id} learned {learned.name}{had}; {test} tests {needed}", hint=hint))
    assert parent.manifest is not None
    identity = {
        "kind": "evaluate",
        "parent": {name: parent.manifest["files"][name] for name in (WEIGHTS, TOKENIZER)},
        "measure": MEASURE,
        "test": test,
        "examples": facts["examples_sha256"],
    }
    folder = runs / f"{parent.id}-{test}-{identity_hash(identity)}"
    return TransferPlan(parent, test, examples, facts, folder)


@cache
def _read(test: str, file: Path) -> tuple[tuple[AnyExample, ...], dict[str, Any]]:
    if test in INFERENCE:
        pairs, facts = nli.read_nli(file)
        subset = {"official_rows": SNLI_ROWS, "subset": len(pairs) < SNLI_ROWS} if test == "snli" else {}
        return tuple(pairs), {**facts, **subset}
    questions, facts = squad.read_questions(file, training=False)
    return tuple(questions), {**facts, **_question_facts(questions)}


def _question_facts(questions: Sequence[Question]) -> dict[str, Any]:
    without = sum(not question.answers for question in questions)
    return {"rows": len(questions), "without_answer": without, "examples_sha256": squad.digest(questions)}
