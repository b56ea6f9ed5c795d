"""Speed-ups of runs whose losses are made for it: known ratios, runs that never arrive, equal cost."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import fake_runs
import numpy as np
import pytest

from actbench.analysis.speedups import Curve, Speedup, smoothed, speedups
from actbench.errors import BadInput
from actbench.store import Run

STEPS, RATE = 2000, 100.0  # tokens a step
Loss = Callable[[float], float]


def power_law(tokens: float) -> float:
    """A loss that falls without end, so that each loss is met once."""
    return 2 + 3 * (tokens / 1000) ** -0.5


def run_with(
    root: Path,
    activation: str,
    seed: int,
    loss: Loss,
    *,
    pace: float = 1.0,
    flops: float = 10.0,
    kind: str = "validation",
) -> Run:
    """A finished run with the loss as a function of tokens, `pace` seconds a step and `flops` a token."""
    run = fake_runs.pretrain(root, activation, seed, name="gpt-nano")
    rows = [
        {"step": step, "kind": kind, "tokens": step * RATE, "seconds": pace * step, "loss": loss(step * RATE)}
        for step in range(20, STEPS + 1, 20)
    ]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = json.loads((run.folder / "run.json").read_text())
    info["model"]["flops_per_token"] = flops
    (run.folder / "run.json").write_text(json.dumps(info))
    return Run(run.folder)


def by_cost(found: list[Speedup]) -> dict[str, Speedup]:
    return {one.spent: one for one in found}


def test_a_known_speed_up_is_found_by_every_cost(tmp_path: Path) -> None:
    """A variant that has each loss after 1 / 1.45 of the tokens, 1.2 times as many seconds and 1.1 times the FLOPs."""
    runs = [run_with(tmp_path, "gelu", 0, power_law)]
    runs.append(run_with(tmp_path, "raf", 0, lambda t: power_law(1.45 * t), pace=1.2, flops=11.0))
    found = by_cost(speedups(runs, "gelu"))
    assert found["tokens"].ratio == pytest.approx(1.45, rel=1e-3)
    assert found["seconds"].ratio == pytest.approx(1.45 / 1.2, rel=1e-3)
    assert found["flops"].ratio == pytest.approx(1.45 / 1.1, rel=1e-3)
    assert found["tokens"].interval is None and found["tokens"].caution == "one seed: no interval"
    end = STEPS * RATE
    assert found["tokens"].difference.mean == pytest.approx(power_law(1.45 * end) - power_law(end))
    assert found["seconds"].difference.mean == pytest.approx(power_law(1.45 * end / 1.2) - power_law(end), abs=1e-5)


def test_the_interval_is_that_of_the_logarithms_over_pairs(tmp_path: Path) -> None:
    ratios = (1.2, 1.3, 1.5)
    runs = [run_with(tmp_path, "gelu", seed, power_law) for seed in range(4)]
    runs += [run_with(tmp_path, "raf", s, lambda t, ratio=r: power_law(ratio * t)) for s, r in enumerate(ratios)]
    one = by_cost(speedups(runs, "gelu"))["tokens"]
    logs = np.log(ratios)
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)
    assert (one.seeds, one.arrived) == (3, 3)
    assert one.ratio == pytest.approx(math.exp(logs.mean()), rel=1e-3)
    assert one.interval == pytest.approx((math.exp(logs.mean() - half), math.exp(logs.mean() + half)), rel=2e-3)
    assert one.bootstrap is None and one.caution == "too few seeds"


def test_six_pairs_have_a_bootstrap_interval_too(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, "gelu", seed, power_law) for seed in range(6)]
    runs += [run_with(tmp_path, "raf", s, lambda t, ratio=1.3 + s / 20: power_law(ratio * t)) for s in range(6)]
    one = by_cost(speedups(runs, "gelu"))["tokens"]
    assert one.caution == "" and one.bootstrap is not None and one.ratio is not None
    assert one.bootstrap[0] < one.ratio < one.bootstrap[1]


def test_a_run_that_never_arrives_has_no_speed_up(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, "gelu", seed, power_law) for seed in (0, 1)]
    runs.append(run_with(tmp_path, "raf", 0, lambda t: power_law(2 * t)))
    runs.append(run_with(tmp_path, "raf", 1, lambda t: power_law(t) + 0.01))
    one = by_cost(speedups(runs, "gelu"))["tokens"]
    assert (one.seeds, one.arrived, one.arrivals[1]) == (2, 1, None)
    assert one.ratio is None and one.interval is None
    assert one.at_most == pytest.approx(math.sqrt(2 * 1), rel=1e-3), "as if the other had arrived at its end"


def test_a_dip_is_no_arrival() -> None:
    curve = Curve(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([5.0, 3.0, 4.0, 3.0, 2.0]))
    assert curve.arrival(3.5) == 3.5
    assert curve.arrival(2.0) == 5.0
    assert curve.arrival(1.9) is None
    assert curve.arrival(9.0) == 1.0
    assert curve.at(2.5) == 3.5


def test_a_training_loss_is_smoothed_without_a_shift() -> None:
    line = np.linspace(4, 2, 101)
    noise = np.where(np.arange(101) % 2, 0.1, -0.1)
    np.testing.assert_allclose(smoothed(line)[5:-5], line[5:-5])
    assert np.abs(smoothed(line + noise) - line)[5:-5].max() < 0.03
    np.testing.assert_array_equal(smoothed(np.array([1.0])), [1.0])


def test_the_training_loss_can_be_gone_by(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, "gelu", 0, power_law, kind="train")]
    runs.append(run_with(tmp_path, "raf", 0, lambda t: power_law(1.45 * t), kind="train"))
    assert by_cost(speedups(runs, "gelu", "train"))["tokens"].ratio == pytest.approx(1.45, rel=0.02)
    with pytest.raises(BadInput, match="logged no validation loss"):
        speedups(runs, "gelu")


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    gelu, raf = (run_with(tmp_path, name, 0, power_law) for name in ("gelu", "raf"))
    with pytest.raises(BadInput, match="no finished pre-training run"):
        speedups([fake_runs.pretrain(tmp_path, "relu", finished=False)], "gelu")
    with pytest.raises(BadInput, match="no finished run with relu"):
        speedups([gelu, raf], "relu")
    with pytest.raises(BadInput, match="nothing to set beside gelu"):
        speedups([gelu], "gelu")
    with pytest.raises(BadInput, match="nothing to set beside gelu"):
        speedups([gelu, run_with(tmp_path, "raf", 7, power_law)], "gelu")


def test_a_model_that_came_ready_has_no_part(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, "gelu", 0, power_law), run_with(tmp_path, "raf", 0, lambda t: power_law(2 * t))]
    ready = fake_runs.pretrain(tmp_path, "relu", 0, name="known")
    (ready.folder / "metrics.jsonl").unlink()
    ready.info["origin"] = {"from": "hf:somewhere"}
    assert {one.variant.label for one in speedups([ready, *runs], "gelu")} == {"raf"}
    with pytest.raises(BadInput, match="no finished pre-training run"):
        speedups([ready], "relu")


def test_the_command_writes_figure_table_and_json(actbench, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for seed in range(2):
        run_with(root, "gelu", seed, power_law)
        run_with(root, "raf", seed, lambda t, ratio=1.4 + seed / 10: power_law(ratio * t))
        run_with(root, "relu", seed, lambda t: power_law(t) + 0.1)
    options = ("--baseline", "gelu", "-o", "s.png", "--table", "s.csv")
    done = actbench("compare", *options, "--json", check=0)
    facts = json.loads(done.stdout)
    (table,) = facts["tables"]
    rows = {(row["activation"], row["spent"]): row for row in table["rows"]}
    assert len(rows) == 6
    assert rows["raf", "tokens"]["speedup"]["ratio"] == pytest.approx(math.sqrt(1.4 * 1.5), rel=1e-3)
    assert rows["relu", "tokens"]["reached"] == 0 and rows["relu", "tokens"]["speedup"]["ratio"] is None
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG" and facts["output"] == ["s.png"]
    with (tmp_path / "s.csv").open() as file:
        written = {(row["activation"], row["spent"]): row for row in csv.DictReader(file)}
    assert float(written["raf", "tokens"]["speedup.ratio"]) == rows["raf", "tokens"]["speedup"]["ratio"]
    refused = actbench("compare", "--baseline", "rafs", check=2)
    assert "did you mean 'raf'?" in refused.stderr
    assert "at most" in actbench("compare", *options, check=0).stdout
    assert "s.gif" in actbench("compare", "-o", "s.gif", check=2).stderr
