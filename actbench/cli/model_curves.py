"""The options that say which models' activations are meant: runs, or files of coefficients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from actbench.analysis.model_curves import ModelCurves

RunsArgument = Annotated[list[str] | None, typer.Argument(help="Runs: folders, names, or beginnings of names.")]
CoefficientsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE[:MODEL]",
        help="Instead of runs: a .json file of rational coefficients. A * in MODEL stands for any letters.",
    ),
]
PretrainedOption = Annotated[
    str | None,
    typer.Option(metavar="FILE[:MODEL]", help="The coefficients from which those of --coefficients were fine-tuned."),
]
SlotOption = Annotated[
    list[str] | None, typer.Option(metavar="SLOT", help="Only this one, as in layers.0 (the first layer) or pooler.")
]


def model_curves(
    run: list[str] | None, coefficients: list[str] | None, pretrained: str | None, runs: Path
) -> list[ModelCurves]:
    """The curves of the models that are meant. Raises BadInput."""
    from actbench.analysis.model_curves import curves_of_files, curves_of_runs
    from actbench.errors import BadInput, Problem
    from actbench.store import find_run

    if bool(run) == bool(coefficients):
        raise BadInput("give runs, or --coefficients, and not both")
    if coefficients:
        return curves_of_files(coefficients, pretrained)
    if pretrained is not None:
        raise BadInput(Problem("only --coefficients need it: a run knows where it began", where="--pretrained"))
    return curves_of_runs([find_run(reference, runs) for reference in run or []])
