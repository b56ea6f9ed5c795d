"""`actbench runs test`: is a difference between runs real, and how many seeds would show it?"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, WhereOption, all_runs, print_json, runs_where
from actbench.errors import BadInput, Problem

if TYPE_CHECKING:
    from actbench.analysis.comparisons import Family
    from actbench.report.table import Table
    from actbench.store import Run


def test(
    run: Annotated[list[str] | None, typer.Argument(help="Runs by folder or name; none: all there are.")] = None,
    where: WhereOption = None,
    baseline: Annotated[
        str | None, typer.Option(help="The activation that the others are compared with.", show_default="gelu")
    ] = None,
    difference: Annotated[
        float | None, typer.Option(help="The difference to see: nats of loss, or points of score.")
    ] = None,
    grid: Annotated[
        str, typer.Option(metavar="KEYS", help="Fine-tuning settings that the selection set chooses, as in lr.")
    ] = "",
    power: Annotated[float, typer.Option(help="How often it should be found, between 0.05 and 1.")] = 0.8,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Compare finished runs with a baseline, paired by seed: intervals, tests, and the seeds that it would take.

    Example: actbench runs test runs/gpt-nano-* --baseline gelu --difference 0.01
    """
    _check(difference, power)
    from actbench.analysis.comparisons import compare

    given = _given(run, where, runs)
    family = compare(list({found.id: found for found in given}.values()), baseline or "gelu", _axes(grid))
    if not family.all:
        none = f"there are no runs in {runs}/" if where is None else f"no run in {runs}/ matches '{where}'"
        raise BadInput(Problem(f"none of {len(given)} runs is finished" if given else none))
    if baseline is not None and not any(comparison.is_baseline for comparison in family.all):
        raise BadInput(Problem(family.all[0].cohort.why_none_called(baseline), "--baseline"))
    if difference is not None and family.on_tasks and (family.pretraining or family.evaluation):
        problem = "means nats of losses and points of scores on tasks, and runs of both kinds are given"
        raise BadInput(Problem(problem, "--difference", hint="--where kind=pretrain, or finetune or evaluate"))
    if as_json:
        print_json(_facts(family, difference, power))
        return
    print("\n".join(table.to_text(_width()) for table in _tables(family, difference, power)))
    _print_words(family)


def _given(names: list[str] | None, where: str | None, root: Path) -> list[Run]:
    from actbench.store import find_run

    if where is None:
        return [find_run(name, root) for name in names] if names else all_runs(root)
    if names:
        raise BadInput(Problem("which runs?", hint="give names, or --where with an expression, and not both"))
    return runs_where(root, where)


def _check(difference: float | None, power: float) -> None:
    problems = []
    if difference is not None and not 0 < difference < float("inf"):
        problems.append(Problem(f"{difference:g} is not a difference to see", "--difference", hint="as in 0.01"))
    if not 0.05 < power < 1:
        problems.append(Problem(f"{power:g} is not between 0.05 and 1", "--power", hint="as in 0.8"))
    if problems:
        raise BadInput(problems)


def _axes(text: str) -> list[str]:
    from actbench.config.grid import SquadGrid
    from actbench.errors import nearest

    known, keys = list(SquadGrid.model_fields), [key.strip() for key in text.split(",") if key.strip()]
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise BadInput([Problem(f"'{key}' cannot be chosen", "--grid", hint=nearest(key, known)) for key in unknown])
    return keys


def _tables(family: Family, difference: float | None, power: float) -> list[Table]:
    from actbench.report.results import result_tables
    from actbench.report.seeds_table import seeds_table

    kinds = (family.pretraining, family.finetuning, family.transfer, family.evaluation, family.zero_shot)
    seeds = [seeds_table(kind, difference, power) for kind in kinds]
    return [*result_tables(family), *(table for table in seeds if table.rows)]


def _facts(family: Family, difference: float | None, power: float) -> dict[str, object]:
    from actbench.report.words import verdicts

    return {
        "baseline": family.baseline,
        "comparisons": family.tested,
        "tables": [table.to_json() for table in _tables(family, difference, power)],
        "verdicts": {verdict.model: list(verdict.sentences) for verdict in verdicts(family)},
    }


def _print_words(family: Family) -> None:
    from actbench.report.words import verdicts

    for verdict in verdicts(family):
        print(verdict.model)
        print("\n".join(f"- {sentence}" for sentence in verdict.sentences))


def _width() -> int:
    """The terminal's; on a pipe nothing is cut or folded."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
