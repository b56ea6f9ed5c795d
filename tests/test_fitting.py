"""The fitter comes as close as can be, says how close, and gives no function that has a pole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raf_definition import naive

from actbench.activations.fitting import fit

GRID = np.linspace(-3, 3, 7001)


def gelu(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * t * (1 + math.erf(t / math.sqrt(2))) for t in x])


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("version", "degrees", "error"),
    [
        ("A", (3, 2), 2.3e-2),
        ("A", (4, 3), 2.6e-3),
        ("A", (5, 4), 1.3e-3),  # less than a third of the published start's, 4.136e-3
        ("A", (6, 5), 1.1e-3),
        ("B", (5, 4), 4.5e-4),
        ("C", (5, 4), 4.5e-4),
        ("D", (5, 4), 4.5e-4),
        ("N", (5, 4), 1.3e-3),
    ],
)
def test_gelu_is_reached_as_closely_as_it_can_be(version: str, degrees: tuple[int, int], error: float) -> None:
    found = fit(gelu, version, degrees)
    apart = np.abs(naive(version, found.numerator, found.denominator, GRID) - gelu(GRID))
    assert apart.max() < error
    assert found.max_error == pytest.approx(apart.max(), rel=1e-3)
    assert found.rms_error == pytest.approx(np.sqrt(np.mean(apart**2)), rel=1e-3)
    at = np.array([found.at])
    there = np.abs(naive(version, found.numerator, found.denominator, at) - gelu(at))
    assert there[0] == pytest.approx(found.max_error, rel=1e-9)


@pytest.mark.parametrize(
    ("target", "degrees", "error"),
    [
        (lambda x: x**3, (2, 1), 0.25),  # x^3 - T_3 / 4
        (np.abs, (2, 2), 0.0436890127),  # Varga, Ruttan & Carpenter 1993, Math. USSR Sbornik 74
        (np.abs, (4, 4), 0.0085014847),
    ],
    ids=["cube", "modulus (2, 2)", "modulus (4, 4)"],
)
def test_best_approximations_that_are_known_are_found(target: Callable, degrees: tuple[int, int], error: float) -> None:
    assert fit(target, "N", degrees, (-1, 1)).max_error == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("version", ["A", "B", "C", "N"])
def test_each_measure_is_best_in_its_own(version: str) -> None:
    by_max, by_rms = (fit(gelu, version, (4, 3), minimize=measure) for measure in ("max", "rms"))
    assert by_max.max_error < 0.99 * by_rms.max_error
    assert by_rms.rms_error < 0.99 * by_max.rms_error
    assert fit(gelu, version, (4, 3)) == by_max


def test_least_squares_keeps_version_as_coefficients_on_one_side_of_their_kink() -> None:
    found = fit(lambda x: relu(x) ** 2, "A", (6, 5), minimize="rms")
    assert found.rms_error < 1.81e-3  # 1.96e-3 where they may change sign on the way


@pytest.mark.parametrize("version", ["A", "B", "C", "N"])
@pytest.mark.parametrize("measure", ["max", "rms"])
def test_what_is_rational_is_found_again(version: str, measure: str) -> None:
    a, b = [0.3, 1.0, -0.5, 0.2], [0.4, 0.6, 0.7][version != "C" :]
    found = fit(lambda x: naive(version, a, b, x), version, (3, 2), minimize=measure)
    assert found.max_error < 1e-6


@pytest.mark.parametrize("degrees", [(5, 4), (4, 3), (7, 6)])
@pytest.mark.parametrize("measure", ["max", "rms"])
@pytest.mark.parametrize("target", [gelu, relu, lambda x: 1 / (x - 3.5)], ids=["gelu", "relu", "a pole at 3.5"])
def test_no_fit_has_a_pole_on_the_real_line(target: Callable, measure: str, degrees: tuple[int, int]) -> None:
    b = np.array(fit(target, "N", degrees, minimize=measure).denominator)
    far = np.concatenate([GRID, np.geomspace(3, 1e8, 5000), -np.geomspace(3, 1e8, 5000)])
    assert (1 + sum(b_j * far**j for j, b_j in enumerate(b, start=1)) > 0).all()


@pytest.mark.parametrize("version", ["A", "B", "C", "N"])
def test_any_range_will_do(version: str) -> None:
    for low, high in ((0.0, 2.0), (1.0, 2.0), (-7.0, 1.0), (-1e-3, 1e-3)):
        found = fit(np.tanh, version, (3, 2), (low, high))
        x = np.linspace(low, high, 501)
        apart = np.abs(naive(version, found.numerator, found.denominator, x) - np.tanh(x)).max()
        assert apart <= 1.01 * found.max_error + 1e-15
        assert apart < 0.02 * np.abs(np.tanh(x)).max()


def test_the_height_of_the_function_does_not_matter() -> None:
    one, tall, flat = (fit(lambda x, s=s: s * gelu(x), "A", (4, 3)) for s in (1.0, 1e6, 1e-6))
    assert tall.max_error * 1e-6 == pytest.approx(one.max_error, rel=1e-3)
    assert flat.max_error * 1e6 == pytest.approx(one.max_error, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"degrees": (-1, 2)}, "must be from (0, 1) to (16, 16)"),
        ({"degrees": (3, 0)}, "must be from (0, 1) to (16, 16)"),
        ({"interval": (3.0, -3.0)}, "not from 3 to -3"),
        ({"interval": (0.0, float("inf"))}, "not from 0 to inf"),
        ({"target": lambda x: 1 / np.where(x == 1, 0, x - 1)}, "not finite at x = 1"),
    ],
)
def test_what_cannot_be_fitted_is_told(arguments: dict, said: str) -> None:
    with np.errstate(divide="ignore"), pytest.raises(ValueError) as caught:
        fit(**{"target": gelu, **arguments})
    assert said in str(caught.value)


# The command.


def test_the_command_tells_errors_and_what_recipes_say(
    actbench: Callable, tiny_recipe: Callable, tmp_path: Path
) -> None:
    arguments = ("activations", "fit", "--target", "gelu", "--degrees", "3,2", "--range", "-3,3")
    told = actbench(*arguments, "-o", "fits/gelu32.json", "--json", check=0)
    found = json.loads(told.stdout)
    assert found["max_error"] == pytest.approx(9.949e-3, rel=1e-3) and -3 <= found["at"] <= 3
    file = json.loads((tmp_path / "fits/gelu32.json").read_text())
    assert file["models"] == {"gelu": [{"num": found["numerator"], "den": found["denominator"]}]}
    recipe = tiny_recipe()
    named = actbench(
        "recipe", "show", recipe, "--set", "model.activation={name: raf, init: fits/gelu32.json}", "--json"
    )
    activation = json.loads(named.stdout)["model"]["activation"]
    assert (activation["numerator"], activation["denominator"]) == (found["numerator"], found["denominator"])
    lines = actbench(*arguments, check=0).stdout
    assert "largest error 9.949e-03 at x = " in lines and ", RMS error 6." in lines
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: {recipe.name}\n{lines.partition('in a recipe:')[2]}")
    shown = json.loads(actbench("recipe", "show", child, "--json", check=0).stdout)["model"]["activation"]
    assert shown["numerator"] == pytest.approx(found["numerator"], rel=1e-8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--target", "gelu", "--degrees", "5"), "error: --degrees: '5' is not two numbers (as in 5,4)"),
        (("--target", "gelu", "--degrees", "5,0"), "error: degrees (5, 0) must be from (0, 1) to (16, 16)"),
        (("--target", "gelu", "--range", "a,b"), "error: --range: 'a,b' is not two numbers (as in -3,3)"),
        (("--target", "geluu"), "error: unknown activation 'geluu' (did you mean 'gelu'?)"),
        (("--target", "gelu", "--version", "E"), "error: --version: unknown 'E' (known: A, B, C, D, N)"),
        (("--target", "gelu", "-o", "fit.txt"), "error: fit.txt: recipes know a coefficient file by its suffix"),
    ],
)
def test_a_bad_request_is_one_clear_error(actbench: Callable, arguments: tuple[str, ...], said: str) -> None:
    done = actbench("activations", "fit", *arguments, check=2)
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == ""
