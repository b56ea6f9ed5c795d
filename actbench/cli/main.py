"""The `actbench` command. Each subcommand lives in a file of its own and imports what is heavy when it is called."""

from __future__ import annotations

import sys

import typer

from actbench import __version__
from actbench.cli import (
    activations,
    analyze,
    bench,
    compare,
    data,
    evaluate,
    finetune,
    plot,
    pretrain,
    recipe,
    runs,
    study,
)
from actbench.errors import ActbenchError
from actbench.training.allocator import keep_freed_memory

app = typer.Typer(
    name="actbench",
    help=__doc__ and "What does the activation function do to a Transformer, and is the difference real?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: to import rich takes as long as all the rest
    context_settings={"max_content_width": 120},
    add_completion=False,
)
app.command("pretrain")(pretrain.pretrain)
app.add_typer(finetune.app, name="finetune")
app.add_typer(evaluate.app, name="eval")
app.add_typer(analyze.app, name="analyze")
app.command("compare")(compare.compare)
app.add_typer(plot.app, name="plot")
app.add_typer(activations.app, name="activations")
app.add_typer(data.app, name="data")
app.add_typer(recipe.app, name="recipe")
app.add_typer(runs.app, name="runs")
app.add_typer(study.app, name="study")
app.add_typer(bench.app, name="bench")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"actbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Runs the command: exit 0 done, 1 failed run, 2 bad input, 128 + n stopped by signal n."""
    keep_freed_memory()
    try:
        app()
    except ActbenchError as error:
        print(f"error: {error}" if "\n" not in str(error) else f"errors:\n{error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
