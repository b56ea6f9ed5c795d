"""What is done with follow-ups: their data is found and checked, and each run that they make of a model is planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from actbench.config import Recipe
from actbench.config.corpus import FilesCorpus
from actbench.config.schema import BertSection
from actbench.data import glue, probes, squad
from actbench.data.packing import open_source
from actbench.data.requests import RequestTask
from actbench.data.tasks import TaskData
from actbench.errors import BadInput, Problem
from actbench.evaluation.analyses import AnalysisPlan, plan_analysis
from actbench.evaluation.load import recipe_of
from actbench.evaluation.plan import EvaluationPlan, plan_perplexity
from actbench.evaluation.transfer_plan import TransferPlan, plan_transfer, read_test
from actbench.evaluation.zero_shot_plan import HarnessTask, ZeroShotPlan, find_tasks, plan_zero_shot
from actbench.store import Run
from actbench.study.follow_ups import (
    HUB,
    AnalyzeFollowUp,
    EvaluateFollowUp,
    FinetuneFollowUp,
    FollowUp,
    ZeroShotFollowUp,
)
from actbench.training.finetune_plan import FinetunePlan, check_request, plan_finetuning

FollowUpPlan = FinetunePlan | EvaluationPlan | TransferPlan | ZeroShotPlan | AnalysisPlan


def tasks_of(follow_up: FinetuneFollowUp, recipe: Recipe) -> list[TaskData]:
    """The tasks' data for a model pre-trained by `recipe`. Raises BadInput when it cannot be had or is too little."""
    if follow_up.finetune == "probes":
        built = probes.probes_for(recipe)
        found = [built[name] for name in follow_up.task_names]
    else:
        found = [_loaded(name, follow_up.data or HUB) for name in follow_up.task_names]
    assert isinstance(recipe.model, BertSection)
    check_request(found, follow_up.settings, recipe.model, follow_up.grid)
    return found


def keeps_weights(follow_up: FollowUp) -> bool:
    """Whether the runs that it makes keep their weights."""
    return isinstance(follow_up, FinetuneFollowUp) and follow_up.all_settings.keep_weights


def check(follow_up: FollowUp, recipe: Recipe) -> None:
    """Raises BadInput when what it needs for a model pre-trained by `recipe` is not there."""
    if isinstance(follow_up, FinetuneFollowUp):
        tasks_of(follow_up, recipe)
        for test in follow_up.transfer:
            read_test(test.task, Path(test.data))
    elif isinstance(follow_up, ZeroShotFollowUp):
        requests_of(follow_up)
    elif isinstance(follow_up, AnalyzeFollowUp) and follow_up.analyze == "rank":
        pass  # it needs the weights alone
    elif follow_up.files is None and recipe.corpus.source == "checkpoint":
        message = f"the text that {recipe.name} was trained on is not known here"
        raise BadInput(Problem(message, hint="give it a corpus"))
    elif follow_up.files:
        open_source(FilesCorpus(source="files", files=follow_up.files), lambda _: None)


def plans_of(parent: Run, follow_up: FollowUp, runs: Path) -> Sequence[FollowUpPlan]:
    """The runs that a follow-up makes of a finished run. Raises BadInput when its data cannot be had.

    Those that test a fine-tuned run are known once that is finished.
    """
    if isinstance(follow_up, EvaluateFollowUp):
        return [plan_perplexity(parent, follow_up.files, runs)]
    if isinstance(follow_up, ZeroShotFollowUp):
        return plan_zero_shot(parent, requests_of(follow_up), runs)
    if isinstance(follow_up, AnalyzeFollowUp):
        return [plan_analysis(parent, follow_up.analyze, follow_up.files, runs, follow_up.sequences)]
    tasks = tasks_of(follow_up, recipe_of(parent))
    seeds = list(dict.fromkeys(follow_up.seeds))
    plans = plan_finetuning(parent, tasks, seeds, follow_up.all_settings, runs, follow_up.grid)
    transfers = [
        plan_transfer(planned.run, test.task, Path(test.data), runs)
        for planned in plans
        for name, test in follow_up.transfers
        if name == planned.data.task.name and planned.run.manifest is not None
    ]
    return [*plans, *transfers]


@cache
def requests_of(follow_up: ZeroShotFollowUp) -> list[RequestTask | HarnessTask]:
    """The tasks' items. Raises BadInput when they cannot be had."""
    return find_tasks(follow_up.task_names, Path(follow_up.data) if follow_up.data else None, follow_up.limit)


@cache
def _loaded(name: str, data: str) -> TaskData:
    kind, load = (name, squad.load_squad) if name in squad.TASKS else ("glue", glue.load_glue)
    if data != HUB:
        return load(name, Path(data))
    try:
        return load(name, None)
    except BadInput as error:
        hint = f"--data {kind}=DIR reads it from a folder of files"
        raise type(error)(replace(problem, hint=hint) for problem in error.problems) from None
