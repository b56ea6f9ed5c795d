"""`actbench bench`: what things cost on this machine."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.common import JsonOption, print_json, say

app = typer.Typer(no_args_is_help=True, help="Measure what things cost on this machine.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def activations(
    name: Annotated[
        list[str] | None, typer.Argument(help="Activations, registered or mine.py:MyAct. Default: all that learn.")
    ] = None,
    dtypes: Annotated[str, typer.Option(help="Of the inputs: fp32, bf16.")] = "fp32,bf16",
    modes: Annotated[str, typer.Option(help="With the compiler, as training has it, or without.")] = "eager,compiled",
    shapes: Annotated[str, typer.Option(help="Rows and width of the inputs.")] = "2048x3072,8192x1024",
    rounds: Annotated[int, typer.Option(min=2, help="How often GELU and the candidate take turns.")] = 30,
    peers: Annotated[bool, typer.Option("--peers", help="Also others' ways of writing raf and poly_norm.")] = False,
    in_model: Annotated[
        bool, typer.Option("--in-model", help="Also whole training steps of a BERT and a GPT.")
    ] = False,
    sequences: Annotated[int, typer.Option(min=1, help="Sequences in such a step, of 128 tokens each.")] = 16,
    output: Annotated[
        list[Path] | None, typer.Option("-o", "--output", help="Also write a .md page's section, or a .json file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time and peak memory of activations, forward and backward, as ratios to GELU.

    Example: actbench bench activations raf --modes compiled --dtypes fp32 --shapes 2048x3072
    """
    from actbench.bench import output as files
    from actbench.bench.activations import steps
    from actbench.bench.activations.request import request
    from actbench.bench.activations.run import run
    from actbench.errors import RunFailed

    wanted = request(name or [], dtypes, modes, shapes, rounds)
    files.check(output or [], "activations")
    step_names = (wanted.names if name else steps.DEFAULT) if in_model else ()
    command = f"actbench {shlex.join(sys.argv[1:])}"
    results = run(wanted, with_peers=peers, step_names=step_names, sequences=sequences, command=command, say=say)
    for path in output or []:
        files.write(results, path)
        say(f"wrote {path}")
    if as_json:
        print_json(results.to_json())
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000  # nothing is cut on a pipe
        print(results.to_text(width), end="")
    if results.failed:
        raise RunFailed("could not measure\n" + "\n".join(results.failed))
