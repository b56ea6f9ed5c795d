"""The tables of results: what each activation reached, and how sure its difference to the baseline is.

Runs are compared within a cohort only: the same recipe, data, hardware and task, another activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from actbench.analysis.cohorts import Cohort, Variant, cohorts, split_finished
from actbench.analysis.paired import (
    Difference,
    Spread,
    mean_by_pretraining,
    nested_difference,
    paired_difference,
    spread,
)
from actbench.report import numbers
from actbench.report.table import Column, Row, Table
from actbench.store import Run

LOSS_DIGITS, SCORE_DIGITS = 4, 2


@dataclass(frozen=True)
class Comparison:
    """A cohort's variant beside the cohort's baseline; `difference` is None without one, and for itself."""

    cohort: Cohort
    variant: Variant
    is_baseline: bool
    value: Spread
    difference: Difference | None


def pretraining_comparisons(runs: Sequence[Run], baseline: str) -> list[Comparison]:
    """The validation losses of the finished pre-training runs, paired by seed."""
    return _comparisons(runs, "pretrain", baseline)


def finetuning_comparisons(runs: Sequence[Run], baseline: str) -> list[Comparison]:
    """The headline scores, in percent, of the finished fine-tuned runs, paired by both seeds."""
    return _comparisons(runs, "finetune", baseline)


def pretraining_table(runs: Sequence[Run], baseline: str = "gelu") -> Table:
    """A row an activation and model: size, validation loss over seeds, the paired difference, speed.

    Runs that are not finished, or not pre-training, are left out; the notes count the former.
    """
    columns = (
        *_columns("model", "activation"),
        *_columns("parameters", "× gelu", "seeds", "validation loss", "perplexity", numeric=True),
        *_columns(f"Δ loss to {baseline} [95 %]", "p", numeric=True),
        *_columns("pairs"),
        *_columns("tokens/s", numeric=True),
    )
    found = pretraining_comparisons(runs, baseline)
    title = "Pre-training: loss on held-out text, mean ± sd over seeds; lower is better"
    return Table(title, columns, tuple(_pretraining_row(c) for c in found), _notes(runs, "pretrain", found, baseline))


def finetuning_table(runs: Sequence[Run], baseline: str = "gelu") -> Table:
    """A row an activation, model and task: the headline score over seeds and the paired difference.

    Runs that are not finished, or not fine-tuned, are left out; the notes count the former.
    """
    columns = (
        *_columns("model", "task", "activation", "metric"),
        *_columns("examples", "seeds", "runs", "score", f"Δ to {baseline} [95 %]", "p", numeric=True),
        *_columns("pairs"),
    )
    found = finetuning_comparisons(runs, baseline)
    title = "Fine-tuning: headline score in percent, mean ± sd over pre-training seeds; higher is better"
    return Table(title, columns, tuple(_finetuning_row(c) for c in found), _notes(runs, "finetune", found, baseline))


def _columns(*titles: str, numeric: bool = False) -> tuple[Column, ...]:
    return tuple(Column(title, numeric) for title in titles)


def _comparisons(runs: Sequence[Run], kind: Literal["pretrain", "finetune"], baseline: str) -> list[Comparison]:
    finished, _ = split_finished([run for run in runs if run.kind == kind])
    return [
        _compare(cohort, variant, cohort.baseline(baseline))
        for cohort in cohorts(finished)
        for variant in sorted(cohort.variants, key=lambda v: (v is not cohort.baseline(baseline), v.label))
    ]


def _compare(cohort: Cohort, variant: Variant, baseline: Variant | None) -> Comparison:
    is_baseline = variant is baseline
    partner = None if is_baseline else baseline
    if cohort.task is None:
        losses = _losses(variant)
        difference = paired_difference(losses, _losses(partner)) if partner else None
        return Comparison(cohort, variant, is_baseline, spread(losses.values()), difference)
    scores = _scores(variant)
    difference = nested_difference(scores, _scores(partner)) if partner else None
    return Comparison(cohort, variant, is_baseline, spread(mean_by_pretraining(scores).values()), difference)


def _losses(variant: Variant) -> dict[int, float]:
    return {seed: float(run.summary["validation_loss"]) for (seed, _), run in variant.runs.items()}


def _scores(variant: Variant) -> dict[tuple[int, int], float]:
    return {key: 100 * float(run.summary["headline"]["value"]) for key, run in variant.runs.items()}


def _pretraining_row(comparison: Comparison) -> Row:
    variant, runs = comparison.variant, list(comparison.variant.runs.values())
    model = variant.first.info["model"]
    perplexity = fmean(run.summary["validation_perplexity"] for run in runs)
    speed = fmean(run.summary["tokens_per_second"] for run in runs)
    cells = (
        comparison.cohort.name,
        variant.label,
        numbers.count(model["parameters"]),
        f"{model['parameters_ratio_to_gelu']:.4f}",
        str(comparison.value.n),
        numbers.mean_and_sd(comparison.value, LOSS_DIGITS),
        f"{perplexity:.2f}",
        *_difference_cells(comparison, LOSS_DIGITS),
        f"{speed:,.0f}",
    )
    values = {
        "model": comparison.cohort.name,
        "activation": variant.label,
        "parameters": model["parameters"],
        "parameters_ratio_to_gelu": model["parameters_ratio_to_gelu"],
        "validation_loss": _spread_values(comparison.value),
        "validation_perplexity": perplexity,
        "difference": _difference_values(comparison),
        "tokens_per_second": speed,
    }
    return Row(cells, values, variant.ids)


def _finetuning_row(comparison: Comparison) -> Row:
    variant, first = comparison.variant, comparison.variant.first
    task, metric = first.info["task"], str(first.summary["headline"]["metric"])
    cells = (
        comparison.cohort.name,
        f"{comparison.cohort.task} (stand-in)" if task["stand_in"] else str(comparison.cohort.task),
        variant.label,
        metric,
        f"{first.summary['train_examples']:,}",
        str(comparison.value.n),
        str(len(variant.runs)),
        numbers.mean_and_sd(comparison.value, SCORE_DIGITS),
        *_difference_cells(comparison, SCORE_DIGITS),
    )
    values = {
        "model": comparison.cohort.name,
        "task": comparison.cohort.task,
        "stand_in": bool(task["stand_in"]),
        "activation": variant.label,
        "metric": metric,
        "train_examples": first.summary["train_examples"],
        "score_percent": _spread_values(comparison.value),
        "difference": _difference_values(comparison),
    }
    return Row(cells, values, variant.ids)


def _difference_cells(comparison: Comparison, digits: int) -> tuple[str, str, str]:
    """Difference and interval, p-value, and how many pairs they rest on."""
    difference = comparison.difference
    if difference is None:
        return ("baseline" if comparison.is_baseline else numbers.NOTHING), "", ""
    dropped = f"{difference.dropped} dropped" if difference.dropped else ""
    remarks = ", ".join(remark for remark in (difference.caution, dropped) if remark)
    pairs = f"{difference.n} ({remarks})" if remarks else str(difference.n)
    return numbers.difference_and_interval(difference, digits), numbers.p_value(difference.p_value), pairs


def _spread_values(value: Spread) -> dict[str, Any]:
    return {"mean": value.mean, "sd": value.sd, "seeds": value.n}


def _difference_values(comparison: Comparison) -> dict[str, Any] | None:
    difference = comparison.difference
    if difference is None:
        return None
    return {
        "mean": difference.mean,
        "interval_95": list(difference.interval) if difference.interval else None,
        "p_value": difference.p_value,
        "pairs": difference.n,
        "dropped": difference.dropped,
        "caution": difference.caution,
    }


def _notes(runs: Sequence[Run], kind: str, found: Sequence[Comparison], baseline: str) -> tuple[str, ...]:
    """What a reader must know besides the cells: nothing is left out in silence."""
    notes = []
    tested = sum(c.difference is not None and c.difference.p_value is not None for c in found)
    if tested > 1:
        notes.append(f"{tested} differences are tested; p-values are not corrected for their number.")
    for cohort in {id(c.cohort): c.cohort for c in found}.values():
        place = cohort.name if cohort.task is None else f"{cohort.name}, {cohort.task}"
        if cohort.baseline(baseline) is None:
            notes.append(f"{place}: {cohort.why_no_baseline(baseline)}.")
        repeats = [run.id for variant in cohort.variants for run in variant.repeats]
        if repeats:
            notes.append(f"{place}: a newer run of the same recipe and seed stands for {', '.join(repeats)}.")
    dropped = sum(c.difference.dropped for c in found if c.difference)
    if dropped:
        notes.append(f"{numbers.plural(dropped, 'run')} without a partner of the same seed left out of a difference.")
    _, unfinished = split_finished([run for run in runs if run.kind == kind])
    if unfinished:
        notes.append("Left out, not finished: " + ", ".join(f"{r.id} ({r.status})" for r in unfinished) + ".")
    return tuple(notes)
