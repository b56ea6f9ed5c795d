"""`actbench eval zero-shot`: tasks that a decoder was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actbench.cli.common import RUNS, JsonOption, RunsOption, print_json
from actbench.errors import BadInput, RunFailed

if TYPE_CHECKING:
    from actbench.store import Run


def zero_shot(
    run: Annotated[list[str], typer.Argument(help="Decoders: folders, names, or beginnings of names.")],
    tasks: Annotated[
        str, typer.Option(help="Comma-separated: piqa,arc_easy,sciq,boolq,lambada,blimp, or lm-evaluation-harness'.")
    ],
    data: Annotated[Path | None, typer.Option(help="The folder that holds the tasks' folders.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many items of a task (of each BLiMP paradigm): a subset.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences at once; scores do not depend on it.")] = 32,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Score decoders on tasks without training on them, by the likelihood of continuations, in fp32.

    Each task's result is kept as a run of its own, and found again instead of being measured twice.

    Example: actbench eval zero-shot gpt-nano-raf-s0 --tasks piqa,arc_easy,lambada,blimp --data eval
    """
    from actbench.cli.common import say
    from actbench.evaluation.zero_shot_plan import find_tasks, plan_zero_shot, usable
    from actbench.store import find_run

    parents = [usable(find_run(reference, runs)) for reference in run]
    found = find_tasks([name.strip() for name in tasks.split(",")], data, limit)
    plans = [planned for parent in parents for planned in plan_zero_shot(parent, found, runs)]
    if not all(planned.run.manifest for planned in plans):
        from actbench.evaluation.zero_shot import zero_shot as evaluate

        try:
            for _ in evaluate(plans, say, batch_size):
                pass
        except (RunFailed, BadInput):
            _print([planned.run for planned in plans if planned.run.manifest], as_json)
            raise
    _print([planned.run for planned in plans], as_json)


def _print(finished: list[Run], as_json: bool) -> None:
    results = [_result(run) for run in finished]
    if as_json:
        print_json({"results": results})
    elif results:
        from actbench.cli.show import print_rows

        columns = ("run", "task", "metric", "value", "standard error", "items")
        print_rows(columns, [row for result in results for row in _rows(result)])


def _result(found: Run) -> dict[str, Any]:
    facts = {"run": found.info["parent"], "evaluation": found.id, "subset": found.info["data"]["subset"]}
    return {**facts, "of": found.info["data"]["of"], **found.summary}


def _rows(result: dict[str, Any]) -> list[list[str]]:
    """A row a metric."""
    task = f"{result['task']} (subset)" if result["subset"] else result["task"]
    rows = [
        [
            result["run"],
            task,
            metric,
            f"{value:.4f}",
            _shown(result["standard_errors"].get(metric)),
            f"{result['items']:,}",
        ]
        for metric, value in result["scores"].items()
    ]
    if "perplexity" in result:
        rows.append([result["run"], task, "perplexity", _shown(result["perplexity"]), "-", f"{result['items']:,}"])
    return rows


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value < 1e6 else f"{value:.3g}"
