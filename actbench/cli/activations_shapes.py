"""`actbench activations shapes`: the shape of learned curves, as a table."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, LookInOption, WhereOption, print_json, say
from actbench.cli.model_curves import Chosen, CoefficientsOption, PretrainedOption, RunsArgument, SlotOption

WIDE = 140  # characters of the table, where it goes to no terminal


def shapes(
    run: RunsArgument = None,
    where: WhereOption = None,
    coefficients: CoefficientsOption = None,
    pretrained: PretrainedOption = None,
    slot: SlotOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write a .csv, .md or .tex file instead.")
    ] = None,
    runs: LookInOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """How monotone learned activations are, how far from GELU, ReLU and SiLU, and from where they began.

    A row a model and layer, on [-3, 3].

    Example: actbench activations shapes bert-nano-raf-s0 -o shapes.csv
    """
    from actbench.report.shapes_table import shapes_table
    from actbench.report.table_files import table_text
    from actbench.store.atomic import write_text

    write = None if output is None else table_text(output)
    table = shapes_table(Chosen(run, where, coefficients, pretrained, runs).curves(), slot)
    if output is not None and write is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, write(table))
        say(f"wrote {output}")
    if as_json:
        print_json(table.to_json())
    elif output is None:
        print(table.to_text(shutil.get_terminal_size((WIDE, 24)).columns), end="")
