"""A recipe says exactly what a run does, or every mistake in it is told with its place and the right word."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from actbench.config import FinetuneSettings, Recipe, dump, load, load_recipe
from actbench.config.yaml_source import parse_value
from actbench.errors import BadInput, Problem
from actbench.study import load_study

RECIPES = Path(__file__).parents[1] / "recipes"
SHIPPED = sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name != "studies")
STUDIES = sorted((RECIPES / "studies").glob("*.yaml"))

GOOD = """\
name: good
seed: 0
model:
  family: bert
  n_layers: 2
  d_model: 16
  n_heads: 2
  d_ff: 32
  activation: {name: raf, init: relu}
corpus:
  source: builtin
tokenizer:
  vocab_size: 512
batch:
  sequences: 8
budget:
  steps: 10
optimizer:
  lr: 1e-3
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a recipe into the working folder, so that a message names it by its bare name."""
    monkeypatch.chdir(tmp_path)

    def write_file(text: str, name: str = "r.yaml") -> Path:
        Path(name).write_text(text, encoding="utf-8")
        return Path(name)

    return write_file


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def problems(path: Path, *overrides: str) -> list[Problem]:
    with pytest.raises(BadInput) as caught:
        load_recipe(path, overrides)
    return caught.value.problems


def the_problem(path: Path, *overrides: str) -> Problem:
    found = problems(path, *overrides)
    assert len(found) == 1, found
    return found[0]


def test_recipes_are_shipped_in_every_size() -> None:
    assert {path.parent.name for path in SHIPPED} == {"nano", "small", "paper"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_recipe_loads_and_its_dump_is_the_same_recipe(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert (recipe.total_steps or 0) > 0
    (tmp_path / "dump.yaml").write_text(dump(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "dump.yaml") == recipe


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_a_shipped_study_resolves_to_runs(path: Path) -> None:
    loaded = load_study(path)
    identities = [str(job.recipe.identity()) for job in loaded.jobs]
    assert len(set(identities)) == len(identities) > 1


@pytest.mark.parametrize(
    ("first", "second", "slots"),
    [
        ("raft-bert-base", "raft-bert-base-gelu", {"activation", "pooler_activation"}),
        ("polycom-1b", "polycom-1b-swiglu", {"activation"}),
    ],
)
def test_the_papers_pairs_differ_in_the_activation_alone(first: str, second: str, slots: set[str]) -> None:
    one, other = (load_recipe(RECIPES / "paper" / f"{name}.yaml").model_dump() for name in (first, second))
    differing = {key for key in one["model"] if one["model"][key] != other["model"][key]}
    assert differing == slots
    del one["model"], other["model"]
    assert one == other


# What is wrong is told where it stands, by its dotted key, with the nearest right word.


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


def test_a_gated_activation_is_refused_in_the_pooler(write: Write) -> None:
    text = changed("  d_ff: 32", "  d_ff: 32\n  pooler_activation: {name: swiglu}")
    problem = the_problem(write(text))
    assert (problem.where, problem.key) == ("r.yaml:9", "model.pooler_activation.name")
    assert "gated" in problem.message


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


# Files.


def test_a_missing_file_is_told_with_its_neighbour(write: Write) -> None:
    write(GOOD, "bert.yaml")
    assert str(the_problem(Path("brt.yaml"))) == "brt.yaml: no such file (did you mean 'bert.yaml'?)"


def test_a_folder_or_bytes_are_no_recipe(write: Write, tmp_path: Path) -> None:
    write("")
    assert "cannot be read" in the_problem(tmp_path).message
    Path("r.yaml").write_bytes(b"name: \xff\xfe")
    assert "cannot be read" in the_problem(Path("r.yaml")).message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "r.yaml: the file is empty"),
        ("# nothing\n", "r.yaml: the file is empty"),
        ("- a\n- b\n", "r.yaml:1: expected keys and values, as in 'seed: 0'"),
        ("hello\n", "r.yaml:1: expected keys and values, as in 'seed: 0'"),
        ("seed: 0\nmodel:\n\tfamily: bert\n", "r.yaml:3: found character '\\t' that cannot start any token"),
        ("seed: [1, 2\n", "r.yaml:2: expected ',' or ']', but got '<stream end>'"),
        ("seed: *zero\n", "r.yaml:1: found undefined alias 'zero'"),
        ("seed: 0\n---\nseed: 1\n", "r.yaml:2: but found another document"),
        ("seed: 0\n? [a, b]\n: 1\n", "r.yaml:2: a key must be a word"),
        ("seed: 0\n? {a: b}\n: 1\n", "r.yaml:2: a key must be a word"),
        ("seed: !!int zero\n", "r.yaml:1: seed: 'zero' is no int"),
        ("seed: !!bool maybe\n", "r.yaml:1: seed: 'maybe' is no bool"),
        ("seed: !!timestamp now\n", "r.yaml:1: seed: 'now' is no timestamp"),
        ("seed: \0\n", "r.yaml: not YAML: unacceptable character #x0000"),
    ],
)
def test_what_is_no_mapping_is_told_at_its_line(write: Write, text: str, said: str) -> None:
    assert str(the_problem(write(text))).startswith(said)


def test_a_tag_runs_nothing(write: Write) -> None:
    text = changed("seed: 0", "seed: !!python/object/new:os.mkdir [made]")
    assert the_problem(write(text)).key == "seed"
    text = changed("seed: 0", "seed: !!python/name:os.getcwd x")
    assert "could not determine a constructor" in the_problem(write(text)).message
    assert not Path("made").exists()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "&a {'': *a}\n",
        "a0: &a0 [x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{i + 1}: &a{i + 1} [{','.join([f'*a{i}'] * 8)}]\n" for i in range(9)),
        "a: " + "[" * 3000 + "]" * 3000,
        "a: " + "{a: " * 3000 + "}" * 3000,
    ],
    ids=["recursive list", "recursive map", "recursive root", "bomb", "deep list", "deep map"],
)
def test_endless_nesting_ends_in_a_message(write: Write, text: str) -> None:
    assert "nested" in the_problem(write(text)).message


@pytest.mark.parametrize("key", ["5", "~", "true", "<<", "''", "a.b", "1.5", "[x]"])
def test_an_odd_key_is_an_unknown_key(write: Write, key: str) -> None:
    problem = the_problem(write(f"{GOOD}{'? ' if key == '[x]' else ''}{key}: 3\n"))
    assert problem.where == "r.yaml:20"


# Extending.


def test_a_recipe_says_only_what_it_changes(write: Write) -> None:
    write(GOOD, "base.yaml")
    Path("sub").mkdir()
    write("extends: ../base.yaml\noptimizer: {lr: 5e-4}\n", "sub/middle.yaml")
    top = load_recipe(write("extends: sub/middle.yaml\nseed: 3\n"))
    base = load_recipe(Path("base.yaml"))
    assert (top.seed, top.optimizer.lr) == (3, 5e-4)
    assert top.model == base.model
    assert top.batch == base.batch


def test_a_mistake_in_the_base_is_told_in_the_base(write: Write) -> None:
    write(changed("lr: 1e-3", "lr: -1"), "base.yaml")
    found = problems(write("extends: base.yaml\nseed: x\n"))
    assert [(p.where, p.key) for p in found] == [("r.yaml:2", "seed"), ("base.yaml:19", "optimizer.lr")]


def test_a_replaced_list_is_told_where_it_was_replaced(write: Write) -> None:
    write(changed("lr: 1e-3", "betas: [0.9, 0.95]"), "base.yaml")
    path = write("extends: base.yaml\n\noptimizer:\n  betas: [0.9, 2]\n")
    assert the_problem(path).where == "r.yaml:4"
    override = "optimizer.betas=[0.9, 2]"
    assert the_problem(Path("base.yaml"), override).where == f"--set {override}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bse.yaml", "r.yaml:2: extends: no such file: bse.yaml (did you mean 'base.yaml'?)"),
        ("[base.yaml]", "r.yaml:2: extends: expected a file name"),
        ("''", "r.yaml:2: extends: expected a file name"),
        ("r.yaml", "r.yaml:2: extends: leads back to r.yaml"),
        ("loop.yaml", "loop.yaml:1: extends: leads back to ./r.yaml"),
    ],
)
def test_a_bad_extends_is_told_at_its_line(write: Write, name: str, said: str) -> None:
    write(GOOD, "base.yaml")
    write("extends: ./r.yaml\n", "loop.yaml")
    assert str(the_problem(write(f"seed: 1\nextends: {name}\n"))) == said


# A changed kind of thing.


def test_a_changed_activation_drops_the_old_ones_options(write: Write) -> None:
    path = write(GOOD)
    assert load_recipe(path).model.activation.options == {"init": "relu"}
    assert load_recipe(path, ["model.activation.name=poly_relu"]).model.activation.options == {}
    assert load_recipe(path, ["model.activation.name=raf"]).model.activation.options == {"init": "relu"}
    above = write("extends: r.yaml\nmodel: {activation: {name: gelu}}\n", "above.yaml")
    assert load_recipe(above).model.activation.options == {}
    assert load_recipe(above).model.d_ff == 32


def test_an_option_may_stand_before_the_name_it_belongs_to(write: Write) -> None:
    overrides = ["model.activation.order=2", "model.activation.name=poly_relu"]
    for order in (overrides, overrides[::-1]):
        assert load_recipe(write(GOOD), order).model.activation.options == {"order": 2}


def test_a_changed_corpus_drops_the_old_ones_keys(write: Write) -> None:
    path = write(changed("source: builtin", "source: hub\n  dataset: a/b\n  max_documents: 5"))
    assert load_recipe(path, ["corpus.source=builtin"]).corpus.model_dump() == {"source": "builtin"}


# --set


@pytest.mark.parametrize(
    ("override", "key", "hint"),
    [
        ("optimizer.lrr=1", "optimizer.lrr", "did you mean 'optimizer.lr'?"),
        ("model.activation.name=gelo", "model.activation.name", "did you mean 'gelu'?"),
        ("model.activation.innit=relu", "model.activation.innit", "did you mean 'init'?"),
        ("model.n_layers=two", "model.n_layers", ""),
        ("model.n_heads=3", "model", ""),
        ("seed=true", "seed", ""),
        ("seed=", "seed", ""),
        ("seed=[1", "seed", ""),
        ("seed=1: 2", "seed", ""),
        ("seed.x=1", "seed", ""),
        ("budget.tokens=5", "budget", ""),
        ("hardware.compile=alway", "hardware.compile", "did you mean 'always'?"),
        ("logging.tensorboard=on", "logging.tensorboard", ""),
        ("logging.tensorboard=yes", "logging.tensorboard", ""),
        ("logging.tensorboard=1", "logging.tensorboard", ""),
        ("model=3", "model", ""),
    ],
)
def test_an_override_is_checked_as_a_file_is(write: Write, override: str, key: str, hint: str) -> None:
    problem = the_problem(write(GOOD), override)
    assert (problem.where, problem.key, problem.hint) == (f"--set {override}", key, hint)


@pytest.mark.parametrize("override", ["seed", "=1", "a..b=1", ".seed=1", "", "  =1"])
def test_an_override_is_a_key_and_a_value(write: Write, override: str) -> None:
    problem = the_problem(write(GOOD), override)
    assert str(problem) == f"--set {override}: expected key=value (for example --set seed=1)"


def test_overrides_apply_in_order_and_all_are_checked(write: Write) -> None:
    path = write(GOOD)
    assert load_recipe(path, ["seed=1", "optimizer.lr=6e-4", "seed=2"]).seed == 2
    bad = ["seed", "batch.length=[", "x"]
    assert [p.where for p in problems(path, *bad)] == [f"--set {override}" for override in bad]
    nested = load_recipe(path, ["model.activation={name: raf, degrees: [5, 4]}", "batch={sequences: 4}"])
    assert (nested.model.activation.options["degrees"], nested.batch.sequences) == ([5, 4], 4)


# Scalars, as YAML 1.2 has them.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("6e-4", 0.0006), ("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-2.5E+2", -250.0),
        ("3", 3), ("-0", 0), ("+7", 7), ("1_000", 1000), ("007", 7), (".inf", math.inf), ("-.inf", -math.inf),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("on", "on"), ("yes", "yes"), ("off", "off"), ("no", "no"), ("y", "y"), ("0x10", "0x10"),
        ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("'1'", "1"), ("nan", "nan"),
        ("[1, on]", [1, "on"]), ("{a: 1e-3}", {"a": 0.001}),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)
    assert math.isnan(parse_value(".nan"))


def test_a_recipe_is_frozen_and_names_no_unknown_attribute(write: Write) -> None:
    recipe = load_recipe(write(GOOD))
    for section in (recipe, recipe.model, recipe.optimizer, recipe.model.activation):
        with pytest.raises(ValueError, match="frozen"):
            setattr(section, next(iter(type(section).model_fields)), 1)


def test_identity_leaves_out_the_name_and_the_logging_alone(write: Write) -> None:
    path = write(GOOD)
    identity = load_recipe(path).identity()
    assert load_recipe(path, ["name=other", "logging.every_steps=3"]).identity() == identity
    for change in ("seed=1", "model.dropout=0.2", "model.activation.init=tanh", "hardware.precision=fp32"):
        assert load_recipe(path, [change]).identity() != identity


def test_finetuning_settings_are_read_the_same_way(write: Write) -> None:
    assert load(write("lr: 1e-4\npatience: null\n"), FinetuneSettings).patience is None
    with pytest.raises(BadInput, match=r"r\.yaml:1: epoch: unknown key \(did you mean 'epochs'\?\)"):
        load(write("epoch: 3\n"), FinetuneSettings)


# Round trips.

counts = st.integers(1, 10**12)
positive = st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False)
shares = st.floats(0, 1)
NUMBERS = {
    "seed": st.integers(0, 2**31 - 1),
    "model.n_layers": counts,
    "model.d_ff": counts,
    "model.dropout": st.floats(0, 1, exclude_max=True),
    "model.norm_eps": positive,
    "model.init_std": positive,
    "model.mask_fraction": st.floats(0, 1, exclude_min=True, exclude_max=True),
    "batch.length": st.integers(8, 10**9),
    "budget.steps": counts,
    "optimizer.lr": positive,
    "optimizer.betas": st.lists(shares, min_size=2, max_size=2),
    "optimizer.weight_decay": st.floats(0, allow_infinity=False),
    "optimizer.clip_norm": st.none() | positive,
    "optimizer.activation.lr": st.none() | positive,
    "schedule.warmup_fraction": shares,
    "validation.fraction": st.floats(0, 0.5, exclude_min=True, exclude_max=True),
    "logging.tensorboard": st.booleans(),
}


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional=NUMBERS))
def test_any_numbers_survive_dump_and_load(tmp_path_factory: pytest.TempPathFactory, numbers: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("trip")
    (folder / "r.yaml").write_text(GOOD, encoding="utf-8")
    overrides = [f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in numbers.items()]
    recipe = load(folder / "r.yaml", Recipe, [text.removesuffix("...\n").strip() for text in overrides])
    for key, value in numbers.items():
        read: Any = recipe
        for part in key.split("."):
            read = getattr(read, part)
        assert read == (tuple(value) if isinstance(value, list) else value), key
    (folder / "dump.yaml").write_text(dump(recipe), encoding="utf-8")
    assert load(folder / "dump.yaml", Recipe) == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_no_text_is_more_than_bad_input(text: str) -> None:
    from actbench.config.yaml_source import parse

    try:
        parse(text, "r.yaml")
    except BadInput as error:
        assert all(p.where.startswith("r.yaml") for p in error.problems)
