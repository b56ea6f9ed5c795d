"""Options that refer to a file become the numbers in it when a recipe is loaded: for all slots, or slot by slot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from recipe_text import Write, changed, the_problem

from actbench.config import Recipe, dump, load_recipe
from actbench.config.placement import placement

SCALED = """
from pathlib import Path
from actbench.activations import Activation

class Scaled(Activation):
    def __init__(self, scale: float = 1.0, start: str = ""):
        super().__init__()
        if start:
            raise ValueError(f"unknown start '{start}'")
        self.scale = scale

    def compute(self, x):
        return self.scale * x

    @classmethod
    def expand(cls, options):
        if "start" not in options:
            return [dict(options)]
        path = Path(options["start"])
        if not path.exists():
            raise ValueError(f"no such file: {path}")
        return [{"scale": float(word)} for word in path.read_text().split()]
"""
Load = Callable[..., Recipe]


@pytest.fixture
def load(write: Write) -> Load:
    """Loads the good recipe with scaled.py's activation started from a file of these numbers, and overrides."""

    def load_it(*numbers: float, overrides: str = "[]", family: str = "bert", activation: str = "") -> Recipe:
        write(SCALED, "scaled.py")
        write(" ".join(map(str, numbers)), "start.txt")
        spec = activation or "{name: scaled.py:Scaled, start: start.txt}"
        text = changed("{name: raf, init: relu}", spec).replace("family: bert", f"family: {family}")
        return load_recipe(write(text), [f"model.activation_overrides={overrides}"])

    return load_it


def scales(recipe: Recipe) -> list[float | None]:
    return [spec.options.get("scale") for spec in placement(recipe.model).values()]


def test_one_set_serves_all_layers(load: Load) -> None:
    recipe = load(3)
    assert recipe.model.activation.options == {"scale": 3.0}
    assert recipe.model.activation_overrides == ()
    assert scales(recipe) == [3.0, 3.0, None]


def test_one_set_a_layer_and_one_for_the_pooler(load: Load) -> None:
    assert scales(load(3, 4)) == [3.0, 4.0, None]
    assert scales(load(3, 4, 5)) == [3.0, 4.0, 5.0]
    assert scales(load(3, 4, family="gpt")) == [3.0, 4.0]


def test_the_users_overrides_come_after(load: Load) -> None:
    recipe = load(3, 4, 5, overrides="[{layers: 1, name: gelu}]")
    assert [spec.name for spec in placement(recipe.model).values()] == ["scaled.py:Scaled", "gelu", "scaled.py:Scaled"]


def test_an_override_takes_the_sets_of_its_own_slots(load: Load) -> None:
    own = "name: scaled.py:Scaled, start: start.txt"
    gelu = "{name: gelu}"
    assert scales(load(3, 4, activation=gelu, overrides=f"[{{layers: 1, {own}}}]")) == [None, 4.0, None]
    assert scales(load(3, 4, 5, activation=gelu, overrides=f"[{{slot: pooler, {own}}}]")) == [None, None, 5.0]
    assert scales(load(6, activation=gelu, overrides=f"[{{layers: 0-1, {own}}}]")) == [6.0, 6.0, None]


@pytest.mark.parametrize(("numbers", "family"), [((1, 2, 3, 4), "bert"), ((1, 2, 3), "gpt"), ((), "bert")])
def test_a_wrong_number_of_sets_is_told(write: Write, load: Load, numbers: tuple[float, ...], family: str) -> None:
    load(1)
    write(" ".join(map(str, numbers)), "start.txt")
    write(Path("r.yaml").read_text(encoding="utf-8").replace("bert", family))
    problem = the_problem(Path("r.yaml"))
    assert (problem.where, problem.key) == ("r.yaml:9", "model.activation")
    assert problem.message == f"{len(numbers)} sets of options"
    pooler = " and the pooler" if family == "bert" else ""
    assert problem.hint == f"one for all, or one for each of the 2 layers{pooler}"


def test_a_pooler_without_a_set_is_told(load: Load) -> None:
    override = "model.activation_overrides=[{slot: pooler, name: scaled.py:Scaled, start: start.txt}]"
    load(3, 4)
    problem = the_problem(Path("r.yaml"), override)
    assert (problem.where, problem.key) == (f"--set {override}", "model.activation_overrides.0")
    assert problem.message == "2 sets of options, none of them for the pooler"


def test_a_file_that_is_not_there_is_told_at_its_line(load: Load) -> None:
    load(1)
    Path("start.txt").unlink()
    problem = the_problem(Path("r.yaml"))
    assert (problem.where, problem.key) == ("r.yaml:9", "model.activation.name")
    assert problem.message == "no such file: start.txt"


def test_what_is_loaded_needs_the_file_no_more(write: Write, load: Load) -> None:
    recipe = load(3, 4, 5)
    Path("start.txt").unlink()
    assert load_recipe(write(dump(recipe), "dump.yaml")) == recipe
    assert "start.txt" not in str(recipe.identity())
    assert load(3, 4, 6).identity() != recipe.identity()
