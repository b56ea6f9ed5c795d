"""How fast networks of one hidden layer come near smooth functions as they grow, by activation.

The functions live on [-1, 1]^D. Networks of all activations have the same number of parameters, as nearly as whole
units allow. Errors are measured between the points that were fitted.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

import torch
from torch import Tensor

from actbench.activations import code_hash, get
from actbench.analysis.least_squares import STEPS, Network, fit, predictions
from actbench.analysis.paired import Difference, paired_difference
from actbench.config.approximation import ApproximationSection
from actbench.errors import BadInput, Problem, nearest
from actbench.store import identity_hash
from actbench.store.atomic import write_json

FORMAT = 1  # of what a kept fit holds; goes up when fits change
FITTED, MEASURED = {1: 256, 2: 24}, {1: 2003, 2: 101}  # points along each dimension
EXACT = 1e-6  # at most this largest error counts as exact: what is left is the optimiser's, and says nothing of size
FOLDER = "approximation"


@dataclass(frozen=True)
class Target:
    """A smooth function (N, D) -> (N,) on [-1, 1]^D."""

    formula: str
    dimensions: int
    of: Callable[[Tensor], Tensor]


TARGETS = {
    "square": Target("x^2", 1, lambda x: x[:, 0] ** 2),
    "sine": Target("sin(pi x)", 1, lambda x: torch.sin(math.pi * x[:, 0])),
    "runge": Target("1 / (1 + 25 x^2)", 1, lambda x: 1 / (1 + 25 * x[:, 0] ** 2)),
    "product": Target("x y", 2, lambda x: x[:, 0] * x[:, 1]),
    "ripple": Target("sin(pi x) cos(pi y)", 2, lambda x: torch.sin(math.pi * x[:, 0]) * torch.cos(math.pi * x[:, 1])),
}


@dataclass(frozen=True)
class Fit:
    """Networks of one activation and size at one target; errors by seed: root mean square, and the largest."""

    target: str
    activation: str
    size: int
    width: int
    parameters: int
    rms: dict[int, float]
    largest: dict[int, float]


@dataclass(frozen=True)
class Rate:
    """How the largest error falls with the parameters: error ~ parameters^slope, a slope a seed.

    `slope` has their mean and its t-interval over seeds; its mean is None where fewer than two sizes are above EXACT.
    """

    target: str
    activation: str
    slopes: dict[int, float]
    slope: Difference
    exact_from: int | None  # the parameters of the least network that is exact for most seeds


@dataclass(frozen=True)
class Kept:
    """The fits that are there, of so many asked for."""

    fits: tuple[Fit, ...]
    asked: int


def check_request(request: ApproximationSection) -> None:
    """Raises BadInput, naming every one by its flag, for unknown targets and activations and for sizes too small."""
    problems = [
        Problem(f"unknown target '{name}'", "--targets", hint=nearest(name, list(TARGETS)))
        for name in request.targets
        if name not in TARGETS
    ]
    for name in request.activations:
        try:
            get(name)
        except BadInput as error:
            problems += [Problem(problem.message, "--activations", hint=problem.hint) for problem in error.problems]
    if len(set(request.sizes)) < 2:
        problems.append(Problem("a slope needs two sizes or more", "--sizes", hint="as in 16,32,64"))
    if problems:
        raise BadInput(problems)
    for target in request.targets:
        for activation in request.activations:
            width_of(activation, min(request.sizes), TARGETS[target].dimensions)


def width_of(activation: str, size: int, dimensions: int) -> int:
    """The width of the largest network with at most `size` parameters. Raises BadInput where there is none."""
    least = Network(activation, 1, dimensions).parameters
    each = Network(activation, 2, dimensions).parameters - least
    if least > size:
        raise BadInput(
            Problem(f"a network with {activation} has at least {least} parameters", "--sizes", hint="raise it")
        )
    return 1 + (size - least) // each


def fits(request: ApproximationSection, runs: Path, say: Callable[[str], None]) -> Iterator[Fit]:
    """Every combination, each kept in a file under `runs` and not fitted twice."""
    for target, activation, size in request.combinations:
        yield fit_once(target, activation, size, request.seeds, runs, say)


def fit_once(
    target: str, activation: str, size: int, seeds: Sequence[int], runs: Path, say: Callable[[str], None]
) -> Fit:
    """One of them. Raises BadInput where what was kept cannot be read."""
    path, identity = _place(target, activation, size, seeds, runs)
    if not path.exists():
        say(f"fitting {activation} to {target}, {size} parameters")
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_thread():
            write_json(path, {**identity, **_fit(target, activation, size, seeds)})
    return _read(path, target, activation, size, seeds)


def kept(request: ApproximationSection, runs: Path) -> Kept:
    """Those that are there and can be read. Nothing is fitted."""
    found = []
    for target, activation, size in request.combinations:
        path, _ = _place(target, activation, size, request.seeds, runs)
        with contextlib.suppress(BadInput):
            found += [_read(path, target, activation, size, request.seeds)] if path.exists() else []
    return Kept(tuple(found), len(request.combinations))


def rates(found: Sequence[Fit]) -> list[Rate]:
    """The slopes of every target and activation."""
    groups: dict[tuple[str, str], list[Fit]] = {}
    for one in found:
        groups.setdefault((one.target, one.activation), []).append(one)
    return [_rate(target, activation, own) for (target, activation), own in groups.items()]


def slope_of(parameters: Sequence[float], errors: Sequence[float]) -> float | None:
    """The slope of log error against log parameters, over the sizes whose error is above EXACT; None below two."""
    points = [(math.log(p), math.log(e)) for p, e in zip(parameters, errors, strict=True) if e > EXACT]
    if len({x for x, _ in points}) < 2:
        return None
    return linear_regression([x for x, _ in points], [y for _, y in points]).slope


def piecewise_bound(pieces: int) -> float:
    """The largest error of the best piecewise linear function of N pieces for x^2 on [-1, 1]: 1 / (2 N^2).

    On a piece of length h the best line misses x^2 by h^2 / 8, and pieces of equal length 2 / N share the error.
    """
    return 1 / (2 * pieces**2)


def points(dimensions: int, along: int) -> Tensor:
    """(along^D, D): an even grid on [-1, 1]^D, its ends included, in fp64."""
    line = torch.linspace(-1, 1, along, dtype=torch.float64)
    return torch.cartesian_prod(*[line] * dimensions).view(-1, dimensions)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch works on one thread in the body: matrices this small are not worth a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _place(target: str, activation: str, size: int, seeds: Sequence[int], runs: Path) -> tuple[Path, dict[str, Any]]:
    """Where a fit is kept, and what tells it from every other."""
    identity = {
        "kind": FOLDER, "version": FORMAT, "target": target, "activation": activation, "code": code_hash(activation),
        "size": size, "seeds": list(seeds), "steps": STEPS,
    }  # fmt: skip
    return runs / FOLDER / f"{identity_hash(identity)}.json", identity


def _read(path: Path, target: str, activation: str, size: int, seeds: Sequence[int]) -> Fit:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        errors = [dict(zip(seeds, data[key], strict=True)) for key in ("rms", "largest")]
        return Fit(target, activation, size, data["width"], data["parameters"], *errors)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(Problem(f"damaged: {error}", where=str(path), hint="remove it")) from None


def _fit(target: str, activation: str, size: int, seeds: Sequence[int]) -> dict[str, Any]:
    function = TARGETS[target]
    D = function.dimensions
    network = Network(activation, width_of(activation, size, D), D)
    x, fresh = points(D, FITTED[D]), points(D, MEASURED[D])
    starts = torch.stack([network.start(seed) for seed in seeds])
    fitted = fit(network, starts, x, function.of(x))
    error = (predictions(network.predict)(fitted, fresh) - function.of(fresh)).abs()
    return {
        "width": network.width,
        "parameters": network.parameters,
        "rms": error.square().mean(1).sqrt().tolist(),
        "largest": error.amax(1).tolist(),
    }


def _rate(target: str, activation: str, own: Sequence[Fit]) -> Rate:
    sizes = [float(one.parameters) for one in own]
    each = {seed: slope_of(sizes, [one.largest[seed] for one in own]) for seed in own[0].largest}
    slopes = {seed: slope for seed, slope in each.items() if slope is not None}
    exact = next((one.parameters for one in own if median(one.largest.values()) <= EXACT), None)
    return Rate(target, activation, slopes, paired_difference(slopes, dict.fromkeys(slopes, 0.0)), exact)
