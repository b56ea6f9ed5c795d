"""`actbench study status`: how far a study is, once or live."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

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

if TYPE_CHECKING:
    from rich.table import Table

    from actbench.study import Graph
    from actbench.study.status import Progress

COLUMNS = ("run", "state", "done", "loss", "tokens/s", "left")
STYLES = {"finished": "green", "running": "cyan", "failed": "red", "interrupted": "yellow"}
URGENT = ("running", "failed", "interrupted")  # come first where there may not be room for all
ENDED = ("finished", "failed", "waiting")  # a follow-up that waits while nothing else is to come waits for a failed run
EVERY_S = 2.0


def status(
    file: StudyArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it while anything is left to do.")] = False,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
    keys: StudySetOption = None,
    data: StudyDataOption = None,
) -> None:
    """Show which runs of a study are finished, running, failed or to do.

    Example: actbench study status recipes/studies/reproduce.yaml --watch
    """
    from actbench.errors import BadInput
    from actbench.study import open_study
    from actbench.study.status import counts
    from actbench.study.status import status as look

    if watch and as_json:
        raise BadInput("--watch is for people, --json for programs: give one of them")
    graph = open_study(file, runs, say, study_changes(keys, data))
    lines = _watch(graph) if watch else look(graph)
    if as_json:
        print_json({"study": graph.study.name, "counts": counts(lines), "runs": [line.facts() for line in lines]})
        return
    if not watch:
        from actbench.cli.show import print_rows

        print_rows(COLUMNS, [_row(line) for line in lines])
        print(f"\n{_sum(lines)}")
    print("".join(f"\n{run}: {reason}" for run, reason in _failures(lines).items()), end="")


def _watch(graph: Graph) -> list[Progress]:
    """Shows the table anew until nothing is left to do, and returns what it showed last."""
    from rich.console import Console
    from rich.live import Live

    from actbench.study.status import status as look

    lines = look(graph)
    with Live(_table(lines), console=Console(), auto_refresh=False) as live:
        while not all(line.state in ENDED for line in lines):
            time.sleep(EVERY_S)
            lines = look(graph)
            live.update(_table(lines), refresh=True)
    return lines


def _table(lines: list[Progress]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, title=_sum(lines), title_justify="left", title_style="", pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("run", "state") else "right", no_wrap=True)
    for line in _urgent_first(lines):
        name, state, *rest = _row(line)
        table.add_row(Text(name), Text(state, STYLES.get(line.state, "dim")), *map(Text, rest))
    return table


def _urgent_first(lines: list[Progress]) -> list[Progress]:
    """Those of models of which something runs or has failed come first, each model's own before its follow-ups'."""
    models: list[list[Progress]] = []
    for line in lines:
        if line.is_follow_up:
            models[-1].append(line)
        else:
            models.append([line])
    ranks = {state: rank for rank, state in enumerate(URGENT)}
    models.sort(key=lambda model: min(ranks.get(line.state, len(ranks)) for line in model))
    return [line for model in models for line in model]


def _row(line: Progress) -> list[str]:
    total = "" if line.total is None else f"/{line.total:,}"
    return [
        f"{line.title} {line.label}".rstrip(),
        line.state,
        f"{line.done:,}{total}",
        "-" if line.loss is None else f"{line.loss:.4f}",
        "-" if line.tokens_per_second is None else f"{line.tokens_per_second:,.0f}",
        "-" if line.seconds_left is None else _clock(line.seconds_left),
    ]


def _sum(lines: list[Progress]) -> str:
    from actbench.study.status import counts

    return ", ".join(f"{n} {state}" for state, n in counts(lines).items())


def _failures(lines: list[Progress]) -> dict[str, str]:
    return {run: reason for line in lines for run, reason in (line.failed or {}).items()}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
