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

from actbench.analysis.speedups import Arrival, Curve, Speedup, smoothed, speedups
from actbench.errors import BadInput
from actbench.report.figures_speedups import mean_line
from actbench.report.speedup_table import speedup_table
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
    first: int = 20,
) -> Run:
    """A finished run with the loss as a function of tokens, `pace` seconds a step and `flops` a token.

    It is logged every 20 steps from the step `first` on.
    """
    run = fake_runs.pretrain(root, activation, seed, name="gpt-nano")
    rows = [
        {"step": step, "kind": kind, "tokens": step * RATE, "seconds": pace * step, "loss": loss(step * RATE)}
        for step in range(first, STEPS + 1, 20)
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


def test_a_baseline_that_rises_at_its_end_flatters_nobody(tmp_path: Path) -> None:
    """It was there before, and that is what it needed: a variant that is the same is no sooner."""
    end = STEPS * RATE

    def rising(tokens: float) -> float:
        return power_law(min(tokens, 0.8 * end)) + max(0.0, tokens - 0.8 * end) / end

    runs = [run_with(tmp_path, "gelu", 0, rising), run_with(tmp_path, "relu", 0, rising)]
    runs.append(run_with(tmp_path, "raf", 0, lambda t: rising(t) - 0.01))
    same, sooner = (
        next(one for one in speedups(runs, "gelu") if one.spent == "tokens" and one.variant.label == name)
        for name in ("relu", "raf")
    )
    assert same.ratio == pytest.approx(1)
    assert sooner.ratio is not None and 1 < sooner.ratio < 1.1
    only_rises = Curve(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    assert only_rises.needed() == Arrival(1.0, exact=False)
    assert Curve(np.array([2.0]), np.array([3.0])).needed() == Arrival(2.0)


def test_a_dip_is_no_arrival() -> None:
    curve = Curve(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([5.0, 3.0, 4.0, 3.0, 2.0]))
    assert curve.arrival(3.5) == Arrival(3.5)
    assert curve.arrival(2.0) == Arrival(5.0)
    assert curve.arrival(1.9) is None


def test_nothing_is_known_of_what_was_not_logged() -> None:
    curve = Curve(np.array([2.0, 3.0, 4.0]), np.array([4.0, 3.0, 2.0]))
    assert [curve.at(spent) for spent in (1.9, 2.0, 2.5, 4.0, 4.1)] == [None, 4.0, 3.5, 2.0, None]
    assert curve.arrival(4.0) == curve.arrival(9.0) == Arrival(2.0, exact=False)


def test_a_loss_that_came_later_is_none_at_equal_cost(tmp_path: Path) -> None:
    """A slower variant: one seed has its one loss at its end, after the baseline had ended; the others have all."""
    runs = [run_with(tmp_path, "gelu", seed, power_law) for seed in range(3)]
    runs.append(run_with(tmp_path, "raf", 0, power_law, pace=2.0, first=STEPS))
    runs += [run_with(tmp_path, "raf", s, lambda t: power_law(t) + 0.01, pace=2.0) for s in (1, 2)]
    found = speedups(runs, "gelu")
    seconds = by_cost(found)["seconds"]
    assert (seconds.seeds, seconds.too_early, seconds.difference.n) == (3, 1, 2)
    late = power_law(STEPS * RATE / 2) + 0.01 - power_law(STEPS * RATE)
    assert seconds.difference.mean == pytest.approx(late, abs=1e-5), "of the two others alone"
    table = speedup_table(found)
    row = next(row for row in table.rows if row.values["spent"] == "seconds")
    assert row.cells[4].endswith("(no loss so early in 1 of 3 pairs, equal differences: no interval)")
    assert row.values["pairs"] == 3 and row.values["loss_difference"]["pairs"] == 2
    assert any(note.startswith("No loss so early") for note in table.notes)
    tokens = by_cost(found)["tokens"]
    assert tokens.too_early == 0 and "no loss so early" not in table.rows[0].cells[4]


def test_no_pair_has_a_loss_so_early(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, "gelu", 0, power_law), run_with(tmp_path, "raf", 0, power_law, pace=2.0, first=STEPS)]
    row = next(row for row in speedup_table(speedups(runs, "gelu")).rows if row.values["spent"] == "seconds")
    assert row.cells[4] == "– (no loss so early in 1 of 1 pair)"
    assert row.values["loss_difference"] == {"mean": None, "interval_95": None, "pairs": 0}


def test_a_first_loss_already_as_low_bounds_the_speed_up(tmp_path: Path) -> None:
    """One of three seeds logs first at the half of its steps, and is below by then."""
    runs = [run_with(tmp_path, "gelu", seed, power_law) for seed in range(3)]
    runs.append(run_with(tmp_path, "raf", 0, lambda t: power_law(4 * t), first=STEPS // 2))
    runs += [run_with(tmp_path, "raf", seed, lambda t: power_law(4 * t)) for seed in (1, 2)]
    found = speedups(runs, "gelu")
    one = by_cost(found)["tokens"]
    assert (one.arrived, one.ratio, one.interval, one.at_most) == (3, None, None, None)
    assert one.at_least == pytest.approx((2 * 4 * 4) ** (1 / 3), rel=1e-3), "as if it had come there just then"
    table = speedup_table(found)
    row = table.rows[0]
    assert row.cells[-1] == f"at least {one.at_least:.3f}" and row.cells[-2] == "3 of 3"
    assert row.values["speedup"]["at_least"] == one.at_least and row.values["speedup"]["ratio"] is None
    assert row.values["spent_on_arrival"]["0"] is None
    assert row.values["spent_on_arrival_at_most"] == {"0": STEPS * RATE / 2, "1": None, "2": None}
    assert any(note.startswith("At least") for note in table.notes)


def test_runs_bounded_from_either_side_bound_nothing_together(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, "gelu", seed, power_law) for seed in range(2)]
    runs.append(run_with(tmp_path, "raf", 0, lambda t: power_law(4 * t), first=STEPS // 2))
    runs.append(run_with(tmp_path, "raf", 1, lambda t: power_law(t) + 0.01))
    found = speedups(runs, "gelu")
    one = by_cost(found)["tokens"]
    assert (one.ratio, one.at_most, one.at_least) == (None, None, None)
    table = speedup_table(found)
    assert table.rows[0].cells[-1] == "unbounded" and table.rows[0].cells[-2] == "1 of 2"
    assert [note.partition(":")[0] for note in table.notes[2:]] == ["Unbounded"]


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


def test_seeds_that_were_slow_and_fast_are_drawn_where_both_were() -> None:
    slow, fast = (
        Curve(np.array([19.0, 25, 37]), np.array([6.2, 5.8, 5.4])),
        Curve(np.array([11.0, 18, 24]), np.array([6.3, 5.9, 5.5])),
    )
    line = mean_line("swiglu", [slow, fast], "black")
    assert line.x.tolist() == [19, 24]
    assert line.y == pytest.approx([(6.2 + 5.9 - 0.4 / 6) / 2, (6.2 - 0.4 * 5 / 6 + 5.5) / 2])


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
    assert {"speedup.at_most", "speedup.at_least", "loss_difference.pairs"} <= written["raf", "tokens"].keys()
    assert float(written["raf", "tokens"]["speedup.ratio"]) == rows["raf", "tokens"]["speedup"]["ratio"]
    refused = actbench("compare", "--baseline", "rafs", check=2)
    assert "did you mean 'raf'?" in refused.stderr
    assert "at most" in actbench("compare", *options, check=0).stdout
    assert "s.gif" in actbench("compare", "-o", "s.gif", check=2).stderr
