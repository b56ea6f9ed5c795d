"""All tables of results, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Callable

from actbench.analysis.comparisons import Family
from actbench.report.difference_tables import (
    evaluation_differences,
    finetuning_differences,
    pretraining_differences,
    stated_differences,
    transfer_differences,
    zero_shot_differences,
)
from actbench.report.grid_table import grid_table
from actbench.report.one_pretraining_table import one_pretraining_table
from actbench.report.table import Table
from actbench.report.tables import evaluation_table, finetuning_table, pretraining_table, validation_sets_table
from actbench.report.task_tables import tasks_table, zero_shot_tasks_table
from actbench.report.transfer_table import transfer_table
from actbench.report.zero_shot_table import zero_shot_table

MAKERS: tuple[Callable[[Family], Table], ...] = (
    pretraining_table,
    pretraining_differences,
    validation_sets_table,
    finetuning_table,
    finetuning_differences,
    one_pretraining_table,
    grid_table,
    tasks_table,
    transfer_table,
    transfer_differences,
    evaluation_table,
    evaluation_differences,
    zero_shot_table,
    zero_shot_differences,
    zero_shot_tasks_table,
    stated_differences,
)


def result_tables(family: Family) -> list[Table]:
    """Those that have rows."""
    return [table for make in MAKERS if (table := make(family)).rows]
