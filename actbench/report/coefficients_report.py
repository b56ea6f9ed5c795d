"""How coefficients moved over training: a figure of their paths, and a table of where they began and ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actbench.analysis.coefficient_history import Trajectory, names_in_order, trajectories
from actbench.analysis.cohorts import cohorts
from actbench.analysis.paired import spread
from actbench.report import numbers
from actbench.report.figure_style import PALETTE, figure_format, progress_colours, save, style
from actbench.report.figures_activations import panel_title
from actbench.report.line_panels import Line, LinePanel, line_figure
from actbench.report.table import Row, Table, columns
from actbench.store import Run

DIGITS = 4

Paths = dict[str, dict[str, list[Trajectory]]]  # {variant: {run: trajectories}}


def paths_of(runs: Sequence[Run]) -> Paths:
    """Every run's coefficients by variant, in the order of seeds. Raises BadInput for a run that logged none."""
    found = cohorts(runs)
    return {
        f"{cohort.name}: {variant.label}" if len(found) > 1 else variant.label: {
            run.id: trajectories(run) for run in variant.runs.values()
        }
        for cohort in found
        for variant in cohort.variants
    }


def plot_coefficients(paths: Paths, path: Path) -> None:
    """Draws a panel a variant and slot, a colour a coefficient, a line a seed.

    Raises BadInput for a suffix other than svg, png or pdf.
    """
    figure_format(path)
    panels = []
    for variant, by_run in paths.items():
        every = [one for found in by_run.values() for one in found]
        names = names_in_order(every)
        colours = PALETTE if len(names) <= len(PALETTE) else progress_colours(len(names))
        for slot in dict.fromkeys(one.slot for one in every):
            lines = [
                Line(one.name, colours[names.index(one.name)], one.steps, one.values, width=1.1)
                for one in every
                if one.slot == slot
            ]
            panels.append(LinePanel(f"{variant}, {panel_title(slot).lower()}", "step", "value", lines))
    with style():
        save(line_figure(panels), path)


def coefficients_table(paths: Paths) -> Table:
    """A row a variant, slot and coefficient: its value before and after training, and how far it moved, over seeds."""
    rows = []
    for variant, by_run in paths.items():
        grouped: dict[tuple[str, str], list[Trajectory]] = {}
        for found in by_run.values():
            for one in found:
                grouped.setdefault((one.slot, one.name), []).append(one)
        rows += [_row(variant, slot, name, each, tuple(by_run)) for (slot, name), each in grouped.items()]
    heads = (
        *columns("activation", "slot", "coefficient"),
        *columns("seeds", "first", "last", "moved", numeric=True),
    )
    steps = sorted({int(one.steps[-1]) for by_run in paths.values() for found in by_run.values() for one in found})
    ends = numbers.join([f"{step:,}" for step in steps])
    note = f"First: before training, or where it was logged first; last: after {ends} steps."
    return Table("Coefficients over training, mean ± sd over seeds", heads, tuple(rows), (note,), "coefficients")


def trajectories_json(paths: Paths) -> list[dict[str, object]]:
    """JSON data: every path, value by value."""
    return [
        {
            "activation": variant,
            "run": run,
            "slot": one.slot,
            "coefficient": one.name,
            "steps": [int(step) for step in one.steps],
            "values": one.values.tolist(),
        }
        for variant, by_run in paths.items()
        for run, found in by_run.items()
        for one in found
    ]


def _row(variant: str, slot: str, name: str, each: Sequence[Trajectory], runs: tuple[str, ...]) -> Row:
    measured = {
        "first": spread(float(one.values[0]) for one in each),
        "last": spread(float(one.values[-1]) for one in each),
        "moved": spread(one.moved for one in each),
    }
    cells = (variant, slot, name, str(len(each)), *(numbers.mean_and_sd(value, DIGITS) for value in measured.values()))
    values = {
        "activation": variant,
        "slot": slot,
        "coefficient": name,
        "seeds": len(each),
        **{key: {"mean": value.mean, "sd": value.sd} for key, value in measured.items()},
    }
    return Row(cells, values, runs)
