"""The tables of differences: what each activation does to another's result, and how sure one may be of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actbench.analysis.comparisons import Comparison, Family, Stated
from actbench.analysis.paired import Difference
from actbench.report import numbers
from actbench.report.table import Column, Row, Table, columns
from actbench.report.tables import LOSS_DIGITS, SCORE_DIGITS, task_name

EFFECT_DIGITS = 2
ABOUT = (
    "d_z: the mean difference in standard deviations of the paired differences, after Hedges. p: paired t-test; "
    "permutation p: sign-flip test of the mean, in brackets the least it could have given with so many pairs."
)
NEVER_BOTH = "no model has finished runs of both, so called and neither its baseline"
ABOUT_BOOTSTRAP = "Δ has the t-interval; beside it stands that of the studentised bootstrap, from 6 pairs on."


def pretraining_differences(family: Family) -> Table:
    """A row an activation and model: the paired difference of its validation loss to the baseline's."""
    title = f"Pre-training: paired difference of validation loss to {family.baseline}; below zero is better"
    return _differences(family, family.pretraining, title, "pretraining")


def finetuning_differences(family: Family) -> Table:
    """A row an activation, model and task: the paired difference of its score to the baseline's."""
    title = f"Fine-tuning: paired difference of score to {family.baseline}, in points; above zero is better"
    return _differences(family, family.finetuning, title, "finetuning", "task")


def transfer_differences(family: Family) -> Table:
    """A row an activation, model and transfer: the paired difference of its score to the baseline's."""
    title = f"Transfer: paired difference of score to {family.baseline}, in points; above zero is better"
    return _differences(family, family.transfer, title, "transfer", "task")


def evaluation_differences(family: Family) -> Table:
    """A row an activation, model and text: the paired difference of its loss to the baseline's."""
    title = f"Evaluation: paired difference of loss to {family.baseline}; below zero is better"
    return _differences(family, family.evaluation, title, "evaluation", "text")


def zero_shot_differences(family: Family) -> Table:
    """A row an activation, model and task: the paired difference of its zero-shot score to the baseline's."""
    title = f"Zero-shot: paired difference of score to {family.baseline}, in points; above zero is better"
    return _differences(family, family.zero_shot, title, "zero-shot", "task")


def stated_differences(family: Family) -> Table:
    """A row for each model, task and text of what the study compares besides; one that says so where nothing was."""
    title = "Stated comparisons: paired differences; below zero is better for a loss (nats), above for a score (points)"
    compared = _compared([comparison for _, found in family.stated for comparison in found])
    resampled = any(difference.bootstrap for _, difference in compared)
    heads = (*columns("model", "of", "difference"), *_difference_heads(family, resampled))
    rows = [_stated_row(comparison, difference, resampled) for comparison, difference in compared]
    rows += [_unrun_row(stated, len(heads)) for stated, found in family.stated if not found]
    return Table(title, heads, tuple(rows), (*_about(resampled), *_notes(compared)), "stated-differences")


def _stated_row(comparison: Comparison, difference: Difference, resampled: bool) -> Row:
    cohort, against = comparison.cohort, comparison.against
    of = task_name(comparison) if cohort.task else cohort.text or "pre-training"
    sides = _sides(comparison.variant.label, against)
    cells = (cohort.name, of, sides, *_cells(difference, _digits(comparison), resampled))
    values = {**name_values(comparison), "against": against, "difference": _values(difference)}
    return Row(cells, values, comparison.runs)


def _unrun_row(stated: Stated, width: int) -> Row:
    sides = _sides(stated.activation, stated.against)
    cells = (numbers.NOTHING, numbers.NOTHING, sides, *[numbers.NOTHING] * (width - 4), NEVER_BOTH)
    return Row(cells, {**stated.model_dump(), "difference": None}, ())


def _sides(first: str, second: str) -> str:
    return f"{first} − {second}"


