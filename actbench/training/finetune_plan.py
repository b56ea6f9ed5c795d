"""Which fine-tuning runs a call means, and which of them are finished; importing this does not import Lightning."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.config import FinetuneSettings
from actbench.config.grid import FinetuneGrid
from actbench.config.placement import in_short
from actbench.config.schema import BertSection
from actbench.config.tuning import WITHOUT_COEFFICIENTS, moves, random_biases
from actbench.data.tasks import TaskData, sample, shuffled
from actbench.errors import BadInput, Problem
from actbench.evaluation.load import WEIGHTS, recipe_of
from actbench.store import Run, identity_hash
from actbench.training.tuning import tunable

SPLIT_SEED, LEARNT_SHARE = 96, 0.75  # RAFT's code: the order in which a training set is cut, and where
DRAWING = "2022-RAFT"  # whose way to split and draw it is: runs that drew 2 N from one order are others
FEWEST = 4  # of them one chooses the epoch
CHOSEN_ON_REPORTED = "a grid would be chosen on the set that is reported on"


@dataclass(frozen=True)
class FinetunePlan:
    """One task, one seed, one pre-trained run."""

    parent: Run
    data: TaskData
    settings: FinetuneSettings
    seed: int
    folder: Path

    @property
    def data_hash(self) -> str:
        """Stands for all text the run learned from or is tested on: its parent's and the task's."""
        parent = self.parent.info["data"]["hash"]
        return identity_hash({"parent": parent, "examples": _seen(self.data)})

    @property
    def run(self) -> Run:
        """The run this plan leads to, finished or not."""
        return Run(self.folder)

    @property
    def train_examples(self) -> int:
        """How many there are to learn from."""
        return self.settings.train_size or most_learnt(self.data, self.settings)

    def train_and_selection(self) -> tuple[list[Any], list[Any]]:
        """The examples to learn from, and those that choose the epoch.

        RAFT's protocol takes both from the official training set, which is shuffled by a fixed seed and cut 75 : 25;
        with a train_size of N, the run's seed draws N of either part, or all of the second where it has fewer. The
        official evaluation set is only ever tested on. The official protocol learns from all of the training set, or
        from N of it, and chooses by the evaluation set, the first where there are several.
        """
        N = self.settings.train_size
        if self.settings.protocol == "official":
            learnt = self.data.train if N is None else sample(self.data.train, N, self.seed)
            return list(learnt), list(next(iter(self.data.evaluation.values())))
        mixed, cut = shuffled(self.data.train, SPLIT_SEED), most_learnt(self.data, self.settings)
        learnt, chosen = mixed[:cut], mixed[cut:]
        if N is None:
            return learnt, chosen
        return sample(learnt, N, self.seed), sample(chosen, min(N, len(chosen)), self.seed)


def most_learnt(data: TaskData[Any], settings: FinetuneSettings) -> int:
    """How many examples of a task may be learnt from, by the settings' protocol."""
    return len(data.train) if settings.protocol == "official" else int(LEARNT_SHARE * len(data.train))


def plan_finetuning(
    parent: Run,
    tasks: Iterable[TaskData],
    seeds: Iterable[int],
    settings: FinetuneSettings,
    runs: Path,
    grid: FinetuneGrid | None = None,
) -> list[FinetunePlan]:
    """One plan for each task, point of the grid and seed.

    Raises BadInput when the parent or a task cannot be used, and where weights are to be kept of runs that were
    finished without: a finished run is never written again.
    """
    model = recipe_of(parent).model if parent.kind == "pretrain" else None
    if not isinstance(model, BertSection):
        raise BadInput(Problem(f"{parent.id} is not a pre-trained BERT", hint="fine-tuning starts from one"))
    if parent.manifest is None:
        raise BadInput(Problem(f"run {parent.id} is not finished ({parent.status})", hint="finish it with --resume"))
    tasks, plans = list(tasks), []
    check_request(tasks, settings, model, grid)
    seeds = list(seeds)
    for data in tasks:
        tried = points(settings, grid, model, spans=data.task.kind == "spans")
        for point, seed in itertools.product(tried, seeds):
            size = settings.train_size or "all"
            hashed = identity_hash(_identity(parent, data, point, seed))
            folder = runs / f"{parent.id}-{data.task.name}-{size}-s{seed}-{hashed}"
            plans.append(FinetunePlan(parent, data, point, seed, folder))
    if settings.keep_weights:
        _check_weights(plans)
    return plans


