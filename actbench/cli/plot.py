"""`actbench plot`: draw finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actbench.cli import plot_activations
from actbench.cli.common import RUNS, JsonOption, LookInOption, print_json, say

app = typer.Typer(no_args_is_help=True, help="Draw finished runs.")
app.command()(plot_activations.activations)

RunArgument = Annotated[list[str], typer.Argument(help="Runs: folders, names, or beginnings of names.")]


@app.command()
def curves(
    run: RunArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="An .svg, .png or .pdf file.")] = Path("curves.svg"),
    runs: LookInOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Training and validation loss against tokens and against seconds.

    Example: actbench plot curves bert-nano-gelu-s0 bert-nano-raf-s0 -o curves.svg
    """
    from actbench.report.figures import plot_curves
    from actbench.store import find_run

    plot_curves([find_run(reference, runs) for reference in run], output)
    if as_json:
        print_json({"output": str(output)})
    else:
        say(f"wrote {output}")
