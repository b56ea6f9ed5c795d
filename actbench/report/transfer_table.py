"""The table of transfers: fine-tuned runs tested on another task's data."""

from __future__ import annotations

from actbench.analysis.comparisons import Comparison, Family
from actbench.report import numbers
from actbench.report.table import Row, Table, columns
from actbench.report.tables import SCORE_DIGITS, other_scores, spread_values, table_notes, task_name


def transfer_table(family: Family) -> Table:
    """A row an activation, model, task learned and data tested on: the headline score over seeds."""
    heads = (
        *columns("model", "task", "activation", "metric"),
        *columns("tested on", "seeds", "runs", "score", numeric=True),
        *columns("other scores"),
    )
    title = "Transfer: headline score in percent without learning from the data, mean ± sd over pre-training seeds"
    rows = tuple(_row(comparison) for comparison in family.transfer)
    said = [*table_notes(family, "transfer", family.transfer), *_left_out(family)]
    return Table(title, heads, rows, tuple(said), "transfer")


def _row(comparison: Comparison) -> Row:
    variant, first = comparison.variant, comparison.variant.first
    metric, data = str(first.summary["headline"]["metric"]), first.info["data"]
    others = other_scores(list(variant.runs.values()), metric)
    cells = (
        comparison.cohort.name,
        task_name(comparison),
        variant.label,
        metric,
        f"{first.summary['examples']:,}",
        str(comparison.value.n),
        str(len(variant.runs)),
        numbers.mean_and_sd(comparison.value, SCORE_DIGITS),
        ", ".join(f"{name} {value:.{SCORE_DIGITS}f}" for name, value in others.items()) or numbers.NOTHING,
    )
    values = {
        "model": comparison.cohort.name,
        "task": comparison.cohort.task,
        "learned": data["learned"],
        "tested_on": data["test"],
        "file": data["file"],
        "stand_in": bool(first.info["task"]["stand_in"]),
        "activation": variant.label,
        "metric": metric,
        "examples": first.summary["examples"],
        "score_percent": spread_values(comparison.value),
        "other_scores_percent": others,
    }
    return Row(cells, values, variant.ids)


def _left_out(family: Family) -> list[str]:
    """Which rows of each file have no label, and questions no answer."""
    said = []
    for comparison in {id(c.cohort): c for c in family.transfer}.values():
        data = comparison.variant.first.info["data"]
        place = f"{comparison.cohort.name}, {comparison.cohort.task}, {data['file']}"
        if data.get("without_label"):
            said.append(f"{place}: {data['without_label']:,} rows without a label on which people agreed are left out.")
        if data.get("without_answer"):
            said.append(f"{place}: {data['without_answer']:,} questions have no answer.")
    return said
