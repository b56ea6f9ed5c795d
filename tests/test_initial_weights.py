"""Initial weights: a pair agrees in all that both have, and spreads are the papers'."""

from __future__ import annotations

import math

import pytest
import torch
from model_sections import LENGTH, VOCABULARY, act, bert_section, gpt_section
from torch import nn

from actbench.config.schema import BertSection, GptSection
from actbench.nn.build import build


@pytest.mark.parametrize("placement", ["post", "deepnet", "pre"])
def test_another_activation_leaves_every_other_weight_alone(placement: str) -> None:
    states = [
        build(section, VOCABULARY, LENGTH, seed=5).state_dict()
        for name in ("gelu", "raf", "poly_norm")
        for section in [bert_section(norm_placement=placement, activation=act(name))]
    ]
    for other in states[1:]:
        assert set(states[0]) <= set(other)
        assert all(torch.equal(states[0][key], other[key]) for key in states[0])


def test_a_gated_pair_agrees_wherever_shapes_do_and_seeds_differ() -> None:
    plain, gated, again, other = (
        build(gpt_section(activation=act(name)), VOCABULARY, LENGTH, seed).state_dict()
        for name, seed in (("gelu", 0), ("swiglu", 0), ("gelu", 0), ("gelu", 1))
    )
    shared = [key for key in plain if plain[key].shape == gated[key].shape]
    assert "layers.1.attention.qkv.weight" in shared
    assert all(torch.equal(plain[key], gated[key]) for key in shared)
    assert all(torch.equal(plain[key], again[key]) for key in plain)
    assert not any(torch.equal(plain[key], other[key]) for key in plain if plain[key].ndim == 2)


@pytest.mark.parametrize("section", [bert_section(norm_placement="deepnet"), bert_section(), gpt_section()])
def test_no_two_weights_start_alike(section: BertSection | GptSection) -> None:
    model = build(section, VOCABULARY, LENGTH, 0)
    firsts = [p.flatten()[:8] / p.std() for p in model.parameters() if p.ndim == 2]
    for i, one in enumerate(firsts):
        assert not any(torch.allclose(one, other, rtol=1e-3) for other in firsts[:i])


def test_initial_spreads_are_those_of_the_papers() -> None:
    wide = {"n_layers": 2, "d_model": 256, "n_heads": 4, "d_ff": 1024}

    def spread(model: nn.Module, name: str) -> float:
        return model.get_parameter(name).std().item()

    gpt = build(gpt_section(**wide, init_std="small"), 500, LENGTH, 0)
    small = math.sqrt(2 / (5 * 256))
    assert spread(gpt, "tokens.weight") == pytest.approx(small, rel=0.02)
    assert spread(gpt, "layers.0.feed_forward.up.weight") == pytest.approx(small, rel=0.02)
    for output in ("attention.output", "feed_forward.down"):
        assert spread(gpt, f"layers.1.{output}.weight") == pytest.approx(small / 2, rel=0.02)  # sqrt(2N) = 2
    bert = build(bert_section(**wide), 500, LENGTH, 0)
    for name in ("tokens", "layers.0.feed_forward.down", "layers.0.attention.qkv"):
        assert spread(bert, f"{name}.weight") == pytest.approx(0.02, rel=0.02)
    deep = build(bert_section(**wide, norm_placement="deepnet"), 500, LENGTH, 0)
    gain, square, oblong = 16**-0.25, math.sqrt(2 / 512), math.sqrt(2 / (256 + 1024))
    q, k, v = deep.layers[0].attention.qkv.weight.chunk(3)
    for tensor, expected in (
        (q, square), (k, square), (v, square * gain),
        (deep.layers[0].attention.output.weight, square * gain),
        (deep.layers[0].feed_forward.up.weight, oblong * gain),
        (deep.layers[0].feed_forward.down.weight, oblong * gain),
    ):  # fmt: skip
        assert tensor.std().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("name", "std"), [("raf", 0.0073), ("gelu", 0.0208), ("swiglu", 0.0208)])
def test_blocks_start_as_rafts_code_released_them_where_asked(name: str, std: float) -> None:
    wide = {"n_layers": 2, "d_model": 256, "n_heads": 4, "d_ff": 1024, "norm_placement": "deepnet"}
    matched, released, given = (
        build(bert_section(**wide, activation=act(name), **how), 500, LENGTH, 0).state_dict()
        for how in ({}, {"ffn_in_std": "as_released"}, {"ffn_in_std": 0.1})
    )
    parts = ("up", "gate") if name == "swiglu" else ("up",)
    into = [f"layers.{i}.feed_forward.{part}.weight" for i in range(2) for part in parts]
    assert {key for key in matched if not torch.equal(matched[key], released[key])} == set(into)
    for key in into:
        assert released[key].std().item() == pytest.approx(std, rel=0.02)
        assert given[key].std().item() == pytest.approx(0.1, rel=0.02)
