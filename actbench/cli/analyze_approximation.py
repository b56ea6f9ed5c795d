"""`actbench analyze approximation`: the theory made visible."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.analysis_output import TableOption, beside, show, table_writer
from actbench.cli.common import RUNS, JsonOption, RunsOption, parse_seeds, say


def approximation(
    targets: Annotated[
        str, typer.Option(help="Comma-separated: square, sine, runge (of x), product, ripple (of x and y).")
    ] = "square,sine,ripple",
    activations: Annotated[str, typer.Option(help="Comma-separated.")] = "relu,gelu,poly_relu,poly_norm,raf",
    sizes: Annotated[str, typer.Option(help="Parameters of the networks, comma-separated.")] = "16,32,64,128",
    seeds: Annotated[str, typer.Option(help="Of the networks' starts, as in 0-4 or 0,1,7.")] = "0-4",
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="An .svg, .png or .pdf file.")] = Path(
        "approximation.svg"
    ),
    table: TableOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Fit smooth functions with small networks of each activation, and fit how the error falls with the parameters.

    Networks have one hidden layer and, whatever the activation, as many parameters. Fits are kept, and not made twice.
    --table FILE writes the slopes, and FILE-errors each size's errors.

    Example: actbench analyze approximation --targets square --activations relu,poly_relu --sizes 16,32,64 --seeds 0-4
    """
    from actbench.analysis.approximation import check_request, fits, rates
    from actbench.config.approximation import ApproximationSection
    from actbench.report.approximation_report import errors_table, plot_approximation, rates_table
    from actbench.report.figure_style import figure_format

    figure_format(output)
    write, write_errors = table_writer(table), table_writer(table and beside(table, "errors"))
    request = ApproximationSection(
        targets=_words(targets), activations=_words(activations), sizes=_sizes(sizes), seeds=tuple(parse_seeds(seeds))
    )
    check_request(request)
    found = list(fits(request, runs, say))
    plot_approximation(found, output)
    errors = errors_table(found)
    show([rates_table(rates(found)), errors], [output], write, as_json)
    write_errors(errors)


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def _sizes(text: str) -> tuple[int, ...]:
    from actbench.config.approximation import MOST_PARAMETERS
    from actbench.errors import BadInput, Problem

    words = _words(text)
    wrong = [word for word in words if not word.isdecimal() or not 0 < int(word) <= MOST_PARAMETERS]
    if wrong:
        raise BadInput([Problem(f"'{word}' is no number of parameters", "--sizes", hint="1 to 2000") for word in wrong])
    return tuple(int(word) for word in words)
