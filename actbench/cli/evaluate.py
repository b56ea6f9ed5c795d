"""`actbench eval`: measure finished runs."""

from __future__ import annotations

from typing import Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json

app = typer.Typer(no_args_is_help=True, help="Measure finished runs.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def perplexity(
    run: Annotated[list[str], typer.Argument(help="Runs: folders, names, or beginnings of names.")],
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="A text file or a quoted glob, repeatable; default: the run's own held-out documents."),
    ] = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Perplexity on a run's held-out documents, or on any text: on whole sequences, BERT's at fixed masked tokens.

    Example: actbench eval perplexity bert-nano-raf-s0 --corpus 'texts/*.txt'
    """
    from actbench.cli.common import say
    from actbench.evaluation.perplexity import perplexity as measure
    from actbench.store import find_run

    rows = [measure(found, corpus, say) for found in [find_run(reference, runs) for reference in run]]
    if as_json:
        print_json({"results": rows})
        return
    from actbench.cli.show import print_rows, readable

    print_rows(list(rows[0]), [[readable(key, value) for key, value in row.items()] for row in rows])
