"""Any slot can hold any activation: `model.activation` for all, overrides in order, each with one selector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recipe_text import Write, changed, line_of, problems, the_problem

from actbench.config import Recipe, dump, load_recipe
from actbench.config.placement import in_short, placement, spelled

FOUR = changed("n_layers: 2", "n_layers: 4")


def with_overrides(*overrides: str) -> str:
    """The good recipe, of four layers, with these overrides, one a line, the first on line 11."""
    lines = "".join(f"    - {override}\n" for override in overrides) or "    []\n"
    return FOUR.replace("corpus:\n", f"  activation_overrides:\n{lines}corpus:\n")


def names(recipe: Recipe) -> list[str]:
    return [spec.name for spec in placement(recipe.model).values()]


def test_without_overrides_all_layers_are_alike_and_the_pooler_is_berts(write: Write) -> None:
    recipe = load_recipe(write(FOUR))
    assert placement(recipe.model).keys() == {"layers.0", "layers.1", "layers.2", "layers.3", "pooler"}
    assert names(recipe) == ["raf"] * 4 + ["tanh"]
    gpt = load_recipe(write(FOUR.replace("bert", "gpt")))
    assert names(gpt) == ["raf"] * 4


def test_later_overrides_win_and_bring_their_own_options(write: Write) -> None:
    overrides = (
        "{layers: 1-3, name: poly_norm, order: 2}",
        "{slot: layers.2, name: gelu}",
        "{slot: pooler, name: raf}",
    )
    placed = placement(load_recipe(write(with_overrides(*overrides))).model)
    assert [spec.name for spec in placed.values()] == ["raf", "poly_norm", "gelu", "poly_norm", "raf"]
    assert [spec.options for spec in placed.values()] == [{"init": "relu"}, {"order": 2}, {}, {"order": 2}, {}]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2", [2]),
        ("'2'", [2]),
        ("1-2", [1, 2]),
        ("[3, 1, 0]", [0, 1, 3]),
        ("'3,0-1'", [0, 1, 3]),
        ("'0, 1 ,3'", [0, 1, 3]),
        ("'0-2,1-3'", [0, 1, 2, 3]),
        ("0-0", [0]),
    ],
)
def test_layers_can_be_written_in_many_ways_and_mean_one_run(write: Write, written: str, meant: list[int]) -> None:
    recipe = load_recipe(write(with_overrides(f"{{layers: {written}, name: gelu}}")))
    assert [i for i, name in enumerate(names(recipe)) if name == "gelu"] == meant
    one_by_one = load_recipe(write(with_overrides(*(f"{{slot: layers.{i}, name: gelu}}" for i in meant))))
    assert recipe.identity() == one_by_one.identity() != load_recipe(write(FOUR)).identity()


def test_an_override_that_changes_nothing_is_no_other_run(write: Write) -> None:
    path = write(with_overrides("{layers: 0-1, name: raf, init: relu}", "{slot: pooler, name: tanh}"))
    assert load_recipe(path).identity() == load_recipe(write(FOUR)).identity()


def test_overrides_survive_dump_and_load_as_they_were_said(write: Write, tmp_path: Path) -> None:
    text = with_overrides("{layers: [0, 1, 3], name: raf, degrees: [5, 4]}", "{slot: pooler, name: gelu}")
    text += "  activation_overrides: [{layers: 2, lr: 0.1}, {slot: pooler, frozen: true}]\n"
    recipe = load_recipe(write(text))
    again = load_recipe(write(dump(recipe), "dump.yaml"))
    assert again == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    said = recipe.model_dump(mode="json")
    assert said["model"]["activation_overrides"][0] == {"layers": "0-1,3", "name": "raf", "degrees": [5, 4]}
    assert said["optimizer"]["activation_overrides"] == [{"layers": "2", "lr": 0.1}, {"slot": "pooler", "frozen": True}]


# What is wrong is told at its line, by its dotted key.


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("{layers: 2-4, name: gelu}", "layers", "there is no layer 4 (the model has layers 0-3)"),
        ("{layers: [0, 9], name: gelu}", "layers", "there is no layer 9 (the model has layers 0-3)"),
        ("{layers: 0-999999999, name: gelu}", "layers", "there is no layer 999999999 (the model has layers 0-3)"),
        ("{layers: 2-, name: gelu}", "layers", "'2-' is not a layer or a range of layers, as in 8-11 or 0,4-6"),
        ("{layers: '', name: gelu}", "layers", "'' is not a layer"),
        ("{layers: '1-2-3', name: gelu}", "layers", "'1-2-3' is not a layer"),
        ("{layers: '٣', name: gelu}", "layers", "'٣' is not a layer"),
        ("{layers: 3-1, name: gelu}", "layers", "the range 3-1 runs backwards"),
        ("{layers: -1, name: gelu}", "layers", "expected layers, as in 8-11 or 0,4-6, not -1"),
        ("{layers: true, name: gelu}", "layers", "expected layers"),
        ("{layers: 1.0, name: gelu}", "layers", "expected layers"),
        ("{layers: [], name: gelu}", "layers", "a list of layers holds numbers from 0 on, not []"),
        ("{layers: ['0-1'], name: gelu}", "layers", "a list of layers holds numbers"),
        ("{slot: poler, name: gelu}", "slot", "there is no slot 'poler' (did you mean 'pooler'?)"),
        ("{slot: head, name: gelu}", "slot", "there is no slot 'head' (known: layers.0, pooler)"),
        ("{slot: layers.4, name: gelu}", "slot", "there is no slot 'layers.4' (the model has layers 0-3)"),
        ("{slot: 3, name: gelu}", "slot", "input should be a valid string, not 3"),
        ("{slot: pooler, name: swiglu}", "name", "'swiglu' is gated, the pooler has no gate"),
        ("{slot: pooler, name: rraf}", "name", "unknown activation 'rraf' (did you mean 'raf'?)"),
        ("{layers: 0-1, name: raf, int: relu}", "int", "unknown option (did you mean 'init'?)"),
        ("{layers: 0-1, name: gelu, approximate: erf}", "approximate", "input should be"),
        ("{layers: 0-1}", "name", "missing (this key is required)"),
        ("{layers: 1, slot: pooler, name: gelu}", "", "give exactly one of layers and slot"),
        ("{name: gelu}", "", "give exactly one of layers and slot"),
        ("gelu", "", "input should be a valid dictionary"),
    ],
)
def test_a_wrong_override_is_told_at_its_line(write: Write, override: str, key: str, said: str) -> None:
    problem = the_problem(write(with_overrides("{layers: 0, name: gelu}", override)))
    dotted = f"model.activation_overrides.1{'.' * bool(key)}{key}"
    assert (problem.where, problem.key) == ("r.yaml:12", dotted)
    assert str(problem).startswith(f"{problem.where}: {dotted}: {said}")


def test_a_gpt_has_no_pooler(write: Write) -> None:
    text = with_overrides("{slot: pooler, name: gelu}").replace("family: bert", "family: gpt")
    problem = the_problem(write(text))
    assert (problem.key, problem.message) == ("model.activation_overrides.0.slot", "only a BERT has a pooler")


def test_the_optimisers_overrides_are_checked_alike(write: Write) -> None:
    wrong = ("{layers: 2-4, lr: 0.1}", "{slot: poler, lr: 0.1}", "{layers: 0, lrr: 0.1}", "{layers: 0, lr: fast}")
    text = f"{FOUR}  activation_overrides:\n" + "".join(f"    - {override}\n" for override in wrong)
    found = {problem.key: problem for problem in problems(write(text))}
    for i, key in enumerate(("layers", "slot", "lrr", "lr")):
        assert found.pop(f"optimizer.activation_overrides.{i}.{key}").where == f"r.yaml:{line_of(text, wrong[i])}"
    assert not found


def test_a_mistyped_key_of_an_override_is_told_with_the_nearest(write: Write) -> None:
    problem = the_problem(write(f"{FOUR}  activation_overrides: [{{layers: 0, lrr: 0.1}}]\n"))
    assert problem.hint == "did you mean 'optimizer.activation_overrides.0.lr'?"


def test_a_list_it_is(write: Write) -> None:
    problem = the_problem(write(FOUR), "model.activation_overrides={slot: pooler, name: gelu}")
    assert problem.message == "input should be a valid list"


@pytest.mark.parametrize("family", ["bert", "gpt"])
def test_the_former_key_for_the_pooler_names_the_new_way(write: Write, family: str) -> None:
    text = FOUR.replace("corpus:\n", "  pooler_activation: {name: raf}\ncorpus:\n").replace("bert", family)
    problem = the_problem(write(text))
    assert (problem.where, problem.message) == (f"r.yaml:{line_of(text, 'pooler_activation')}", "unknown key")
    assert "activation_overrides: [{slot: pooler, name: ...}]" in problem.hint


def test_the_command_tells_them_all_at_once_and_ends_with_2(actbench: Any, write: Write) -> None:
    path = write(with_overrides("{layers: 8-11, name: gelu}", "{slot: poler, name: gelu}") + "  lrr: 1\n")
    done = actbench("recipe", "check", path, check=2)
    expected = (
        "r.yaml:11: model.activation_overrides.0.layers: there is no layer 11 (the model has layers 0-3)",
        "r.yaml:12: model.activation_overrides.1.slot: there is no slot 'poler' (did you mean 'pooler'?)",
        "optimizer.lrr: unknown key",
    )
    assert all(line in done.stderr for line in expected), done.stderr


# What a run is called.


def test_a_runs_name_tells_its_layers_activations(write: Write) -> None:
    def called(*overrides: str) -> str:
        return in_short(load_recipe(write(with_overrides(*overrides))).model)

    assert called() == called("{slot: pooler, name: gelu}") == "raf"
    assert called("{layers: 1, name: gelu}") == "raf+gelu"
    assert called("{layers: 0-3, name: gelu}") == "gelu"
    several = [f"{{layers: {i}, name: {name}}}" for i, name in enumerate(("relu", "silu", "gelu", "poly_norm"))]
    assert called(*several[:2]) == "relu+silu+raf"
    assert called(*several) == "mixed"


def test_slots_are_spelled_in_few_words() -> None:
    assert spelled(["layers.3"]) == "layer 3"
    assert spelled(["layers.0", "layers.5", "layers.4", "pooler"]) == "layers 0,4-5, pooler"
    assert spelled(["pooler"]) == "pooler"
