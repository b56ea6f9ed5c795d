"""What a study will take on this machine, before anything of it starts: tokens, hours and disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from actbench.config import FinetuneSettings, SquadSettings
from actbench.data.documents import expand
from actbench.data.requests import RequestTask
from actbench.data.tasks import AnyExample, Example, TaskData
from actbench.evaluation.transfer_plan import read_test
from actbench.study.follow_up_plans import requests_of, tasks_of
from actbench.study.follow_ups import (
    AnalyzeFollowUp,
    EvaluateFollowUp,
    FinetuneFollowUp,
    FollowUp,
    ZeroShotFollowUp,
)
from actbench.study.graph import Graph, Node
from actbench.study.speed import COMPILED, COMPILED_BEFORE_S, COMPILING_S, UNCOMPILED, Speeds
from actbench.study.status import Progress, State, status
from actbench.training.finetune_plan import most_learnt
from actbench.training.known_model import ImportPlan
from actbench.training.plan import Plan

FORWARD = 1 / 3  # of a training step's time
BYTES_A_PARAMETER = 16  # the weights, and the checkpoint's weights and two moments, in fp32
BYTES_A_WEIGHT = 4
SMALL_RUN_BYTES = 400_000  # a fine-tuning's or an evaluation's files
TOKENS_A_WORD, BYTES_A_TOKEN = 1.5, 4
LOOKED_AT = 200  # examples of a task, for their length


@dataclass(frozen=True)
class Estimate:
    """A pre-training run or a follow-up of one. Tokens, to pre-train on, seconds and bytes are of what is left to do.

    `once_seconds` of the seconds pass on one core, until the model is compiled. `basis` says where they come from.
    `label` tells a run from those whose names are alike but for the hash.
    """

    title: str
    state: State
    runs: int
    finished: int
    tokens: int
    seconds: float
    once_seconds: float
    disk_bytes: int
    basis: str
    label: str = ""

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class StudyEstimate:
    """All of a study, and how the seconds were arrived at, in sentences."""

    parts: tuple[Estimate, ...]
    jobs: int
    basis: tuple[str, ...]

    @property
    def runs(self) -> int:
        """Runs of all kinds."""
        return sum(part.runs for part in self.parts)

    @property
    def finished(self) -> int:
        """Of them, finished."""
        return sum(part.finished for part in self.parts)

    @property
    def tokens(self) -> int:
        """Left to train on."""
        return sum(part.tokens for part in self.parts)

    @property
    def seconds(self) -> float:
        """Of all that is left: jobs compile side by side, and share the cores while they train."""
        once = sum(part.once_seconds for part in self.parts)
        return sum(part.seconds for part in self.parts) - once + once / self.jobs

    @property
    def disk_bytes(self) -> int:
        """That what is left will take."""
        return sum(part.disk_bytes for part in self.parts)

    def facts(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "runs": self.runs,
            "finished": self.finished,
            "tokens": self.tokens,
            "jobs": self.jobs,
            "hours": self.seconds / 3600,
            "disk_bytes": self.disk_bytes,
            "basis": list(self.basis),
            "parts": [part.facts() for part in self.parts],
        }


def estimate(graph: Graph, jobs: int = 1) -> StudyEstimate:
    """Looks at the store, and measures the machine's peak where no finished run tells how fast a model is."""
    speeds = Speeds(graph.runs)
    lines = iter(status(graph))
    parts = []
    for node in graph.nodes:
        line = next(lines)
        parts.append(replace(_pretraining(node.plan, line, speeds), label=line.label))
        parts += [_follow_up(node, follow_up, next(lines), speeds) for follow_up in node.follow_ups]
    return StudyEstimate(tuple(parts), jobs, (*_sentences(parts, speeds), *_approximation(lines)))


