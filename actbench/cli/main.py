"""The `actbench` command. Each subcommand lives in a file of its own and imports what is heavy when it is called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection

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

PARTS: dict[str, Callable[..., None] | typer.Typer] = {
    "pretrain": pretrain.pretrain,
    "finetune": finetune.app,
    "eval": evaluate.app,
    "analyze": analyze.app,
    "compare": compare.compare,
    "plot": plot.app,
    "activations": activations.app,
    "data": data.app,
    "recipe": recipe.app,
    "runs": runs.app,
    "study": study.app,
    "bench": bench.app,
}


def _version(wanted: bool) -> None:
    if wanted:
        print(f"actbench {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def command(whole: Collection[str]) -> typer.Typer:
    """The command, with all that is beneath the groups in `whole`; of the others it has the help alone.

    To make every option of every subcommand takes as long as all else that a call does before its work.
    """
    made = typer.Typer(
        name="actbench",
        help="What does the activation function do to a Transformer, and is the difference real?",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help: to import rich takes as long as all the rest
        context_settings={"max_content_width": 120},
        add_completion=False,
    )
    made.callback()(_root)
    for name, part in PARTS.items():
        if isinstance(part, typer.Typer):
            made.add_typer(part if name in whole else typer.Typer(help=part.info.help), name=name)
        else:
            made.command(name)(part)
    return made


app = command(PARTS)


def main() -> None:
    """Runs the command: exit 0 done, 1 failed run, 2 bad input, 128 + n stopped by signal n."""
    keep_freed_memory()
    named = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    try:
        command([named])()
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
