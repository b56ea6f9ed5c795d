"""The options that say which models' activations are meant: runs, or files of coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actbench.cli.common import runs_where

if TYPE_CHECKING:
    from actbench.analysis.model_curves import ModelCurves
    from actbench.store import Run

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


@dataclass(frozen=True)
class Chosen:
    """What a command was given to say which models it means."""

    run: list[str] | None
    where: str | None
    coefficients: list[str] | None
    pretrained: str | None
    folder: Path

    def curves(self) -> list[ModelCurves]:
        """The curves of all models. Raises BadInput where none are named, or in two ways."""
        from actbench.analysis.model_curves import curves_of_files, curves_of_runs

        self._check()
        if self.coefficients:
            return curves_of_files(self.coefficients, self.pretrained)
        return curves_of_runs(self._runs())

    def only_run(self, purpose: str) -> Run:
        """The one run that is meant. Raises BadInput, naming the purpose, for none, several, or coefficients."""
        from actbench.errors import BadInput

        self._check()
        found = [] if self.coefficients else self._runs()
        if len(found) != 1:
            raise BadInput(f"{purpose} draws one run" + (f", not {len(found)}" if found else ""))
        return found[0]

    def _check(self) -> None:
        from actbench.errors import BadInput, Problem

        if sum(map(bool, (self.run, self.where, self.coefficients))) != 1:
            raise BadInput("give runs, --where or --coefficients: one of the three")
        if self.pretrained is not None and not self.coefficients:
            raise BadInput(Problem("only --coefficients need it: a run knows where it began", where="--pretrained"))

    def _runs(self) -> list[Run]:
        from actbench.errors import BadInput, Problem
        from actbench.store import find_run

        if self.where is None:
            return [find_run(reference, self.folder) for reference in self.run or []]
        found = runs_where(self.folder, self.where)
        if not found:
            raise BadInput(Problem("no run matches", where="--where", hint="actbench runs list shows them"))
        return found
