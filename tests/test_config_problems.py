"""What is wrong with a recipe is told where it stands, by its dotted key, with the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipe_text import GOOD, Write, changed, line_of, problems, the_problem

from actbench.config import load_recipe
from actbench.errors import BadInput


@pytest.mark.parametrize(
    ("old", "new", "key", "hint"),
    [
        ("  lr: 1e-3", "  lrr: 1e-3", "optimizer.lrr", "did you mean 'optimizer.lr'?"),
        ("seed: 0", "sead: 0", "sead", "did you mean 'seed'?"),
        ("seed: 0", "lr: 1e-3", "lr", "did you mean 'optimizer.lr'?"),
        ("steps: 10", "steps: 10\n  tokns: 4", "budget.tokns", "did you mean 'budget.tokens'?"),
        ("  d_ff: 32", "  d_ff: 32\n  d_modle: 16", "model.d_modle", "did you mean 'model.d_model'?"),
        ("{name: raf, init: relu}", "{name: raf, int: relu}", "model.activation.int", "did you mean 'init'?"),
        ("{name: raf, init: relu}", "{name: raff}", "model.activation.name", "did you mean 'raf'?"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest(write: Write, old: str, new: str, key: str, hint: str) -> None:
    text = changed(old, new)
    problem = the_problem(write(text))
    line = line_of(text, new.splitlines()[-1])
    assert (problem.where, problem.key, problem.hint) == (f"r.yaml:{line}", key, hint)
    assert str(problem).startswith(f"r.yaml:{line}: {key}: unknown")


def test_a_source_that_is_called_as_one_of_its_keys_hides_none(write: Write) -> None:
    problem = the_problem(write(changed("  source: builtin", "  source: files\n  files: [a.txt]\n  text_feild: x")))
    assert (problem.key, problem.hint) == ("corpus.text_feild", "did you mean 'corpus.text_field'?")
    problem = the_problem(write(GOOD), "corpus={source: mixture, parts: [{source: files, files: [a], weight: 1}]}")
    assert problem.key == "corpus.parts"
    two = "corpus={source: mixture, parts: [{source: builtin, weight: 1}, {source: files, files: [a], weight: 0}]}"
    assert the_problem(write(GOOD), two).key == "corpus.parts.1.weight"
    named = the_problem(write(GOOD), "validation.sets={a: {source: files, file: x, files: [b]}}")
    assert named.key == "validation.sets.a.file"


def test_a_key_of_another_source_is_not_its_own_suggestion(write: Write) -> None:
    problem = the_problem(write(changed("  source: builtin", "  source: builtin\n  text_field: x")))
    assert problem.key == "corpus.text_field"
    assert problem.hint == "known here: source"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("n_layers: 2", "n_layers: two", "model.n_layers"),
        ("n_layers: 2", "n_layers: 2.5", "model.n_layers"),
        ("n_layers: 2", "n_layers: 2.0", "model.n_layers"),
        ("n_layers: 2", "n_layers: '2'", "model.n_layers"),
        ("n_layers: 2", "n_layers: true", "model.n_layers"),
        ("n_layers: 2", "n_layers: [2]", "model.n_layers"),
        ("n_layers: 2", "n_layers: {a: 2}", "model.n_layers"),
        ("n_layers: 2", "n_layers: null", "model.n_layers"),
        ("n_layers: 2", "n_layers: 0", "model.n_layers"),
        ("n_layers: 2", "n_layers: 1_000_000_000_000", "model.n_layers"),
        ("seed: 0", "seed: -1", "seed"),
        ("seed: 0", "seed: 2147483648", "seed"),
        ("seed: 0", "seed: 2024-01-01", "seed"),
        ("lr: 1e-3", "lr: fast", "optimizer.lr"),
        ("lr: 1e-3", "lr: '1e-3'", "optimizer.lr"),
        ("lr: 1e-3", "lr: true", "optimizer.lr"),
        ("lr: 1e-3", "lr: -1e-3", "optimizer.lr"),
        ("lr: 1e-3", "lr: .inf", "optimizer.lr"),
        ("lr: 1e-3", "lr: .nan", "optimizer.lr"),
        ("lr: 1e-3", "betas: [0.9]", "optimizer.betas"),
        ("lr: 1e-3", "betas: [0.9, 1.5]", "optimizer.betas.1"),
        ("lr: 1e-3", "betas: 0.9", "optimizer.betas"),
        ("n_heads: 2", "n_heads: 3", "model"),
        ("family: bert", "family: brt", "model.family"),
        ("source: builtin", "source: files", "corpus.files"),
        ("{name: raf, init: relu}", "raf", "model.activation"),
        ("{name: raf, init: relu}", "{name: 5}", "model.activation.name"),
        ("{name: raf, init: relu}", "{name: raf, degrees: five}", "model.activation.degrees"),
        ("{name: raf, init: relu}", "{name: raf, degrees: [5, 0]}", "model.activation.degrees"),
        ("{name: raf, init: relu}", "{name: poly_relu, order: 0}", "model.activation.order"),
        ("{name: raf, init: relu}", "{name: gelu, approximate: erf}", "model.activation.approximate"),
        ("name: good", "name: Good Run", "name"),
    ],
)
def test_a_wrong_value_is_told_at_its_line(write: Write, old: str, new: str, key: str) -> None:
    text = changed(old, new)
    problem = the_problem(write(text))
    expected = line_of(text, "model:") if key == "model" else line_of(text, new)
    if key == "corpus.files":
        expected = line_of(text, "corpus:")
    assert (problem.where, problem.key) == (f"r.yaml:{expected}", key)


def test_a_missing_key_is_told_where_its_section_stands(write: Write) -> None:
    text = changed("  d_ff: 32\n", "")
    assert str(the_problem(write(text))) == "r.yaml:3: model.d_ff: missing (this key is required)"
    text = changed("  family: bert\n", "")
    assert str(the_problem(write(text))) == "r.yaml:3: model: needs 'family' (add 'family:')"
    found = problems(write("name: x\n"))
    assert [p.key for p in found] == ["model", "corpus", "tokenizer", "batch", "budget"]
    assert {(p.where, p.message) for p in found} == {("r.yaml:1", "missing")}


def test_a_list_that_is_too_short_is_called_so(write: Write) -> None:
    problem = the_problem(write(changed("lr: 1e-3", "betas: [0.9]")))
    assert str(problem) == "r.yaml:19: optimizer.betas: too few values: 1"


def test_every_duplicate_key_is_told(write: Write) -> None:
    text = changed("seed: 0", "seed: 0\nseed: 1").replace("  lr: 1e-3", "  lr: 1e-3\n  lr: 2e-3")
    assert [str(p) for p in problems(write(text))] == [
        "r.yaml:3: seed: duplicate key, first given on line 2",
        "r.yaml:21: optimizer.lr: duplicate key, first given on line 20",
    ]


def test_all_problems_are_told_at_once(write: Write) -> None:
    text = changed("seed: 0", "sead: 0").replace("n_layers: 2", "n_layers: two")
    text = text.replace("  lr: 1e-3", "  lr: -1").replace("init: relu", "init: rely")
    text = text.replace("steps: 10", "steps: 10\n  tokens: 10")
    write(text)
    with pytest.raises(BadInput) as caught:
        load_recipe(Path("r.yaml"), ["batch.length=1"])
    places = {(p.where, p.key) for p in caught.value.problems}
    assert places == {
        ("r.yaml:2", "sead"),
        ("r.yaml:5", "model.n_layers"),
        ("r.yaml:9", "model.activation.name"),
        ("r.yaml:16", "budget"),
        ("r.yaml:20", "optimizer.lr"),
        ("--set batch.length=1", "batch.length"),
    }
    assert str(caught.value).splitlines() == [str(p) for p in caught.value.problems]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("given", ["", "steps: 1\n  tokens: 9", "tokens: 9\n  minutes: 1.5", "steps: null"])
def test_a_budget_is_exactly_one_of_three(write: Write, given: str) -> None:
    section = f"budget:\n  {given}" if given else "budget: {}"
    problem = the_problem(write(changed("budget:\n  steps: 10", section)))
    assert problem.key == "budget"
    assert "exactly one of steps, tokens, minutes" in problem.message


@pytest.mark.parametrize(("given", "steps"), [("steps: 7", 7), ("tokens: 9000", 8), ("minutes: 1.5", None)])
def test_a_budget_gives_the_steps(write: Write, given: str, steps: int | None) -> None:
    assert load_recipe(write(changed("steps: 10", given))).total_steps == steps  # 8 x 128 tokens a step


def test_a_batch_is_cut_into_equal_parts(write: Write) -> None:
    assert load_recipe(write(changed("sequences: 8", "sequences: 8\n  accumulate: 4"))).batch.accumulate == 4
    problem = the_problem(write(changed("sequences: 8", "sequences: 8\n  accumulate: 3")))
    assert str(problem) == "r.yaml:14: batch: sequences (8) must be a multiple of accumulate (3)"


def test_a_tokenizer_file_stands_in_for_the_vocabulary_size(write: Write) -> None:
    recipe = load_recipe(write(changed("vocab_size: 512", "vocab_size: 512\n  file: vocab.txt")))
    assert recipe.tokenizer.file == "vocab.txt"
    assert "vocab_size" not in recipe.model_dump()["tokenizer"]


def test_where_a_file_lies_is_no_part_of_a_runs_identity(write: Write) -> None:
    path = write(changed("vocab_size: 512", "vocab_size: 512\n  file: vocab.txt"))
    moved = load_recipe(path, ["tokenizer.file=elsewhere/vocab.txt"])
    assert moved.identity() == load_recipe(path).identity() != load_recipe(path, ["seed=9"]).identity()
