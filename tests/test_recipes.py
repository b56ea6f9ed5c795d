"""The recipes that are shipped load, and the papers' pairs differ in the activation alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actbench.config import dump, load_recipe
from actbench.study import load_study

RECIPES = Path(__file__).parents[1] / "recipes"
SHIPPED = sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name != "studies")
DOCS = (RECIPES.parent / "docs" / "recipes.md").read_text(encoding="utf-8")
STUDIES = sorted((RECIPES / "studies").glob("*.yaml"))


def test_recipes_are_shipped_in_every_size() -> None:
    assert {path.parent.name for path in SHIPPED} >= {"nano", "small", "paper", "polycom"}


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


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL))
def test_the_examples_in_the_docs_load(example: str, tmp_path: Path) -> None:
    lines = [line for line in example.splitlines() if not line.startswith("extends:")]
    path = tmp_path / "example.yaml"
    path.write_text("\n".join([f"extends: {RECIPES / 'small' / 'bert.yaml'}", *lines]), encoding="utf-8")
    assert load_recipe(path) != load_recipe(RECIPES / "small" / "bert.yaml")


@pytest.mark.parametrize(
    ("first", "second", "slots"),
    [
        ("raft-bert-base", "raft-bert-base-gelu", {"activation", "activation_overrides"}),
        ("polycom-1b", "polycom-1b-swiglu", {"activation"}),
    ],
)
def test_the_papers_pairs_differ_in_the_activation_alone(first: str, second: str, slots: set[str]) -> None:
    one, other = (load_recipe(RECIPES / "paper" / f"{name}.yaml").model_dump() for name in (first, second))
    differing = {key for key in one["model"] if one["model"][key] != other["model"][key]}
    assert differing == slots
    del one["model"], other["model"]
    assert one == other