def _pretraining(plan: Plan | ImportPlan, line: Progress, speeds: Speeds) -> Estimate:
    if line.state == "finished":
        return Estimate(line.title, line.state, 1, 1, 0, 0.0, 0.0, 0, "finished")
    if isinstance(plan, ImportPlan):
        taken_in = BYTES_A_WEIGHT * int(plan.model["parameters"])
        return Estimate(line.title, line.state, 1, 0, 0, 0.0, 0.0, taken_in, "taken in as it is")
    recipe, speed = plan.recipe, speeds.of(plan)
    size = BYTES_A_PARAMETER * int(plan.model["parameters"])
    if recipe.budget.minutes is not None:
        seconds = 60 * recipe.budget.minutes
        tokens = int(seconds * speed.tokens_per_second)
        return Estimate(line.title, line.state, 1, 0, tokens, seconds, seconds, size, "its budget")
    assert recipe.total_steps is not None
    steps = recipe.total_steps - line.done
    validations = math.ceil(steps / recipe.validation.every_steps)
    tokens = steps * recipe.tokens_per_step
    texts = [plan.validation, *plan.sets.values()]
    sequences = sum(min(recipe.validation.sequences, len(text)) for text in texts)
    validated = validations * sequences * recipe.batch.length
    seconds = speed.once_seconds + (tokens + FORWARD * validated) / speed.tokens_per_second
    return Estimate(line.title, line.state, 1, 0, tokens, seconds, speed.once_seconds, size, speed.basis)


def _follow_up(node: Node, follow_up: FollowUp, line: Progress, speeds: Speeds) -> Estimate:
    runs = follow_up.n_runs(node.plan.recipe)
    left = runs - line.done
    disk = left * SMALL_RUN_BYTES
    if not left:
        return Estimate(line.title, line.state, runs, line.done, 0, 0.0, 0.0, 0, "finished")
    if isinstance(follow_up, EvaluateFollowUp):
        seconds, basis = _evaluation_seconds(node.plan, follow_up, speeds)
    elif isinstance(follow_up, ZeroShotFollowUp):
        seconds, basis = _zero_shot_seconds(node.plan, follow_up, speeds)
    elif isinstance(follow_up, AnalyzeFollowUp):
        seconds, basis = _analysis_seconds(node.plan, follow_up, speeds)
    else:
        each = [
            _finetuning_seconds(node.plan, data, follow_up, speeds) for data in tasks_of(follow_up, node.plan.recipe)
        ]
        tests = min(left, len(follow_up.transfers) * len(set(follow_up.seeds)))
        tuned = left - tests
        seconds = tuned * fmean(seconds for seconds, _ in each)
        seconds += tests * _transfer_seconds(node.plan, follow_up, speeds)
        basis = min(basis for _, basis in each)
        if follow_up.all_settings.keep_weights:
            disk += tuned * BYTES_A_WEIGHT * int(node.plan.model["parameters"])
    return Estimate(line.title, line.state, runs, line.done, 0, seconds, 0.0, disk, basis)


def _transfer_seconds(plan: Plan | ImportPlan, follow_up: FinetuneFollowUp, speeds: Speeds) -> float:
    """Of one test of transfer, on average."""
    if not follow_up.transfers:
        return 0.0
    tests = [read_test(test.task, Path(test.data))[0] for _, test in follow_up.transfers]
    tokens = fmean(len(examples) * _mean_tokens(examples, follow_up.settings, plan) for examples in tests)
    return FORWARD * tokens / _uncompiled(plan, speeds.of(plan).tokens_per_second)


def _mean_tokens(examples: Sequence[AnyExample], settings: FinetuneSettings, plan: Plan | ImportPlan) -> float:
    longest = min(settings.length, plan.recipe.batch.length)
    return fmean(_tokens(example, settings, longest) for example in examples[:LOOKED_AT])


def _evaluation_seconds(plan: Plan | ImportPlan, follow_up: EvaluateFollowUp, speeds: Speeds) -> tuple[float, str]:
    if follow_up.files is None:
        assert isinstance(plan, Plan)
        tokens = plan.tokens.facts["splits"]["validation"]["tokens"]
    else:
        tokens = sum(path.stat().st_size for path in expand(follow_up.files)) / BYTES_A_TOKEN
    speed = speeds.of(plan)
    return FORWARD * tokens / _uncompiled(plan, speed.tokens_per_second), speed.basis


def _analysis_seconds(plan: Plan | ImportPlan, follow_up: AnalyzeFollowUp, speeds: Speeds) -> tuple[float, str]:
    """One pass over the text, forward and for gradients backward; the rank, which reads none, counts as if it did."""
    tokens = follow_up.sequences * plan.recipe.batch.length
    speed = speeds.of(plan)
    share = 1.0 if follow_up.analyze == "activity" else FORWARD
    return share * tokens / _uncompiled(plan, speed.tokens_per_second), speed.basis


