"""What a decoder's recipe may say of its heads and experts, and how what it may not say is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_sections import LENGTH, VOCABULARY, gpt_section, ids
from recipe_text import Write, changed, line_of, problems, the_problem

from actbench.config import Recipe, dump, load_recipe
from actbench.nn.build import build

GPT = changed("family: bert", "family: gpt")
MOE = GPT.replace("  d_ff: 32\n", "  moe:\n    experts: 8\n    top_k: 2\n    d_expert: 24\n")


def test_the_defaults_are_what_there_was_before(write: Write) -> None:
    said = GPT.replace(
        "d_ff: 32\n", "d_ff: 32\n  n_kv_heads: null\n  qk_norm: false\n  moe: null\n  init_outputs: scaled\n"
    )
    assert load_recipe(write(said)).identity() == load_recipe(write(GPT)).identity()
    names = set(build(gpt_section(), VOCABULARY, LENGTH, 0).state_dict())
    assert not any("norm" in name and "attention." in name for name in names)
    assert not any("router" in name for name in names)


def test_what_is_said_and_changes_nothing_makes_no_other_run(write: Write) -> None:
    all_alike, shared = (load_recipe(write(GPT), [f"model.n_kv_heads={n}"]).identity() for n in (2, 1))
    assert all_alike == load_recipe(write(GPT)).identity() != shared
    experts = write(MOE)
    apart = "model.moe.activation_sharing=expert"
    for name, matters in (("gelu", False), ("swiglu", False), ("poly_norm", True)):
        said = f"model.activation.name={name}"
        one, other = (load_recipe(experts, [said, *more]).identity() for more in ([], [apart]))
        assert (one != other) is matters, name
    mixed = "model.activation_overrides=[{layers: 1, name: raf}]"
    assert load_recipe(experts, [mixed, apart]).identity() != load_recipe(experts, [mixed]).identity()


def test_the_experts_width_takes_the_place_of_d_ff(write: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write(MOE))
    assert recipe.model.d_ff == 24
    again = load_recipe(write(dump(recipe), "dump.yaml"))
    assert again == recipe and Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    dense = write(GPT, "dense.yaml")
    assert load_recipe(dense, ["model.d_ff=null", "model.moe.d_expert=40"]).model.d_ff == 40
    problem = the_problem(dense, "model.moe.d_expert=40")
    assert "with moe, the width is moe.d_expert: leave d_ff out (null takes one back)" in str(problem)


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("top_k: 2", "top_k: 9", "model.moe", "top_k (9) must be at most experts (8)"),
        ("top_k: 2", "top_k: 0", "model.moe.top_k", "greater than 0"),
        ("d_expert: 24", "d_expertt: 24", "model.moe.d_expertt", "did you mean 'model.moe.d_expert'?"),
        ("experts: 8", "expert: 8", "model.moe.expert", "did you mean 'model.moe.experts'?"),
        ("top_k: 2", "load_balance: -1.0", "model.moe.load_balance", "greater than or equal to 0"),
        ("top_k: 2", "activation_sharing: channel", "model.moe.activation_sharing", "'layer' or 'expert'"),
    ],
)
def test_a_wrong_mixture_is_told_at_its_line(write: Write, old: str, new: str, key: str, said: str) -> None:
    text = MOE.replace(old, new)
    found = {problem.key: problem for problem in problems(write(text))}
    assert said in str(found[key]), found
    line = line_of(text, "moe:" if key == "model.moe" else new)
    assert found[key].where == f"r.yaml:{line}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("layout: gpt2", "moe: only with layout llama"),
        ("layout: gpt2\n  qk_norm: true", "qk_norm and moe: only with layout llama"),
        ("layout: gpt2\n  rope_theta: 500000", "moe and rope_theta: only with layout llama"),
        ("n_kv_heads: 3", "n_heads (2) must be a multiple of n_kv_heads (3)"),
    ],
)
def test_what_does_not_go_together_is_told(write: Write, line: str, said: str) -> None:
    assert said in str(the_problem(write(MOE.replace("family: gpt\n", f"family: gpt\n  {line}\n"))))


def test_a_bert_has_no_experts(write: Write) -> None:
    problem = problems(write(changed("  d_ff: 32\n", "  d_ff: 32\n  qk_norm: true\n")))[0]
    assert (problem.key, problem.message) == ("model.qk_norm", "unknown key")


# Heads.


def test_shared_heads_are_heads_that_are_alike() -> None:
    few, all_of_them = gpt_section(n_kv_heads=2), gpt_section()
    shared, full = build(few, VOCABULARY, LENGTH, 0), build(all_of_them, VOCABULARY, LENGTH, 0)
    with torch.no_grad():
        for name, parameter in shared.named_parameters():
            if not name.endswith("attention.qkv.weight"):
                full.get_parameter(name).copy_(parameter)
                continue
            q, k, v = parameter.split((32, 16, 16))
            k, v = (y.unflatten(0, (2, 8)).repeat_interleave(2, dim=0).flatten(0, 1) for y in (k, v))
            full.get_parameter(name).copy_(torch.cat((q, k, v)))
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(shared.logits(ids()), full.logits(ids()), rtol=0, atol=1e-5)


def test_normalised_queries_and_keys_do_not_depend_on_their_projections_scale() -> None:
    model = build(gpt_section(qk_norm=True), VOCABULARY, LENGTH, 0).eval()
    before = model.logits(ids())
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.qkv.weight[:64] *= 7
    torch.testing.assert_close(model.logits(ids()), before, rtol=0, atol=1e-3)
