"""How coefficients learn, slot by slot: what the recipe says, and what an override says otherwise."""

from __future__ import annotations

import pytest
from recipe_text import GOOD, Write, the_problem

from actbench.config import Recipe, load_recipe
from actbench.config.activation import ActivationOptimizer
from actbench.config.placement import learning, slot_names
from actbench.errors import BadInput

SLOTS = slot_names("bert", 2)


def recipe(write: Write, base: str, *overrides: str) -> Recipe:
    lines = "".join(f"    - {override}\n" for override in overrides) or "    []\n"
    return load_recipe(write(f"{GOOD}  activation: {base}\n  activation_overrides:\n{lines}"))


def learnt(write: Write, base: str, *overrides: str) -> dict[str, ActivationOptimizer]:
    return learning(recipe(write, base, *overrides).optimizer, SLOTS)


def test_an_override_says_only_what_differs(write: Write) -> None:
    found = learnt(write, "{lr: 0.1, schedule: constant}", "{slot: layers.1, weight_decay: 0.5}")
    assert found["layers.0"] == found["pooler"] == ActivationOptimizer(lr=0.1, schedule="constant")
    assert found["layers.1"] == ActivationOptimizer(lr=0.1, schedule="constant", weight_decay=0.5)


def test_later_overrides_win(write: Write) -> None:
    found = learnt(write, "{}", "{layers: 0-1, lr: 0.1, weight_decay: 0.2}", "{layers: 1, lr: 0.3}")
    assert found["layers.0"] == ActivationOptimizer(lr=0.1, weight_decay=0.2)
    assert found["layers.1"] == ActivationOptimizer(lr=0.3, weight_decay=0.2)


@pytest.mark.parametrize(
    ("base", "override", "expected"),
    [
        ("lr: 0.1", "lr_multiplier: 2.0", ActivationOptimizer(lr_multiplier=2.0)),
        ("lr_multiplier: 2.0", "lr: 0.1", ActivationOptimizer(lr=0.1)),
        ("lr: 0.1", "lr: null", ActivationOptimizer()),
        ("unfreeze_after: 5", "frozen: true", ActivationOptimizer(frozen=True)),
        ("frozen: true", "unfreeze_after: 5", ActivationOptimizer(unfreeze_after=5)),
        ("frozen: true", "frozen: false", ActivationOptimizer()),
    ],
)
def test_one_of_two_alternatives_takes_the_other_back(
    write: Write, base: str, override: str, expected: ActivationOptimizer
) -> None:
    assert learnt(write, f"{{{base}}}", f"{{slot: pooler, {override}}}")["pooler"] == expected


def test_the_same_said_in_another_way_is_the_same_run(write: Write) -> None:
    one = recipe(write, "{lr: 0.1}", "{layers: 0-1, lr: 0.2}").identity()
    assert one == recipe(write, "{lr: 0.2}", "{slot: pooler, lr: 0.1}").identity()
    assert one != recipe(write, "{lr: 0.2}").identity()


@pytest.mark.parametrize("pair", ["lr: 0.1, lr_multiplier: 2.0", "frozen: true, unfreeze_after: 3"])
def test_alternatives_in_one_breath_are_an_error(write: Write, pair: str) -> None:
    one, other = (part.partition(":")[0] for part in pair.split(", "))
    for text, key in (
        (f"  activation: {{{pair}}}\n", "optimizer.activation"),
        (f"  activation_overrides:\n    - {{slot: pooler, {pair}}}\n", "optimizer.activation_overrides.0"),
    ):
        problem = the_problem(write(GOOD + text))
        assert (problem.where, problem.key) == (f"r.yaml:{19 + text.count(chr(10))}", key)
        assert problem.message.startswith(f"give {one} or {other}, not both")


@pytest.mark.parametrize("wrong", ["unfreeze_after: 0", "unfreeze_after: 1.5", "frozen: yes", "schedule: warm"])
def test_a_wrong_value_is_told(write: Write, wrong: str) -> None:
    problem = the_problem(write(f"{GOOD}  activation: {{{wrong}}}\n"))
    assert (problem.where, problem.key) == ("r.yaml:20", f"optimizer.activation.{wrong.partition(':')[0]}")


def test_an_override_that_says_nothing_is_refused(write: Write) -> None:
    with pytest.raises(BadInput, match=r"activation_overrides\.0: says nothing: give one of lr, "):
        recipe(write, "{}", "{layers: 0}")


def test_coefficients_must_have_steps_left_to_learn_in(write: Write) -> None:
    steps = recipe(write, "{}").total_steps
    assert steps and recipe(write, f"{{unfreeze_after: {steps - 1}}}")
    with pytest.raises(BadInput, match=f"leaves none of {steps} steps"):
        recipe(write, f"{{unfreeze_after: {steps}}}")
