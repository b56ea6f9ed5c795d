"""`actbench study`: many runs as one experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json, say

app = typer.Typer(no_args_is_help=True, help="Many runs as one experiment.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="A study file, as in recipes/studies/reproduce.yaml.")],
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Train all runs of a study, fine-tune them, and write the report. What is finished is not done again.

    Example: actbench study run recipes/studies/reproduce.yaml
    """
    from actbench.errors import RunFailed
    from actbench.study import load_study, run_study

    outcome = run_study(load_study(file), runs, say)
    if as_json:
        print_json(outcome.facts())
    else:
        say(f"{outcome.finished} runs finished, {len(outcome.failed)} failed; report: {outcome.report}")
    if outcome.failed:
        raise RunFailed("\n".join(f"{name}: {reason}" for name, reason in outcome.failed.items()))
