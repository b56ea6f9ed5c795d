"""`actbench study`: many runs as one experiment."""

from __future__ import annotations

from typing import Annotated

import typer

from actbench.cli import study_plan, study_status
from actbench.cli.common import (
    RUNS,
    JsonOption,
    RunsOption,
    StudyArgument,
    StudyDataOption,
    StudySetOption,
    print_json,
    say,
    study_changes,
)

app = typer.Typer(no_args_is_help=True, help="Many runs as one experiment.")


@app.command()
def run(
    file: StudyArgument,
    launcher: Annotated[str, typer.Option(help="Where the runs are made: local, slurm or ray.")] = "local",
    jobs: Annotated[int | None, typer.Option(min=1, help="So many runs at once, the cores divided among them.")] = None,
    launcher_set: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the launcher, as in partition=gpu.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try failed runs again.")] = False,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
    keys: StudySetOption = None,
    data: StudyDataOption = None,
) -> None:
    """Train all runs of a study, do their follow-ups, and write the report. What is finished is not done again.

    Example: actbench study run recipes/studies/reproduce.yaml --jobs 2
    """
    from actbench.errors import RunFailed
    from actbench.report.numbers import plural
    from actbench.study import load_study, plan_graph, run_study
    from actbench.study.launchers import open_launcher

    loaded, options = load_study(file, study_changes(keys, data)), _options(launcher_set or [], jobs)
    opened = open_launcher(launcher, runs, runs / loaded.study.name, options)
    outcome = run_study(plan_graph(loaded, runs, say), opened, say, retry=retry)
    if as_json:
        print_json(outcome.facts())
    else:
        done = plural(outcome.finished, "finished run")
        say(f"{done}, {len(outcome.failed)} failed; report: {outcome.report or 'none'}")
    if outcome.failed:
        again = "" if retry else "\n--retry tries failed runs again"
        raise RunFailed("\n".join(f"{name}: {reason}" for name, reason in outcome.failed.items()) + again)


@app.command()
def report(
    file: StudyArgument,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
    keys: StudySetOption = None,
    data: StudyDataOption = None,
) -> None:
    """Write the report of what is finished.

    Example: actbench study report recipes/studies/reproduce.yaml
    """
    from actbench.errors import BadInput, Problem
    from actbench.report.numbers import plural
    from actbench.study import open_study, report_study

    path, finished = report_study(open_study(file, runs, say, study_changes(keys, data)), say)
    if path is None:
        raise BadInput(Problem("none of its runs is finished", where=str(file), hint="actbench study run makes them"))
    if as_json:
        print_json({"report": str(path), "finished": finished})
    else:
        say(f"{plural(finished, 'finished run')}; report: {path}")


app.command("plan")(study_plan.plan)
app.command("status")(study_status.status)


def _options(given: list[str], jobs: int | None) -> dict[str, str]:
    """The launcher's options. Raises BadInput for what is not key=value."""
    from actbench.errors import BadInput, Problem

    problems = [
        Problem("expected key=value", where=f"--launcher-set {text}")
        for text in given
        if not all(text.partition("=")[:2])
    ]
    if problems:
        raise BadInput(problems)
    options = {key: value for key, _, value in (text.partition("=") for text in given)}
    return options if jobs is None else {**options, "jobs": str(jobs)}
