"""Trajectories of coefficients: every number of every slot, from before training on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fake_runs
import pytest

from actbench.analysis.coefficient_history import trajectories
from actbench.errors import BadInput
from actbench.report.coefficients_report import coefficients_table, paths_of
from actbench.store import Run


def log(run: Run, rows: dict[int, dict[str, Any]]) -> Run:
    """The run with these coefficients, {step: {slot: {parameter: values}}}, in its metrics."""
    with (run.folder / "metrics.jsonl").open("a") as file:
        for step, values in rows.items():
            file.write(json.dumps({"step": step, "kind": "coefficients", "values": values, "gradients": {}}) + "\n")
    return Run(run.folder)


def started(run: Run) -> dict[str, Any]:
    """The coefficients of the first layer before training."""
    slots = json.loads((run.folder / "activations.json").read_text())["slots"]
    return dict(slots[0]["initial"])


def test_every_coefficient_goes_from_its_start_to_its_end(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "poly_relu", layers=1)
    start = started(run)
    log(
        run,
        {
            10: {"layers.0": {"weight": [1.0, 2.0, 3.0], "bias": 0.5}},
            20: {"layers.0": {"weight": [1.5, 2.5, 9.0], "bias": 0.25}},
        },
    )
    found = trajectories(run)
    assert [one.name for one in found] == ["weight[0]", "weight[1]", "weight[2]", "bias"]
    assert found[2].slot == "layers.0" and found[2].steps.tolist() == [0, 10, 20]
    assert found[2].values.tolist() == pytest.approx([start["weight"][2], 3.0, 9.0])
    assert found[2].moved == pytest.approx(9.0 - start["weight"][2])
    assert found[3].values.tolist() == pytest.approx([start["bias"], 0.5, 0.25])


def test_several_sets_are_told_by_their_mean_and_summaries_by_theirs(tmp_path: Path) -> None:
    run = fake_runs.pretrain(tmp_path, "poly_relu", layers=1, options={"sharing": 2})
    log(run, {10: {"layers.0": {"weight": [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]], "bias": [0.0, 8.0]}}})
    assert [one.values[-1] for one in trajectories(run)] == [1.0, 2.0, 3.0, 4.0]
    one_each = fake_runs.pretrain(tmp_path, "prelu", layers=1, options={"sharing": "channel"})
    log(one_each, {10: {"layers.0": {"slope": [0.1, 0.2, 0.6]}}, 20: {"layers.0": {"slope": [0.2, 0.3, 0.7]}}})
    (only,) = trajectories(one_each)
    assert only.name == "slope" and only.values.tolist() == pytest.approx([0.25, 0.3, 0.4])
    many = fake_runs.pretrain(tmp_path, "swish_beta", layers=1)
    log(many, {10: {"layers.0": {"beta": {"mean": 0.5, "std": 0.1, "min": 0.0, "max": 1.0}}}})
    assert trajectories(many)[0].values[-1] == 0.5


def test_the_table_is_over_seeds(tmp_path: Path) -> None:
    runs = [fake_runs.pretrain(tmp_path, "swish_beta", seed, layers=1) for seed in (0, 1)]
    start = started(runs[0])["beta"]
    for run, end in zip(runs, (2.0, 4.0), strict=True):
        log(run, {200: {"layers.0": {"beta": end}}})
    (row,) = coefficients_table(paths_of([Run(run.folder) for run in runs])).rows
    assert row.values["last"] == {"mean": 3.0, "sd": pytest.approx(2**0.5)}
    assert row.values["moved"]["mean"] == pytest.approx(3.0 - start)
    assert (row.values["seeds"], len(row.runs)) == (2, 2)


def test_a_run_without_coefficients_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="logged no coefficients"):
        trajectories(fake_runs.pretrain(tmp_path, "gelu"))