def _zero_shot_seconds(plan: Plan | ImportPlan, follow_up: ZeroShotFollowUp, speeds: Speeds) -> tuple[float, str]:
    """Of all its tasks whose items are here: how many a task of lm-evaluation-harness has is not known before."""
    local = [task for task in requests_of(follow_up) if isinstance(task, RequestTask)]
    requests = [request for task in local for item in task.items for request in item.requests]
    texts = (len(request.context) + len(request.continuation) for request in requests)
    tokens = sum(min(plan.recipe.batch.length, size / BYTES_A_TOKEN) for size in texts)
    speed = speeds.of(plan)
    return FORWARD * tokens / _uncompiled(plan, speed.tokens_per_second), speed.basis


def _finetuning_seconds(
    plan: Plan | ImportPlan, data: TaskData, follow_up: FinetuneFollowUp, speeds: Speeds
) -> tuple[float, str]:
    """Of one run on one task, as measured, or from the speed of pre-training; of a grid, the mean of its points."""
    measured = speeds.finetuning_seconds(plan, data.task.name, follow_up)
    if measured is not None:
        return measured, "measured"
    tokens = fmean(_finetuning_tokens(plan, data, settings) for settings in follow_up.tried(plan.recipe))
    speed = speeds.of(plan)
    return tokens / _uncompiled(plan, speed.tokens_per_second), speed.basis


def _finetuning_tokens(plan: Plan | ImportPlan, data: TaskData, settings: FinetuneSettings) -> float:
    """How many tokens a run learns from, with those it only reads counted by the time they take."""
    tested = sum(map(len, data.evaluation.values()))
    most = most_learnt(data, settings)
    left = len(data.train) - most
    learnt, selected = settings.train_size or most, min(settings.train_size or left, left)
    if settings.protocol == "official":
        selected = len(next(iter(data.evaluation.values())))
    read = settings.epochs * (learnt + FORWARD * selected) + FORWARD * tested
    return _mean_tokens(data.train, settings, plan) * read


def _tokens(example: AnyExample, settings: FinetuneSettings, longest: int) -> float:
    """About how many tokens an example has as inputs of at most `longest`, in all its windows."""
    if isinstance(example, Example):
        return min(longest, 3 + TOKENS_A_WORD * len(f"{example.text_a} {example.text_b or ''}".split()))
    assert isinstance(settings, SquadSettings)
    asked, text = (TOKENS_A_WORD * len(words.split()) for words in (example.text, example.context))
    room = longest - 3 - min(asked, settings.max_query_length, longest / 2)
    windows = 1 + max(0, math.ceil((text - room) / min(settings.doc_stride, room / 2)))
    return windows * min(longest, 3 + asked + text)


def _uncompiled(plan: Plan | ImportPlan, tokens_per_second: float) -> float:
    """The speed of what is never compiled: fine-tuning and evaluation."""
    return tokens_per_second * UNCOMPILED / COMPILED if plan.hardware.compiled else tokens_per_second


def _approximation(lines: Iterator[Progress]) -> Iterator[str]:
    """What the lines beyond those of runs leave to do."""
    for line in lines:
        if line.state != "finished":
            yield (
                f"{line.done} of {line.total} fits of smooth functions are there; the others follow the runs, one at a "
                "time, and are not counted above."
            )


def _sentences(parts: list[Estimate], speeds: Speeds) -> Iterator[str]:
    bases = {part.basis for part in parts}
    if "measured" in bases:
        yield "measured: as fast as finished runs of the same model and activation were on this machine."
    if "measured with another activation" in bases:
        yield "measured with another activation: as fast as finished runs of the same model were on this machine."
    for precision, peak in speeds.peaks.items():
        yield (
            f"from FLOPs: the model's FLOPs a token at {COMPILED:.0%} (without a compiler {UNCOMPILED:.0%}) of "
            f"{peak.sentence()} in {precision}, and {COMPILING_S:.0f} s to compile a model, {COMPILED_BEFORE_S:.0f} s "
            "each further time. No more than a guide."
        )
    yield "Jobs compile side by side and share the cores while they train."
