"""The table of zero-shot scores: what each activation's decoders reach on tasks that they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from actbench.analysis.comparisons import Comparison, Family
from actbench.report import numbers
from actbench.report.table import Row, Table, columns
from actbench.report.tables import SCORE_DIGITS, spread_values, table_notes, task_name
from actbench.store import Run

ABOUT = (
    "acc: the right continuation is the likeliest, or a last word is what greedy decoding gives. acc_norm, acc_bytes: "
    "likelihoods divided by the continuation's characters or bytes. BLiMP: mean over paradigms. se: the standard error "
    "over a run's items, mean of the seeds; differences are tested over seeds."
)


def zero_shot_table(family: Family) -> Table:
    """A row an activation, model and task: the headline score over seeds. The notes name what is left out."""
    heads = (
        *columns("model", "task", "activation", "metric"),
        *columns("items", "seeds", "score", "se", numeric=True),
        *columns("others"),
    )
    rows = tuple(_row(comparison) for comparison in family.zero_shot)
    notes = (ABOUT, *table_notes(family, "zero-shot", family.zero_shot))
    title = "Zero-shot: headline score in percent, mean ± sd over seeds; higher is better"
    return Table(title, heads, rows, notes, "zero-shot")


def _row(comparison: Comparison) -> Row:
    variant, runs = comparison.variant, list(comparison.variant.runs.values())
    first = variant.first
    metric = str(first.summary["headline"]["metric"])
    error = _standard_error(runs, metric)
    others = {name: 100 * _mean(runs, name) for name in first.summary["scores"] if name != metric}
    perplexity = _perplexity(runs)
    shown = [f"{name} {value:.{SCORE_DIGITS}f}" for name, value in others.items()]
    cells = (
        comparison.cohort.name,
        task_name(comparison),
        variant.label,
        metric,
        f"{first.summary['items']:,}",
        str(comparison.value.n),
        numbers.mean_and_sd(comparison.value, SCORE_DIGITS),
        numbers.NOTHING if error is None else f"{error:.{SCORE_DIGITS}f}",
        ", ".join([*shown, *([] if perplexity is None else [f"perplexity {perplexity:.4g}"])]) or numbers.NOTHING,
    )
    values = {
        "model": comparison.cohort.name,
        "task": comparison.cohort.task,
        "subset": bool(first.info["data"]["subset"]),
        "activation": variant.label,
        "metric": metric,
        "items": first.summary["items"],
        "score_percent": spread_values(comparison.value),
        "standard_error_percent": error,
        "other_scores_percent": others,
        "perplexity": perplexity,
    }
    return Row(cells, values, variant.ids)


def _mean(runs: Sequence[Run], metric: str) -> float:
    return fmean(run.summary["scores"][metric] for run in runs)


def _standard_error(runs: Sequence[Run], metric: str) -> float | None:
    errors = [run.summary["standard_errors"][metric] for run in runs]
    return None if None in errors else 100 * fmean(errors)


def _perplexity(runs: Sequence[Run]) -> float | None:
    """The mean of the last words' perplexity; None of tasks without, and beyond all floats."""
    found = [value for run in runs if (value := run.summary.get("perplexity")) is not None]
    return fmean(found) if len(found) == len(runs) else None
