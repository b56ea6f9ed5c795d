"""`actbench eval predictions`: answer GLUE's test sets, in files for its leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json, say


def predictions(
    run: Annotated[list[str], typer.Argument(help="Runs fine-tuned with --keep-weights, one a task.")],
    data: Annotated[Path, typer.Option(help="The folder with GLUE's TSV files, the test sets among them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder for the files.")] = Path("submission"),
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Answer GLUE's unlabelled test sets with fine-tuned runs, in the files that its leaderboard takes.

    Example: actbench eval predictions bert-nano-raf-s0-1a2b3c4d-cola --data GLUE -o submission
    """
    from actbench.evaluation.predictions import plan_predictions, write_predictions
    from actbench.store import find_run

    found = {one.id: one for one in (find_run(reference, runs) for reference in run)}
    written = write_predictions(plan_predictions(list(found.values()), data, out), out)
    if as_json:
        facts = {"folder": str(written.folder), "files": list(written.files), "missing": list(written.missing)}
        print_json(facts)
        return
    from actbench.cli.show import print_rows

    rows = [[one["file"], one["run"], f"{one['test']['rows']:,}", _remark(one["test"])] for one in written.files]
    print_rows(["file", "run", "rows", ""], rows)
    if written.missing:
        say(f"A whole submission has also {', '.join(written.missing)}.")


def _remark(test: dict[str, int]) -> str:
    return "" if test["rows"] == test["official_rows"] else f"the official test set has {test['official_rows']:,}"
