"""`actbench plot`: draw finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json, say

app = typer.Typer(no_args_is_help=True, help="Draw finished runs.")

RunArgument = Annotated[list[str], typer.Argument(help="Runs: folders, names, or beginnings of names.")]


@app.command()
def activations(
    run: Annotated[list[str] | None, typer.Argument(help="Runs: folders, names, or beginnings of names.")] = None,
    coefficients: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE[:MODEL]", help="Instead of runs: a .json file of rational coefficients."),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="An .svg, .png or .pdf file.")] = Path(
        "activations.svg"
    ),
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """The learned activations, a panel a layer: learned curve, initial curve dotted, inputs beneath.

    A coefficient file's model with an odd number of entries has the pooler's last.

    Example: actbench plot activations bert-nano-raf-s0 bert-nano-raf-s1 -o raf.svg
    """
    from actbench.errors import BadInput

    if bool(run) == bool(coefficients):
        raise BadInput("give runs to draw, or --coefficients, and not both")

    from actbench.report.figures import plot_activations, plot_coefficients
    from actbench.store import find_run

    if coefficients:
        plot_coefficients(coefficients, output)
    else:
        plot_activations([find_run(reference, runs) for reference in run or []], output)
    _tell(output, as_json)


@app.command()
def curves(
    run: RunArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="An .svg, .png or .pdf file.")] = Path("curves.svg"),
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Training and validation loss against tokens and against seconds.

    Example: actbench plot curves bert-nano-gelu-s0 bert-nano-raf-s0 -o curves.svg
    """
    from actbench.report.figures import plot_curves
    from actbench.store import find_run

    plot_curves([find_run(reference, runs) for reference in run], output)
    _tell(output, as_json)


def _tell(output: Path, as_json: bool) -> None:
    if as_json:
        print_json({"output": str(output)})
    else:
        say(f"wrote {output}")
