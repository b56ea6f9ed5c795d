"""Recipe files: YAML 1.2 read safely, one extending another, and every mistake told at its line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_text import GOOD, Write, changed, problems, the_problem

from actbench.config import load_recipe
from actbench.config.yaml_source import parse_value
from actbench.errors import BadInput

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


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_no_text_is_more_than_bad_input(text: str) -> None:
    from actbench.config.yaml_source import parse

    try:
        parse(text, "r.yaml")
    except BadInput as error:
        assert all(p.where.startswith("r.yaml") for p in error.problems)
