"""`actbench eval`: measure finished runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli import zero_shot
from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json
from actbench.cli.eval_predictions import predictions
from actbench.cli.eval_transfer import transfer

if TYPE_CHECKING:
    from actbench.store import Run

app = typer.Typer(no_args_is_help=True, help="Measure finished runs.")
app.command()(transfer)
app.command()(predictions)
app.command("zero-shot")(zero_shot.zero_shot)

SHOWN = ("run", "text", "loss", "perplexity", "scored_tokens", "text_tokens", "bits_per_byte", "word_perplexity")


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

    The result is kept as a run of its own, and found again instead of being measured twice.

    Example: actbench eval perplexity bert-nano-raf-s0 --corpus 'texts/*.txt'
    """
    from actbench.cli.common import say
    from actbench.evaluation.perplexity import evaluate
    from actbench.evaluation.plan import plan_perplexity
    from actbench.store import find_run

    plans = [plan_perplexity(found, corpus, runs) for found in [find_run(reference, runs) for reference in run]]
    rows = [_row(evaluate(planned, say)) for planned in plans]
    if as_json:
        print_json({"results": rows})
        return
    from actbench.cli.show import print_rows, readable

    print_rows(SHOWN, [[readable(key, row[key]) for key in SHOWN] for row in rows])


def _row(found: Run) -> dict[str, Any]:
    return {"run": found.info["parent"], "evaluation": found.id, **{key: found.summary.get(key) for key in SHOWN[1:]}}
