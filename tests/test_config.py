"""What --set changes, what stays, what counts for a run's identity, and that any recipe survives being written."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_text import GOOD, Write, changed, problems, the_problem

from actbench.config import FinetuneSettings, Recipe, dump, load, load_recipe
from actbench.config.own_files import as_recorded
from actbench.errors import BadInput

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


def test_a_recipe_is_frozen_and_names_no_unknown_attribute(write: Write) -> None:
    recipe = load_recipe(write(GOOD))
    for section in (recipe, recipe.model, recipe.optimizer, recipe.model.activation):
        with pytest.raises(ValueError, match="frozen"):
            setattr(section, next(iter(type(section).model_fields)), 1)


def test_identity_leaves_out_the_name_and_the_logging_alone(write: Write) -> None:
    path = write(GOOD)
    identity = load_recipe(path).identity()
    assert load_recipe(path, ["optimizer.eps=1e-8", "checkpoint.every_steps=500"]).identity() == identity  # defaults
    assert "betas" not in str(identity)  # so that a key of a later version, at its default, changes no identity
    assert load_recipe(path, ["name=other", "logging.every_steps=3"]).identity() == identity
    for change in ("seed=1", "model.dropout=0.2", "model.activation.init=tanh", "hardware.precision=fp32"):
        assert load_recipe(path, [change]).identity() != identity


def test_an_option_that_says_the_default_makes_no_other_run(write: Write) -> None:
    plain = write(GOOD)
    raf = {said: load_recipe(plain, [f"model.activation={{name: raf{said}}}"]).identity() for said in (
        "", ", degrees: [5, 4], range: [-3, 3], version: A, numerator: null", ", outside: linear"
    )}  # fmt: skip
    said_nothing, said_defaults, linear = raf.values()
    assert said_nothing == said_defaults != linear
    assert said_nothing["model"]["activation"]["layers.0"] == {"name": "raf", "init": "relu"}
    override = "model.activation_overrides=[{slot: layers.0, name: poly_norm%s}]"
    one, other = (load_recipe(plain, [override % said]).identity() for said in ("", ", order: 3, eps: 1e-6"))
    assert one == other != load_recipe(plain, [override % ", order: 2"]).identity()


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
    "model.n_layers": st.integers(1, 10_000),
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


def test_runs_of_one_identity_are_recorded_alike(write: Write) -> None:
    path = write(GOOD)
    spelled = "{name: raf, version: A, degrees: [3, 2], sharing: layer}"
    plain, said = (
        load_recipe(path, [f"model.activation={raf}", f"model.activation_overrides=[{{layers: 0, {pooler}}}]"])
        for raf, pooler in (("{name: raf, degrees: [3, 2]}", "name: raf"), (spelled, "name: raf, init: gelu"))
    )
    assert plain != said and plain.identity() == said.identity()
    assert as_recorded(plain) == as_recorded(said) != as_recorded(load_recipe(path))
    assert as_recorded(said).model.activation.options == {"degrees": (3, 2), "init": "relu"}
