"""`actbench bench`: what things cost on this machine."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from actbench.cli.common import JsonOption, SetOption, print_json, say

if TYPE_CHECKING:
    from actbench.bench.output import Results

OutputOption = Annotated[
    list[Path] | None, typer.Option("-o", "--output", help="Also write a .md page's section, or a .json file.")
]

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
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time and peak memory of activations, forward and backward, as ratios to GELU.

    Example: actbench bench activations raf --modes compiled --dtypes fp32 --shapes 2048x3072
    """
    from actbench.bench import output as files
    from actbench.bench.activations import steps
    from actbench.bench.activations.request import place, request
    from actbench.bench.activations.run import run

    wanted = request(name or [], dtypes, modes, shapes, rounds)
    files.check(output or [], *map(place, wanted.modes))
    step_names = (wanted.names if name else steps.DEFAULT) if in_model else ()
    results = run(wanted, with_peers=peers, step_names=step_names, sequences=sequences, command=_command(), say=say)
    _tell(results, output or [], as_json, results.by_mode())


@app.command()
def peers(
    name: Annotated[list[str] | None, typer.Argument(help="Comparisons, as in bert-hf-fp32. Default: all.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="How often both sides take turns.")] = 8,
    glue: Annotated[
        Path | None, typer.Option(help="A folder with GLUE's TSV files, for glue-cola and glue-rte.")
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many times faster actbench is than what could be used instead: Hugging Face's Trainer, a plain loop.

    Installs nothing: peers that are not there are left out. Everything takes about a quarter of an hour.

    Example: actbench bench peers gpt-loop tokenising --rounds 5
    """
    from actbench.bench import output as files
    from actbench.bench.peers.catalogue import chosen

    pairs = chosen(name or [])
    files.check(output or [], "peers")
    from actbench.bench.peers.run import run

    results = run(pairs, rounds=rounds, glue=glue, command=_command(), say=say)
    _tell(results, output or [], as_json)


@app.command()
def step(
    recipe: Annotated[Path, typer.Option("--recipe", "-r", help="A recipe file, as in recipes/nano/bert.yaml.")],
    overrides: SetOption = None,
    steps: Annotated[int, typer.Option(min=2, help="Steps to measure, after three to warm up.")] = 20,
    peak: Annotated[
        float | None, typer.Option(help="TFLOP/s that the hardware reaches at best. Default: measured.")
    ] = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Where the time of a recipe's training step goes: by its parts, by kernels, and beside the machine's peak.

    Trains on the recipe's own data and leaves no run behind.

    Example: actbench bench step --recipe recipes/nano/bert.yaml --set model.activation.name=raf --steps 30
    """
    began = time.perf_counter()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # or the profiler warns of memory that it did not see taken
    from actbench.bench import output as files
    from actbench.config import load_recipe
    from actbench.errors import BadInput, Problem

    if peak is not None and not 0 < peak < math.inf:
        raise BadInput(Problem(f"{peak:g} is no peak", "--peak", hint="TFLOP/s, above 0, as in 0.4"))
    resolved = load_recipe(recipe, overrides or [])
    files.check(output or [], f"step {resolved.name}")
    from actbench.bench.step.run import run

    results = run(resolved, steps=steps, tflops=peak, began=began, command=_command(), say=say)
    _tell(results, output or [], as_json)


@app.command()
def growth(
    part: Annotated[
        list[str] | None, typer.Argument(help="width, depth, length, batch, text, studies. Default: all.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="How often the sizes of a step take turns.")] = 7,
    text_mb: Annotated[str, typer.Option(help="Sizes of the texts to pack, in MB.")] = "1,4,16,64",
    runs: Annotated[str, typer.Option(help="Numbers of runs in the studies.")] = "1,2,4,8",
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """How time and memory grow with width, depth, length and batch, with the text's size and the number of runs.

    Works in temporary folders and leaves no run behind. Everything takes some minutes on two cores.

    Example: actbench bench growth length text --text-mb 10,100,1000
    """
    from actbench.bench import output as files
    from actbench.bench.growth.request import request

    wanted = request(part or [], rounds, text_mb, runs)
    files.check(output or [], "growth")
    from actbench.bench.growth.run import run

    _tell(run(wanted, command=_command(), say=say), output or [], as_json)


@app.command()
def tricks(
    name: Annotated[list[str] | None, typer.Argument(help="Tricks, as in loss-by-parts. Default: all.")] = None,
    models: Annotated[str, typer.Option(help="In which models: bert, gpt.")] = "bert,gpt",
    layers: Annotated[int, typer.Option(min=1, help="Of either model.")] = 4,
    width: Annotated[int, typer.Option(min=8, help="Of either model, a multiple of 8.")] = 256,
    vocabulary: Annotated[int, typer.Option(min=300, help="How many tokens there are.")] = 8192,
    sequences: Annotated[int, typer.Option(min=1, help="Sequences in a step, of 128 tokens each.")] = 16,
    rounds: Annotated[int, typer.Option(min=2, help="How often a step with and one without take turns.")] = 5,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """What each trick of the training step buys: the same step with and without it, in turn.

    Everything takes several minutes on two cores, most of them the compiler's.

    Example: actbench bench tricks loss-by-parts fused-adamw --models gpt --sequences 64 --rounds 10
    """
    from actbench.bench import output as files
    from actbench.bench.tricks.catalogue import chosen

    wanted, families = chosen(name or [], models, width)
    files.check(output or [], "tricks")
    from actbench.bench.peers.prepare import Sizes
    from actbench.bench.tricks.run import run

    sizes = Sizes(n_layers=layers, d_model=width, d_ff=4 * width, vocabulary=vocabulary, sequences=sequences)
    results = run(wanted, families, sizes=sizes, rounds=rounds, command=_command(), say=say)
    _tell(results, output or [], as_json)


def _command() -> str:
    return f"actbench {shlex.join(sys.argv[1:])}"


def _tell(results: Results, output: list[Path], as_json: bool, sections: Sequence[Results] | None = None) -> None:
    """Writes the files and prints the rest. Raises RunFailed when something could not be measured.

    `sections` are the parts of the results that have places of their own in a page.
    """
    from actbench.bench import output as files
    from actbench.errors import RunFailed

    for path in output:
        for part in [results] if sections is None or path.suffix != ".md" else sections:
            files.write(part, path)
        say(f"wrote {path}")
    if as_json:
        print_json(results.to_json())
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000  # nothing is cut on a pipe
        print(results.to_text(width), end="")
    if results.failed:
        raise RunFailed("could not measure\n" + "\n".join(results.failed))
