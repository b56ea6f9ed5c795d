"""What the selection set chose: for every variant and task the points that were tried, and the values that won."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from statistics import fmean

from actbench.analysis.comparisons import Comparison, Family
from actbench.report import numbers
from actbench.report.table import Row, Table, columns
from actbench.report.tables import SCORE_DIGITS, task_name


def grid_table(family: Family) -> Table:
    """A row an activation, model and task whose settings were chosen: how many points, which won, and their score."""
    heads = (
        *columns("model", "task", "activation"),
        *columns("points", numeric=True),
        *columns("settings (models)"),
        *columns("selection score", numeric=True),
    )
    rows = tuple(_row(comparison) for comparison in family.finetuning if comparison.variant.choices)
    title = "Fine-tuning: settings given to each activation and mode"
    notes: tuple[str, ...] = ("Nothing was chosen among them.",)
    if family.searched:
        title = "Fine-tuning: settings chosen on the selection set"
        notes = (
            f"Chosen: {', '.join(family.chosen)}. For each pre-trained model and task the point with the best mean "
            "score over seeds on the selection set, a part of the training set. A single point was given, not chosen.",
            "Test scores had no say in it; all other tables of results have those of the chosen points alone.",
        )
    return Table(title, heads, rows, notes, "grid")


def _row(comparison: Comparison) -> Row:
    variant = comparison.variant
    choices = list(variant.choices.values())
    fewest, most = (end(choice.points for choice in choices) for end in (min, max))
    scores = [choice.chosen.selection for choice in choices]
    selection = 100 * fmean(scores) if all(map(math.isfinite, scores)) else None
    cells = (
        comparison.cohort.name,
        task_name(comparison),
        variant.label,
        str(most) if fewest == most else f"{fewest} to {most}",
        ", ".join(_counted(words for choice in choices if (words := choice.chosen.words))) or numbers.NOTHING,
        numbers.NOTHING if selection is None else f"{selection:.{SCORE_DIGITS}f}",
    )
    values = {
        "model": comparison.cohort.name,
        "task": comparison.cohort.task,
        "activation": variant.label,
        "points": most,
        "selection_percent": selection,
        "by_pretraining_seed": {str(seed): choice.facts() for seed, choice in variant.choices.items()},
    }
    return Row(cells, values, variant.ids)


def _counted(words: Iterable[str]) -> list[str]:
    """Each once, the most frequent first, with how often it was met."""
    return [f"{word} ({times})" for word, times in Counter(words).most_common()]
