"""The option that tries several values of fine-tuning settings, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from actbench.analysis.grids import Choice
    from actbench.config.grid import FinetuneGrid
    from actbench.store import Run

GridOption = Annotated[
    list[str] | None,
    typer.Option(
        "--grid", metavar="KEY=V,V", help="Values of a setting to try: the selection set chooses, as in lr=5e-5,1e-4."
    ),
]


def read_grid(axes: list[str] | None, section: type[FinetuneGrid]) -> FinetuneGrid:
    """The grid of "key=value,value" axes. Raises BadInput that names the option as it was typed."""
    from actbench.config.resolve import Source, validate
    from actbench.config.yaml_source import parse_value
    from actbench.errors import BadInput, Problem

    source = Source({})
    for axis in axes or []:
        key, equals, values = axis.partition("=")
        if not equals or not key:
            raise BadInput(Problem("expected key=value,value", f"--grid {axis}", hint="as in --grid lr=5e-5,1e-4"))
        if key in source.data:
            raise BadInput(Problem("given twice", f"--grid {axis}", key, hint="one option has all values of a setting"))
        try:
            source.data[key] = parse_value(f"[{values}]")
        except BadInput as error:
            raise BadInput(Problem(error.problems[0].message, f"--grid {axis}", key)) from None
        source.places[key] = f"--grid {axis}"
    return validate(source, section)


def choices_by_task(finished: Sequence[Run], grid: FinetuneGrid) -> dict[str, Choice]:
    """By task, what the selection set chose of one pre-trained run's fine-tunings; nothing without a grid."""
    from actbench.analysis.grids import choose

    by_task: dict[str, list[Run]] = {}
    for run in finished if grid.axes else ():
        by_task.setdefault(run.info["task"]["name"], []).append(run)
    return {task: choose(runs, grid.axes) for task, runs in by_task.items()}