def points(
    settings: FinetuneSettings, grid: FinetuneGrid | None, model: BertSection, *, spans: bool
) -> list[FinetuneSettings]:
    """The settings that a grid tries with a model on tasks of a kind; without a grid, `settings` alone."""
    if grid is None or not grid.axes:
        return [settings]
    learn = "activation" in moves(settings.tune) and tunable(model, pools=not spans)["activation"] > 0
    return grid.points(settings, coefficients_learn=learn)


def _check_weights(plans: Sequence[FinetunePlan]) -> None:
    finished = [plan.run for plan in plans if plan.run.manifest is not None]
    without = [run.id for run in finished if run.manifest and WEIGHTS not in run.manifest["files"]]
    if without:
        raise BadInput(
            Problem(
                f"finished without keeping weights: {', '.join(without)}",
                key="keep_weights",
                hint=f"actbench runs rm {' '.join(without)} removes them, and the same command trains them again",
            )
        )


def _identity(parent: Run, data: TaskData, settings: FinetuneSettings, seed: int) -> dict[str, Any]:
    assert parent.manifest is not None
    return {
        "kind": "finetune",
        "parent": parent.manifest["files"]["model.safetensors"],
        "task": data.task.name,
        "data": _seen(data),
        "settings": settings.model_dump(mode="json", exclude_defaults=True, exclude={"keep_weights"}),
        "seed": seed,
    }


def check_request(
    tasks: Sequence[TaskData], settings: FinetuneSettings, model: BertSection, grid: FinetuneGrid | None = None
) -> None:
    """Raises BadInput when a model cannot be fine-tuned on the tasks with the settings or a grid of them."""
    if grid is not None and grid.axes and settings.protocol == "official":
        hint = "raft chooses settings on a part of the training set"
        raise BadInput(Problem(CHOSEN_ON_REPORTED, key="protocol", hint=hint))
    for data in tasks:
        check_size(data, settings)
        check_mode(settings, model, spans=data.task.kind == "spans")


def check_size(data: TaskData, settings: FinetuneSettings) -> None:
    """Raises BadInput when a task has too few examples for the settings' train size, or to choose an epoch with."""
    N, most, available = settings.train_size, most_learnt(data, settings), len(data.train)
    said = f"{data.task.name} has {available} training examples: too few"
    if settings.protocol == "raft" and available < FEWEST:
        raise BadInput(Problem(f"{said} to learn from and to choose the epoch with"))
    if N is not None and most < N:
        others = " with a quarter left to choose the epoch with" if settings.protocol == "raft" else ""
        raise BadInput(Problem(f"{said} for {N} to learn from{others}", hint=f"a train size of at most {most}"))


def check_mode(settings: FinetuneSettings, model: BertSection, *, spans: bool) -> None:
    """Raises BadInput when the settings tune what the model does not have."""
    if not has_coefficients_for(settings.tune, model, spans=spans):
        raise BadInput(
            Problem(
                f"'{settings.tune}' is about the coefficients of activations, and {in_short(model)} has none",
                key="tune",
                hint=f"'{WITHOUT_COEFFICIENTS[settings.tune]}' moves the same besides",
            )
        )
    drawn = random_biases(settings.tune)
    if drawn is not None and drawn > (biases := tunable(model, pools=not spans)["bias"]):
        raise BadInput(
            Problem(f"the model has fewer biases than {drawn:,}", key="tune", hint=f"at most random-bias:{biases}")
        )


def has_coefficients_for(mode: str, model: BertSection, *, spans: bool) -> bool:
    """Whether a mode that speaks of coefficients finds some; True of a mode that does not."""
    return mode not in WITHOUT_COEFFICIENTS or tunable(model, pools=not spans)["activation"] > 0


def _seen(data: TaskData[Any]) -> dict[str, str]:
    """Stands for the examples that runs see: all that a task has, and how those of a run are drawn."""
    splits = {split: str(facts["examples_sha256"]) for split, facts in data.facts["splits"].items()}
    return {"drawing": DRAWING, **splits}
