"""Mixtures of experts through the command: they train, resume to the last bit, and tell how their routers decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_pretrain import left_unfinished, results, rows_of, the_run

from actbench.config import load_recipe

EXPERTS = {"experts": 4, "top_k": 2, "d_expert": 24}


@pytest.fixture
def moe_recipe(tiny_recipe: Callable[..., Path]) -> Callable[..., Path]:
    """A tiny mixture with an activation that learns; `moe` changes its experts."""

    def write(moe: dict[str, Any], **sections: Any) -> Path:
        model = {"d_ff": None, "moe": {**EXPERTS, **moe}, "activation": {"name": "poly_norm"}}
        return tiny_recipe("gpt", model=model, **sections)

    return write


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_load_balanced_by_micro_batches_is_another_where_a_step_has_several(
    moe_recipe: Callable[..., Path], accumulate: int
) -> None:
    default, step, micro_batch = (
        load_recipe(moe_recipe(said, batch={"accumulate": accumulate})).identity()
        for said in ({}, {"load_balance_over": "step"}, {"load_balance_over": "micro_batch"})
    )
    assert default == step and (micro_batch == step) == (accumulate == 1)
    assert "load_balance_over" not in micro_batch["model"]["moe"], "the default of older runs"


@pytest.mark.parametrize(("sharing", "accumulate"), [("layer", 2), ("expert", 1)])
def test_a_mixture_killed_and_resumed_ends_with_the_same_bits(
    actbench: Any, moe_recipe: Callable[..., Path], tmp_path: Path, sharing: str, accumulate: int
) -> None:
    """With dropout; cut up, a step looks ahead at its micro-batches."""
    recipe = moe_recipe(
        {"activation_sharing": sharing},
        batch={"accumulate": accumulate},
        budget={"steps": 60},
        checkpoint={"every_steps": 7},
        validation={"every_steps": 20},
        logging={"every_steps": 3},
    )
    actbench("pretrain", "-r", recipe, "--runs", "whole", check=0)
    left_unfinished(recipe, tmp_path / "killed", 10)
    actbench("pretrain", "-r", recipe, "--runs", "killed", "--resume", check=0)
    whole = the_run(tmp_path / "whole")
    assert results(the_run(tmp_path / "killed")) == results(whole)

    summary = json.loads((whole / "manifest.json").read_text())["summary"]
    assert 0 < summary["active_parameters"] < summary["parameters"]
    told = summary["experts"]
    assert told["dropped_tokens"] == 0 and 1 <= told["busiest_expert"] <= 4 and 0 < told["router_entropy"] < 1.4
    rows = rows_of(whole)
    assert all(row["load_balance"] >= 0.9 and row["router_z"] > 0 for row in rows if row["kind"] == "train")
    routed = [row for row in rows if row["kind"] == "experts"]
    assert [row["step"] for row in routed] == [20, 40, 60]
    assert all(sum(layer["load"]) == pytest.approx(1) for row in routed for layer in row["layers"].values())
    slots = json.loads((whole / "activations.json").read_text())["slots"]
    layers = ["layers.0", "layers.1"]
    named = layers if sharing == "layer" else [f"{layer}.expert.{e}" for layer in layers for e in range(4)]
    assert [slot["name"] for slot in slots] == named and {slot["width"] for slot in slots} == {24}
    assert all(slot["initial"] != slot["final"] for slot in slots)
    for options in ((), ("--form", "training")):
        actbench("plot", "activations", whole, "-o", "a.svg", *options, check=0)
    (found,) = json.loads(actbench("eval", "perplexity", whole, "--json", check=0).stdout)["results"]
    assert found["loss"] == pytest.approx(summary["validation_loss"], rel=0.05)  # of all held-out text, not a part
