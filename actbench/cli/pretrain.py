"""`actbench pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, SetOption, print_json, say


def pretrain(
    recipe: Annotated[Path, typer.Option("--recipe", "-r", help="A recipe file, as in recipes/nano/bert.yaml.")],
    overrides: SetOption = None,
    seed: Annotated[int | None, typer.Option(help="The run's seed; short for --set seed=N.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, if there is one.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Prepare the data, show the plan, train nothing.")] = False,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Pre-train a model as a recipe says.

    Example: actbench pretrain --recipe recipes/nano/bert.yaml --set model.activation.name=raf --seed 1
    """
    from actbench.config import load_recipe
    from actbench.training.plan import plan

    changes = list(overrides or [])
    if seed is not None:
        changes.append(f"seed={seed}")
    planned = plan(load_recipe(recipe, changes), runs, say)
    if dry_run:
        _show({"run": planned.folder.name, "folder": str(planned.folder), **planned.facts()}, as_json)
        return
    from actbench.training.pretrain import pretrain as train
    from actbench.training.world import leads

    run = train(planned, resume=resume, say=say)
    if leads():
        _show({"run": run.id, "folder": str(run.folder), **run.summary}, as_json)


def _show(facts: dict[str, object], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    from actbench.cli.show import print_facts

    print_facts(facts)
