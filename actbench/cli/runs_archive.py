"""`actbench runs export` and `import`: runs as one file, for a reader elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json, say


def export(
    run: Annotated[list[str], typer.Argument(help="Runs: folders, names, or beginnings of names.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The archive to write, FILE.tar.")],
    no_weights: Annotated[bool, typer.Option("--no-weights", help="Leave the model's weights out.")] = False,
    with_checkpoints: Annotated[
        bool, typer.Option("--with-checkpoints", help="Take the training state too, to go on from.")
    ] = False,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Write finished runs into one archive, with all that a reader needs to check them.

    Example: actbench runs export bert-nano-raf-s0 bert-nano-gelu-s0 -o pair.tar
    """
    from actbench.store import find_run
    from actbench.store.archive import export as write

    chosen = [find_run(reference, runs) for reference in run]
    done = write(chosen, output, weights=not no_weights, checkpoints=with_checkpoints)
    for orphan in done.orphans:
        say(f"note: {orphan} was fine-tuned from a run that is not in the archive")
    if as_json:
        print_json({"archive": str(output), **done.facts()})
    else:
        say(f"{output}: runs: {len(done.runs)}, files: {done.files}, {done.bytes / 2**20:,.1f} MiB")


def import_(
    archive: Annotated[Path, typer.Argument(help="An archive that 'actbench runs export' made.")],
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Take an archive's runs in, all of them or none, after verifying every file's hash.

    Example: actbench runs import pair.tar
    """
    from actbench.store.arrival import import_archive

    done = import_archive(archive, runs)
    if as_json:
        print_json(done.facts())
    for name, missing in done.here.items():
        lacking = f", without {', '.join(missing)}; remove it to import it anew" if missing else ""
        say(f"{name} is here already{lacking}")
    for name, left_out in done.left_out.items():
        say(f"{name} came without {', '.join(left_out)}")
    for name in done.with_code:
        say(f"{name} brings code of its own, which runs when its model is loaded: read its activation-*.py first")
    for name in done.new if not as_json else ():
        print(name)
