"""The recipes that are shipped load, and the papers' pairs differ in the activation alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actbench.activations.registry import canonical
from actbench.config import Recipe, dump, load_recipe
from actbench.config.resolve import read_chain
from actbench.store.index import flat
from actbench.study import Changes, load_study

RECIPES = Path(__file__).parents[1] / "recipes"
RAFT = RECIPES / "raft"
PROTOCOLS = sorted(path for path in RAFT.rglob("*.yaml") if not path.name.startswith("pretrain-"))
DOCS = (RECIPES.parent / "docs" / "recipes.md").read_text(encoding="utf-8")
STUDIES = [*sorted((RECIPES / "studies").glob("*.yaml")), *PROTOCOLS]
SHIPPED = sorted(path for path in RECIPES.rglob("*.yaml") if path not in STUDIES)
# What may differ between a paper's recipe or protocol and the one for two cores: sizes, and rates that go with them.
SIZES = {
    *("name", "title", "model.n_layers", "model.d_model", "model.n_heads", "model.d_ff", "schedule.warmup_fraction"),
    *("batch.sequences", "batch.length", "batch.accumulate", "budget.steps", "optimizer.lr", "tokenizer.file"),
    *("tokenizer.vocab_size", "validation.fraction", "validation.sequences", "validation.every_steps"),
    *("checkpoint.every_steps", "seeds", "epochs", "lr", "grid.activation_lr"),
}


def test_recipes_are_shipped_in_every_size() -> None:
    assert {path.parent.name for path in SHIPPED} >= {"nano", "small", "paper", "polycom"}
    names = [{path.name for path in (RAFT / size).glob("*.yaml")} for size in ("paper", "nano")]
    assert names[0] == names[1] and {"pretrain-bert-gelu.yaml", "glue-low.yaml", "squad.yaml"} <= names[0]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_recipe_loads_and_its_dump_is_the_same_recipe(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert (recipe.total_steps or 0) > 0
    (tmp_path / "dump.yaml").write_text(dump(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "dump.yaml") == recipe


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_shipped_study_resolves_to_runs(path: Path, tmp_path: Path) -> None:
    loaded = load_study(path, with_tests_of_transfer(path, tmp_path))
    identities = [str(job.recipe.identity()) for job in loaded.jobs]
    assert len(set(identities)) == len(identities) > 1


def test_polycoms_ablations_are_the_same_in_every_size() -> None:
    own = {
        size: {str(ablated(job.recipe)) for job in load_study(RECIPES / "studies" / f"polycom-{size}.yaml").jobs}
        for size in ("ablations", "small", "paper")
    }
    assert own["ablations"] <= own["small"] == own["paper"] and len(own["ablations"]) == 17


def ablated(recipe: Recipe) -> tuple[object, ...]:
    """What an ablation changes: the function, whether it learns, and what shares its coefficients."""
    spec, moe = recipe.model.activation, recipe.model.moe
    own = canonical(spec.name, spec.options)
    return spec.name, own, recipe.optimizer.activation.frozen, moe and moe.activation_sharing


def test_no_two_shipped_studies_share_a_name() -> None:
    """It is the folder of the report."""
    names = [read_chain(path).data["name"] for path in STUDIES]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL))
def test_the_examples_in_the_docs_load(example: str, tmp_path: Path) -> None:
    lines = [line for line in example.splitlines() if not line.startswith("extends:")]
    path = tmp_path / "example.yaml"
    path.write_text("\n".join([f"extends: {RECIPES / 'small' / 'bert.yaml'}", *lines]), encoding="utf-8")
    assert load_recipe(path) != load_recipe(RECIPES / "small" / "bert.yaml")


@pytest.mark.parametrize(
    ("first", "second", "slots"),
    [
        (
            "raft/paper/pretrain-bert-raf",
            "raft/paper/pretrain-bert-gelu",
            {"activation", "activation_overrides"},
        ),
        ("raft/nano/pretrain-bert-raf", "raft/nano/pretrain-bert-gelu", {"activation", "activation_overrides"}),
        ("polycom/dense-paper", "polycom/dense-paper-swiglu", {"activation"}),
    ],
)
def test_the_papers_pairs_differ_in_the_activation_alone(first: str, second: str, slots: set[str]) -> None:
    one, other = (load_recipe(RECIPES / f"{name}.yaml").model_dump() for name in (first, second))
    differing = {key for key in one["model"] if one["model"][key] != other["model"][key]}
    assert differing == slots
    del one["model"], other["model"]
    assert one == other


def with_tests_of_transfer(path: Path, folder: Path) -> Changes:
    """The files that a protocol's tests of transfer read; what is in them, is not looked at here."""
    if path.name != "transfer.yaml":
        return Changes()
    file = folder / "test"
    file.touch()
    return Changes(data={"snli": str(file), "triviaqa": str(file)})


def said(recipe: Recipe) -> dict[str, object]:
    """Its dotted keys, but for the corpus, which is a size too."""
    return dict(flat(recipe.model_dump(mode="json", exclude={"corpus"})))


def differing(one: dict[str, object], other: dict[str, object]) -> set[str]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


@pytest.mark.parametrize("name", ["pretrain-bert-gelu", "pretrain-bert-raf"])
def test_rafts_nano_recipes_differ_from_the_papers_in_sizes_alone(name: str) -> None:
    nano, paper = (said(load_recipe(RAFT / size / f"{name}.yaml")) for size in ("nano", "paper"))
    assert {"model.d_model", "budget.steps"} <= differing(nano, paper) <= SIZES


@pytest.mark.parametrize("path", [path for path in PROTOCOLS if path.parent.name == "nano"], ids=lambda path: path.name)
def test_rafts_nano_protocols_differ_from_the_papers_in_sizes_alone(path: Path, tmp_path: Path) -> None:
    changes = with_tests_of_transfer(path, tmp_path)
    nano, paper = (load_study(RAFT / size / path.name, changes) for size in ("nano", "paper"))
    for one, other in zip(nano.study.experiments, paper.study.experiments, strict=True):
        assert one.recipe == other.recipe and one.axes["model"] == other.axes["model"]
        for ours, theirs in zip(one.follow_ups, other.follow_ups, strict=True):
            both = [dict(flat(follow_up.model_dump(mode="json"))) for follow_up in (ours, theirs)]
            modes = [str(one.pop("settings.tune", "")).rstrip("0123456789") for one in both]
            assert modes[0] == modes[1], "so many random biases a function: a size"
            found = {key.removeprefix("settings.") for key in differing(*both)}
            assert found <= SIZES, path
    for loaded, size in ((nano, "nano"), (paper, "paper")):
        pretrained = [load_recipe(RAFT / size / f"pretrain-bert-{name}.yaml").identity() for name in ("gelu", "raf")]
        assert all(one in [job.recipe.identity() for job in loaded.jobs] for one in pretrained)


def test_a_released_start_is_asked_for(tmp_path: Path) -> None:
    recipe = RAFT / "paper" / "pretrain-bert-raf.yaml"
    matched, released = load_recipe(recipe), load_recipe(recipe, ["model.ffn_in_std=as_released"])
    assert matched.model_dump()["model"]["ffn_in_std"] == "matched"
    assert "ffn_in_std" not in matched.identity()["model"] and matched.identity() != released.identity()