def _differences(family: Family, comparisons: Sequence[Comparison], title: str, kind: str, *what: str) -> Table:
    compared = _compared(comparisons)
    resampled = any(difference.bootstrap for _, difference in compared)
    heads = (*columns("model", *what, "activation"), *_difference_heads(family, resampled))
    rows = [
        Row(
            (*names(comparison), *_cells(difference, _digits(comparison), resampled)),
            {**name_values(comparison), "difference": _values(difference)},
            comparison.runs,
        )
        for comparison, difference in compared
    ]
    return Table(title, heads, tuple(rows), (*_about(resampled), *_notes(compared)), f"{kind}-differences")


def _compared(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Difference]]:
    return [(c, c.difference) for c in comparisons if c.difference is not None]


def _digits(comparison: Comparison) -> int:
    return LOSS_DIGITS if comparison.cohort.task is None else SCORE_DIGITS


def _difference_heads(family: Family, resampled: bool) -> list[Column]:
    corrected = f"p, Holm of {family.tested}" if family.tested else "p, Holm"  # one seed: nothing is tested
    return [
        *columns("Δ [95 %]", *(["bootstrap [95 %]"] if resampled else []), numeric=True),
        *columns("d_z [95 %]", "p", corrected, "permutation p (least)", numeric=True),
        *columns("pairs"),
    ]


def _about(resampled: bool) -> list[str]:
    return [ABOUT, *([ABOUT_BOOTSTRAP] if resampled else [])]


def names(comparison: Comparison) -> tuple[str, ...]:
    """The cells that say what is compared: model, task or text if there is one, activation."""
    cohort = comparison.cohort
    task = () if cohort.task is None else (task_name(comparison),)
    text = () if cohort.text is None else (cohort.text,)
    return cohort.name, *task, *text, comparison.variant.label


def name_values(comparison: Comparison) -> dict[str, Any]:
    """The same for JSON."""
    cohort = comparison.cohort
    task = {} if cohort.task is None else {"task": cohort.task}
    text = {} if cohort.text is None else {"text": cohort.text}
    return {"model": cohort.name, **task, **text, "activation": comparison.variant.label}


def _cells(difference: Difference, digits: int, resampled: bool) -> tuple[str, ...]:
    effect, least = difference.effect, difference.least_permutation_p
    exact = numbers.p_value(difference.permutation_p)
    return (
        numbers.difference_and_interval(difference, digits),
        *([numbers.interval(difference.bootstrap, digits)] if resampled else []),
        numbers.NOTHING if effect is None else numbers.signed_with_interval(effect.d_z, effect.interval, EFFECT_DIGITS),
        numbers.p_value(difference.p_value),
        numbers.p_value(difference.holm_p),
        exact if difference.permutation_p is None else f"{exact} ({numbers.p_value(least)})",
        numbers.pairs(difference, difference.caution),
    )


def _values(difference: Difference) -> dict[str, Any]:
    effect = difference.effect
    return {
        "mean": difference.mean,
        "sd": difference.sd,
        "interval_95": list(difference.interval) if difference.interval else None,
        "bootstrap_interval_95": list(difference.bootstrap) if difference.bootstrap else None,
        "p_value": difference.p_value,
        "holm_p": difference.holm_p,
        "permutation_p": difference.permutation_p,
        "least_permutation_p": difference.least_permutation_p,
        "d_z": None if effect is None else effect.d_z,
        "d_z_interval_95": None if effect is None else list(effect.interval),
        "pairs": difference.n,
        "dropped": difference.dropped,
        "caution": difference.caution,
    }


def _notes(compared: Sequence[tuple[Comparison, Difference]]) -> list[str]:
    """What a reader must know besides the cells."""
    notes = []
    for comparison, difference in compared:
        bootstrap = difference.bootstrap
        if bootstrap is not None and (bootstrap[0] <= 0 <= bootstrap[1]) is difference.excludes_zero:
            said = numbers.interval(bootstrap, _digits(comparison))
            beside = f" against {comparison.against}" if comparison.against else ""
            place = ", ".join(names(comparison)) + beside
            notes.append(f"{place}: skewed? The studentised bootstrap, {said}, says otherwise of zero.")
    dropped = sum(difference.dropped for _, difference in compared)
    if dropped:
        notes.append(f"{numbers.plural(dropped, 'run')} without a partner of the same seed left out of a difference.")
    return notes
