"""`actbench eval transfer`: test fine-tuned runs on another data set of their kind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json

if TYPE_CHECKING:
    from actbench.store import Run

SHOWN = ("run", "task", "metric", "score", "examples")


def transfer(
    run: Annotated[list[str], typer.Argument(help="Runs fine-tuned with --keep-weights: folders or names.")],
    task: Annotated[str, typer.Option(help="What it is tested on: snli, nli, squad or triviaqa.")],
    data: Annotated[Path, typer.Option(help="The test file, as in snli_1.0_test.txt or .jsonl, or SQuAD's JSON.")],
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Zero-shot transfer: a run fine-tuned on MNLI tested on SNLI, one fine-tuned on SQuAD tested on TriviaQA.

    The result is kept as a run of its own, and found again instead of being tested twice.

    Example: actbench eval transfer bert-nano-raf-s0-1a2b3c4d-mnli --task snli --data snli_1.0_test.txt
    """
    from actbench.evaluation.transfer import evaluate_transfer
    from actbench.evaluation.transfer_plan import plan_transfer
    from actbench.store import find_run

    plans = [plan_transfer(find_run(reference, runs), task, data, runs) for reference in run]
    found = [_facts(evaluate_transfer(planned)) for planned in plans]
    if as_json:
        print_json({"results": found})
        return
    from actbench.cli.show import print_rows

    rows = [
        [one["run"], one["task"], metric, f"{value:.4f}", f"{one['examples']:,}"]
        for one in found
        for scores in one["scores"].values()
        for metric, value in scores.items()
    ]
    print_rows(SHOWN, rows)


def _facts(found: Run) -> dict[str, Any]:
    data = {key: found.info["data"][key] for key in ("without_label", "without_answer") if key in found.info["data"]}
    return {"run": found.info["parent"], "evaluation": found.id, **found.summary, **data}
