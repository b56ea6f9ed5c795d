"""`actbench compare`: how much sooner, and by how much lower, beside a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from actbench.cli.analysis_output import TableOption, show, table_writer
from actbench.cli.common import RUNS, JsonOption, LookInOption, all_runs


def compare(
    run: Annotated[list[str] | None, typer.Argument(help="Runs by folder or name; none: all there are.")] = None,
    baseline: Annotated[str, typer.Option(help="The activation that the others are set beside.")] = "gelu",
    curve: Annotated[
        Literal["validation", "train"], typer.Option(help="The loss to go by; the training loss is smoothed.")
    ] = "validation",
    output: Annotated[Path, typer.Option("-o", "--output", help="An .svg, .png or .pdf file.")] = Path("speedups.svg"),
    table: TableOption = None,
    runs: LookInOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Speed-ups beside a baseline: the loss at equal tokens, seconds and FLOPs, and what it takes to reach its loss.

    Runs of one recipe with several seeds are paired by seed, with intervals over them. For what two runs' recipes and
    results differ in, see actbench runs compare; for tests of final results, actbench runs test.

    Example: actbench compare runs/gpt-nano-* --baseline gelu -o speedups.svg
    """
    from actbench.analysis.speedups import speedups
    from actbench.report.figures_speedups import plot_speedups
    from actbench.report.speedup_table import speedup_table
    from actbench.store import find_run

    write = table_writer(table)
    given = [find_run(reference, runs) for reference in run] if run else all_runs(runs)
    found = speedups(list({one.id: one for one in given}.values()), baseline, curve)
    plot_speedups(found, output, curve)
    show([speedup_table(found, curve)], [output], write, as_json)
