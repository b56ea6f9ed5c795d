"""How often a 95 % interval holds the truth: the simulation behind docs/statistics.md.

    python benchmarks/coverage.py                 # prints the page's tables; about a quarter of an hour
    python benchmarks/coverage.py --draws 200     # a rougher look

Every draw is an experiment with n seeds whose truth is known. A method's coverage is the share of experiments whose
interval holds it. With 4,000 draws the simulation itself is good to about 0.7 points (two standard errors) at 95 %.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from actbench.analysis.paired import CONFIDENCE
from actbench.analysis.tasks import expanded_confidence, interquartile_mean, probability_of_improvement

Array = NDArray[np.float64]
Interval = tuple[Array, Array]

SEEDS = (2, 3, 4, 5, 6, 8, 10, 15, 20)
TASK_SEEDS = (3, 4, 5, 6, 8, 10, 20)
TASKS = 8
SHARED = (0.0, 0.5, 0.9)  # of the luck of a seed's two runs
RESAMPLES = 1_999
CHUNK = 100  # experiments at a time
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
LAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Array]] = {  # of paired differences; all have mean 0
    "normal": lambda random, shape: random.normal(size=shape),
    "heavy tails (Laplace)": lambda random, shape: random.laplace(size=shape),
    "skewed (exponential)": lambda random, shape: random.exponential(size=shape) - 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4_000, help="experiments a cell of the first table")
    draws = parser.parse_args().draws
    methods = {"t": t_interval, "percentile": percentile, "BCa": bca, "studentised": studentised}
    print_row(["law of the differences", "n", *methods])
    print_row(["---", "---:", *["---:"] * len(methods)])
    for law, draw in LAWS.items():
        for n in SEEDS:
            differences = draw(np.random.default_rng(n), (draws, n))
            print_row([law, str(n), *(percent(coverage(method, differences)) for method in methods.values())])
    print()
    print_row(["seeds", "drawn together, expanded", "drawn together", "drawn for each task"])
    print_row(["---:"] * 4)
    for n in TASK_SEEDS:
        print_row([str(n), *(percent(share) for share in task_coverage(n, draws // 4))])
    print()
    print_row(["seeds", "IQM", *(f"P(better), {shared:.0%} of the luck shared" for shared in SHARED)])
    print_row(["---:"] * (2 + len(SHARED)))
    for n in (6, 10, 20):
        found = [reported_coverage(n, draws // 8, shared) for shared in SHARED]
        print_row([str(n), percent(found[0][0]), *(percent(better) for _, better in found)])


def coverage(method: Callable[[Array], Interval], differences: Array) -> float:
    """The share of rows of (draws, n) whose interval holds the true mean, 0. No interval at all holds nothing."""
    held = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # resamples of one value many times
        for part in np.array_split(differences, -(-len(differences) // CHUNK)):
            low, high = method(part)
            held.append((low <= 0) & (high >= 0))
    return float(np.concatenate(held).mean())


def t_interval(x: Array) -> Interval:
    found = stats.ttest_1samp(x, 0.0, axis=1).confidence_interval(CONFIDENCE)
    return found.low, found.high


def percentile(x: Array) -> Interval:
    return bootstrap(x, "percentile")


def bca(x: Array) -> Interval:
    return bootstrap(x, "BCa")


def bootstrap(x: Array, method: str) -> Interval:
    found = stats.bootstrap(
        (x,), np.mean, axis=1, vectorized=True, n_resamples=RESAMPLES, method=method, rng=0
    ).confidence_interval
    return found.low, found.high


def studentised(x: Array) -> Interval:
    """As actbench.analysis.paired.studentised_interval, for many rows at once."""
    n = x.shape[1]
    drawn = x[:, np.random.default_rng(0).integers(0, n, (RESAMPLES, n))]  # (draws, RESAMPLES, n)
    mean = x.mean(1)
    t = (drawn.mean(2) - mean[:, None]) / (drawn.std(2, ddof=1) / np.sqrt(n))
    t[drawn.std(2) == 0] = np.nan
    low, high = np.nanquantile(t, TAILS, axis=1)
    error = x.std(1, ddof=1) / np.sqrt(n)
    return mean - high * error, mean - low * error


def task_coverage(n: int, draws: int) -> Array:
    """Coverage of an interval of the difference of interquartile means, whose truth is 1 point, by method.

    Tasks differ in how hard they are and how noisy. A pre-trained model that is better on one task tends to be on all.
    """
    random = np.random.default_rng(n)
    levels, noise = np.linspace(55, 90, TASKS), np.linspace(3, 1, TASKS)
    held = np.zeros(3)
    for _ in range(draws):
        baseline, other = (
            levels + random.normal(size=(n, 1)) + noise * random.normal(size=(n, TASKS)) for _ in range(2)
        )
        treatment = baseline + 1 + other - levels
        together = random.integers(0, n, (RESAMPLES, n, 1)).repeat(TASKS, axis=2)
        apart = random.integers(0, n, (RESAMPLES, n, TASKS))
        wide = expanded_confidence(n)
        for place, (drawn, level) in enumerate([(together, wide), (together, CONFIDENCE), (apart, CONFIDENCE)]):
            low, high = iqm_interval(treatment, baseline, drawn, level)
            held[place] += low <= 1 <= high
    return held / draws


def reported_coverage(n: int, draws: int, shared: float) -> tuple[float, float]:
    """Coverage of the intervals that are reported of the interquartile mean and of P(better), whose truth is known.

    Of the variance of a run's scores `shared` is its seed's, the same on both sides; half of either part is all tasks'.
    """
    random = np.random.default_rng(n)
    gain, held = 0.3, np.zeros(2)
    truth = float(stats.norm.cdf(gain / np.sqrt(2)))  # of two runs at random, each of variance 1

    def luck() -> Array:
        return (random.normal(size=(n, 1)) + random.normal(size=(n, TASKS))) / np.sqrt(2)

    for _ in range(draws):
        seeds = np.sqrt(shared) * luck()
        treatment, baseline = (seeds + np.sqrt(1 - shared) * luck() + plus for plus in (gain, 0.0))
        estimates = interquartile_mean(baseline), probability_of_improvement(treatment, baseline)
        for place, (estimate, true) in enumerate(zip(estimates, (0.0, truth), strict=True)):
            assert estimate.interval is not None
            held[place] += estimate.interval[0] <= true <= estimate.interval[1]
    return float(held[0] / draws), float(held[1] / draws)


def iqm_interval(treatment: Array, baseline: Array, drawn: NDArray[np.int64], level: float) -> Array:
    """The percentile interval over the seeds `drawn`, (RESAMPLES, n, TASKS)."""
    first, second = (np.take_along_axis(side[None], drawn, axis=1) for side in (treatment, baseline))
    return np.quantile(iqm(first) - iqm(second), [(1 - level) / 2, (1 + level) / 2])


def iqm(scores: Array) -> Array:
    return np.asarray(stats.trim_mean(scores.reshape(len(scores), -1), 0.25, axis=1))


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def print_row(cells: Iterable[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
