"""What a study hands to a launcher: one pre-training run, or one follow-up of a run. A process does one at a time."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actbench.config import Recipe
from actbench.errors import ActbenchError, Interrupted, RunFailed
from actbench.evaluation.plan import EvaluationPlan
from actbench.evaluation.transfer_plan import TransferPlan
from actbench.evaluation.zero_shot_plan import ZeroShotPlan
from actbench.store import Run, claim
from actbench.study.follow_up_plans import plans_of
from actbench.study.follow_ups import FinetuneFollowUp, FollowUp
from actbench.training.allocator import keep_freed_memory
from actbench.training.finetune_plan import FinetunePlan
from actbench.training.known_model import ImportPlan, plan_import
from actbench.training.plan import plan

LONGEST_REASON = 2000  # characters


@dataclass(frozen=True)
class Task:
    """Something to do in one process; it can be pickled. `run_ids` are the runs it is to finish.

    Pre-training: `recipe`. A follow-up: `follow_up` of the finished run `parent`.
    """

    title: str
    run_ids: tuple[str, ...]
    recipe: Recipe | None = None
    parent: str = ""
    follow_up: FollowUp | None = None


def perform(task: Task, runs: Path) -> str:
    """Does the task in this process and returns why it failed, or "". What is finished already is not done again.

    Raises Interrupted when a signal stopped it, its state saved. Whether it succeeded, the runs' manifests tell.
    """
    keep_freed_memory()
    try:
        if task.recipe is not None:
            _pretrain(task, task.recipe, runs)
        elif task.follow_up is not None:
            _follow_up(task, task.follow_up, runs)
    except Interrupted:
        raise
    except ActbenchError as error:
        return str(error)[:LONGEST_REASON]
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"[:LONGEST_REASON]
    return ""


def _pretrain(task: Task, recipe: Recipe, runs: Path) -> None:
    planned = plan_import(recipe, runs) if recipe.corpus.source == "checkpoint" else plan(recipe, runs, _silent)
    if planned.folder.name not in task.run_ids:
        raise ActbenchError(
            f"here the recipe leads to {planned.folder.name}, not to {task.run_ids[0]}: this machine has another text, "
            "tokenizer or activation code than the one that runs the study"
        )
    if isinstance(planned, ImportPlan):
        from actbench.training.import_model import import_model

        import_model(planned, _tell)
        return
    from actbench.training.pretrain import pretrain

    pretrain(planned, resume=True, say=_silent)


def _follow_up(task: Task, follow_up: FollowUp, runs: Path) -> None:
    from actbench.evaluation.analyses import AnalysisPlan, analyze
    from actbench.evaluation.perplexity import evaluate
    from actbench.evaluation.zero_shot import zero_shot
    from actbench.training.finetune import finetune

    parent = Run(runs / task.parent)
    plans = [planned for planned in plans_of(parent, follow_up, runs) if planned.run.id in task.run_ids]
    if len(plans) < len(task.run_ids):
        raise ActbenchError(
            "here the follow-up leads to other runs: this machine has another text or task data than the one that runs "
            "the study"
        )
    for _ in finetune([planned for planned in plans if isinstance(planned, FinetunePlan)], _tell):
        pass
    for _ in zero_shot([planned for planned in plans if isinstance(planned, ZeroShotPlan)], _silent):
        pass
    for planned in plans:
        if isinstance(planned, EvaluationPlan):
            evaluate(planned, _silent)
        elif isinstance(planned, AnalysisPlan):
            analyze(planned, _silent)
    if isinstance(follow_up, FinetuneFollowUp) and follow_up.transfer:
        anew = plans_of(parent, follow_up, runs)  # what is now finished can be tested
        tests = [planned for planned in anew if isinstance(planned, TransferPlan)]
        _transfer([test for test in tests if {test.run.id, test.parent.id} & set(task.run_ids)])


def _transfer(tests: Sequence[TransferPlan]) -> None:
    """Makes all tests, and keeps in its folder why one failed. Raises RunFailed where any did."""
    from actbench.evaluation.transfer import evaluate_transfer

    failed = []
    for test in tests:
        try:
            evaluate_transfer(test)
        except Interrupted:
            raise
        except Exception as error:
            if not isinstance(error, ActbenchError):
                traceback.print_exc()
            failed.append(f"{test.run.id}: {error}")
            if test.run.status == "interrupted":  # neither kept already nor another process's
                with claim(test.folder) as writer:
                    writer.fail(str(error)[:LONGEST_REASON])
    if failed:
        raise RunFailed(f"{len(failed)} of {len(tests)} transfers failed: {failed[0]}")


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _silent(message: str) -> None:
    pass
