"""Do the intervals hold what they promise? Small simulations of what benchmarks/coverage.py does at length."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT

from actbench.analysis.paired import paired_difference, studentised_interval
from actbench.analysis.tasks import interquartile_difference


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """benchmarks/coverage.py, which is a script."""
    spec = importlib.util.spec_from_file_location("coverage_simulation", ROOT / "benchmarks" / "coverage.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("n", [2, 4])
def test_the_reported_interval_of_few_seeds(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for slow in ("effect_size", "permutation_p"):  # no part of the interval
        monkeypatch.setattr(f"actbench.analysis.paired.{slow}", lambda *_: None)
    draws = np.random.default_rng(n).normal(0.3, 1.0, (300, n))
    intervals = [paired_difference(dict(enumerate(x)), dict.fromkeys(range(n), 0.0)).interval for x in draws]
    held = np.mean([interval is not None and interval[0] <= 0.3 <= interval[1] for interval in intervals])
    assert held == pytest.approx(0.95, abs=0.035)


def test_the_reported_intervals_over_tasks_hold_though_seeds_share_luck(simulation: ModuleType) -> None:
    assert min(simulation.reported_coverage(8, 150, 0.98)) > 0.89


def test_percentile_and_bca_intervals_of_few_seeds_hold_far_less_than_they_promise(simulation: ModuleType) -> None:
    """Why they are not what is reported."""
    x = np.random.default_rng(0).normal(size=(300, 4))
    shares = {name: simulation.coverage(getattr(simulation, name), x) for name in ("t_interval", "percentile", "bca")}
    assert shares["t_interval"] > 0.92 and max(shares["percentile"], shares["bca"]) < 0.87


def test_the_bootstrap_interval_holds_more_where_differences_are_skewed(simulation: ModuleType) -> None:
    x = np.random.default_rng(1).exponential(size=(600, 8)) - 1
    studentised, t = (simulation.coverage(method, x) for method in (simulation.studentised, simulation.t_interval))
    assert studentised > t + 0.02 and studentised > 0.9


def test_what_is_simulated_is_what_is_reported(simulation: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "RESAMPLES", 9_999)
    x = np.random.default_rng(2).normal(size=(3, 7))
    low, high = simulation.studentised(x)
    for row in range(3):
        assert studentised_interval(list(x[row])) == pytest.approx((low[row], high[row]))


def test_the_interval_over_tasks_knows_that_tasks_share_their_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The truth is 1; half of the variance is common to all tasks of a seed."""
    monkeypatch.setattr("actbench.analysis.tasks.RESAMPLES", 999)
    random, held = np.random.default_rng(3), 0
    for _ in range(150):
        baseline, other = (random.normal(size=(6, 1)) + random.normal(size=(6, 4)) for _ in range(2))
        interval = interquartile_difference(baseline + other + 1, baseline).interval
        assert interval is not None
        held += interval[0] <= 1 <= interval[1]
    assert held / 150 > 0.88
