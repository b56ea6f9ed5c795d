"""Models are equally large, or equally costly, whatever the activation; and what is told of a size is true."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from model_sections import LENGTH, VOCABULARY, act, bert_section, gpt_section, ids

from actbench import activations
from actbench.activations.cost import flops_per_element
from actbench.config import load_recipe
from actbench.config.activation import ActivationOverride
from actbench.config.schema import ActivationSpec, BertSection, GptSection
from actbench.errors import BadInput
from actbench.nn.build import activation_parameters, activation_slots, build, skeleton, slot_widths
from actbench.nn.feed_forward import FeedForward
from actbench.nn.size import size
from actbench.nn.width import ffn_width, widths


@pytest.mark.parametrize("layout", ["gpt2", "llama"])
@pytest.mark.parametrize(
    "d_ff", [512, 1024, 1280, 2048, 2560, 2816, 3072, 4096, 4800, 4848, 4864, 5000, 8192, 8256, 11008]
)
def test_a_gated_model_is_as_large_as_a_plain_one(layout: str, d_ff: int) -> None:
    shape = {"layout": layout, "n_layers": 4, "d_model": d_ff // 32 * 8, "n_heads": 4, "d_ff": d_ff}
    section = gpt_section(**shape, activation=act("swiglu"))
    assert abs(size(section, 1000, 64)["parameters_ratio_to_gelu"] - 1) < 0.01


def test_polycoms_1b_models_are_as_large_as_the_paper_says() -> None:
    shape = {"n_layers": 24, "d_model": 2048, "n_heads": 16, "d_ff": 8256, "tie_embeddings": False}
    sizes = {
        name: size(gpt_section(**shape, activation=act(name)), 32000, 4096)
        for name in ("swiglu", "gelu", "relu", "poly_relu", "poly_norm")
    }
    for name, found in sizes.items():
        assert found["d_ff"] == (5504 if name == "swiglu" else 8256)
        scalars = 24 * 4 if name.startswith("poly") else 0
        assert found["parameters"] == 1_345_423_360 + scalars
        assert found["activation_parameters"] == scalars


def test_a_fixed_width_is_not_matched() -> None:
    assert size(gpt_section(activation=act("swiglu"), ffn_width="fixed"), 100, 16)["d_ff"] == 64
    assert size(gpt_section(activation=act("swiglu")), 100, 16)["d_ff"] == 40


# (d_model, d_ff): the width of a gated block, for shapes in use, with and without biases.
GATED = {
    (128, 512): 344,
    (512, 2048): 1368,
    (768, 3072): 2048,
    (1024, 4096): 2728,
    (2048, 8192): 5440,
    (2048, 8256): 5504,
}


@pytest.mark.parametrize("layout", ["gpt2", "llama"])
@pytest.mark.parametrize(("shape", "width"), GATED.items())
def test_gated_widths_are_those_in_use(layout: str, shape: tuple[int, int], width: int) -> None:
    section = gpt_section(layout=layout, d_model=shape[0], d_ff=shape[1])
    assert ffn_width(section, act("swiglu")) == width


@pytest.mark.parametrize("d_ff", [64, 100, 3072, 5001, 8192])
@pytest.mark.parametrize("name", ["relu", "raf", "poly_norm"])
def test_an_ungated_activation_with_few_coefficients_keeps_the_width(name: str, d_ff: int) -> None:
    for layout in ("gpt2", "llama"):
        assert ffn_width(gpt_section(layout=layout, d_model=512, d_ff=d_ff), act(name)) == d_ff


def block_parameters(section: GptSection, spec: ActivationSpec, width: int) -> int:
    """Counted in a block."""
    block = FeedForward(section.d_model, width, spec, bias=section.layout == "gpt2")
    return sum(p.numel() for p in block.parameters())


@pytest.mark.parametrize("layout", ["gpt2", "llama"])
@pytest.mark.parametrize(
    ("name", "sharing"),
    [("raf", "channel"), ("prelu", "channel"), ("raf", 16), ("swiglu", None), ("poly_norm_glu", None)],
)
def test_no_other_width_of_its_kind_is_nearer_in_parameters(layout: str, name: str, sharing: str | int | None) -> None:
    section = gpt_section(layout=layout, d_model=32, d_ff=512)  # so narrow that biases make a difference
    spec = act(name, **({"sharing": sharing} if sharing else {}))
    target = block_parameters(section, act("gelu"), 512)
    width = ffn_width(section, spec)
    assert width % 8 == 0
    step = 16 if sharing == 16 else 8
    missed = {w: abs(block_parameters(section, spec, w) - target) for w in (width - step, width, width + step)}
    assert min(missed, key=lambda w: missed[w]) == width
    assert missed[width] < 0.013 * target  # half a step of 8 in 344


def test_coefficients_of_every_channel_are_paid_for_in_width() -> None:
    section = gpt_section(d_model=64, d_ff=512)
    assert ffn_width(section, act("raf", sharing="channel")) == 472  # 138 numbers a column, not 128


def test_groups_of_channels_divide_the_width() -> None:
    section = gpt_section(d_model=512, d_ff=2048)
    assert ffn_width(section, act("raf", sharing=32)) == 2048
    assert ffn_width(section, act("raf", sharing=48)) == 2064


@pytest.mark.parametrize("name", ["gelu", "raf", "poly_norm", "swiglu", "poly_norm_glu"])
def test_flops_are_matched_as_nearly_as_a_multiple_of_8_can(name: str) -> None:
    section = gpt_section(d_model=64, d_ff=512, ffn_width="matched_flops")

    def cost(name: str, width: int) -> float:
        activation = activations.create(name, width=width)
        return (6 if activation.gated else 4) * 64 * width + flops_per_element(activation) * width

    width = ffn_width(section, act(name))
    missed = {w: abs(cost(name, w) - cost("gelu", 512)) for w in (width - 8, width, width + 8)}
    assert min(missed, key=lambda w: missed[w]) == width
    told = size(section.model_copy(update={"activation": act(name)}), 100, 16)
    assert told["ffn_flops_ratio_to_gelu"] == pytest.approx(cost(name, width) / cost("gelu", 512), rel=1e-12)


def test_layers_of_different_kinds_have_widths_of_their_own() -> None:
    kinds = (ActivationOverride(layers="1", name="swiglu"), ActivationOverride(slot="pooler", name="raf"))
    section = bert_section(n_layers=3, activation_overrides=kinds)
    model = build(section, VOCABULARY, LENGTH, seed=0)
    told = size(section, VOCABULARY, LENGTH)
    assert told["d_ff"] == [64, 40, 64]
    assert slot_widths(model) == {"layers.0": 64, "layers.1": 40, "layers.2": 64, "pooler": 32}
    assert [layer.feed_forward.gate is not None for layer in model.layers] == [False, True, False]
    assert told["parameters"] == sum(p.numel() for p in model.parameters())
    assert (
        told["parameters_ratio_to_gelu"] == told["parameters"] / size(bert_section(n_layers=3), 101, 24)["parameters"]
    )
    assert model(ids(), torch.tensor([[3, 9]] * 3), torch.tensor([[1, 2]] * 3)).isfinite()


def test_an_activation_is_told_the_width_it_sees() -> None:
    overrides = (ActivationOverride(slot="pooler", name="raf", sharing="channel"),)
    section = bert_section(activation=act("raf", sharing=4), activation_overrides=overrides)
    slots = activation_slots(build(section, VOCABULARY, LENGTH, seed=0))
    assert [slots[slot].numerator.shape[0] for slot in slots] == [4, 4, 32]
    assert [slots[slot].width for slot in slots] == [64, 64, 32]


@pytest.mark.parametrize("name", ["gelu", "swiglu", "raf", "poly_relu", "poly_norm"])
@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "untied"])
def test_the_size_told_is_that_of_the_model_built(family: str, name: str) -> None:
    section = {
        "bert": bert_section(activation=act(name)),
        "gpt2": gpt_section(activation=act(name), layout="gpt2"),
        "llama": gpt_section(activation=act(name)),
        "untied": gpt_section(activation=act(name), tie_embeddings=False),
    }[family]
    told, model = size(section, VOCABULARY, LENGTH), build(section, VOCABULARY, LENGTH, seed=0)
    assert told["parameters"] == sum(p.numel() for p in model.parameters())
    assert told["activation_parameters"] == sum(p.numel() for p in activation_parameters(model))
    assert told["d_ff"] == model.layers[0].feed_forward.up.out_features
    assert list(activation_slots(model)) == ["layers.0", "layers.1"] + ["pooler"] * (family == "bert")


def test_flops_count_every_matrix_where_it_works() -> None:
    qkv, rest = 3 * 32 * 32, 32 * 32 + 2 * 32 * 64
    block, attention = 6 * (qkv + rest), 12 * LENGTH * 32
    told = size(gpt_section(), VOCABULARY, LENGTH)["flops_per_token"]
    assert told == 2 * (block + attention) + 6 * 32 * VOCABULARY
    last_block_and_head = 6 * (qkv + 0.25 * (rest + 32 * 32 + 32 * VOCABULARY)) + 0.25 * attention
    told = size(bert_section(mask_fraction=0.25), VOCABULARY, LENGTH)["flops_per_token"]
    assert told == block + attention + last_block_and_head


@pytest.mark.parametrize("ffn_width", ["matched", "matched_flops", "fixed"])
@pytest.mark.parametrize("sharing", ["channel", 8])
def test_what_is_shared_inside_a_gate_has_a_width_too(ffn_width: str, sharing: str | int) -> None:
    spec = act("glu", inner="raf", inner_options={"sharing": sharing})
    section = gpt_section(activation=spec, ffn_width=ffn_width)
    wide = size(section, 300, 16)["d_ff"]
    assert isinstance(wide, int) and wide % 8 == 0


def test_groups_that_do_not_divide_the_width_are_told_with_their_slot() -> None:
    section = gpt_section(activation=act("raf", sharing=7), ffn_width="fixed")
    with pytest.raises(BadInput, match=r"layers\.0, raf: 7 groups do not divide a width of"):
        widths(section)


# What is counted without building.

DECODERS = st.fixed_dictionaries(
    {
        "layout": st.sampled_from(["gpt2", "llama"]),
        "n_layers": st.integers(1, 3),
        "d_model": st.sampled_from([16, 24, 48]),
        "n_heads": st.sampled_from([1, 2, 4]),
        "d_ff": st.integers(8, 70),
        "tie_embeddings": st.booleans(),
        "ffn_width": st.sampled_from(["matched", "matched_flops", "fixed"]),
        "activation": st.sampled_from(
            [act(n) for n in ("gelu", "swiglu", "poly_norm")] + [act("raf", sharing="channel")]
        ),
    }
)
LLAMA = st.fixed_dictionaries(
    {
        "n_kv_heads": st.sampled_from([None, 1]),
        "qk_norm": st.booleans(),
        "moe": st.none()
        | st.fixed_dictionaries(
            {
                "experts": st.integers(2, 5),
                "top_k": st.integers(1, 2),
                "d_expert": st.integers(8, 40),
                "activation_sharing": st.sampled_from(["layer", "expert"]),
            }
        ),
    }
)


@settings(max_examples=20, deadline=None)
@given(DECODERS, LLAMA, st.integers(20, 90))
def test_a_decoders_size_is_counted_as_if_it_were_built(shape: dict[str, Any], llama: dict[str, Any], V: int) -> None:
    options = llama if shape["layout"] == "llama" else {}
    section = gpt_section(**{**shape, **options, **({"d_ff": None} if options.get("moe") else {})})
    assert_counted(section, V)


@settings(max_examples=6, deadline=None)
@given(
    st.sampled_from(["post", "deepnet", "pre"]),
    st.sampled_from(["gelu", "swiglu", "raf"]),
    st.sampled_from(["tanh", "raf"]),
    st.integers(20, 90),
)
def test_a_berts_size_is_counted_as_if_it_were_built(placement: str, name: str, pooler: str, V: int) -> None:
    overrides = (ActivationOverride(slot="pooler", name=pooler), ActivationOverride(layers="1", name="poly_norm"))
    assert_counted(bert_section(norm_placement=placement, activation=act(name), activation_overrides=overrides), V)


def assert_counted(section: BertSection | GptSection, V: int) -> None:
    with torch.device("meta"):
        model = skeleton(section, V, LENGTH)
    told, names = size(section, V, LENGTH), dict(model.named_parameters())
    assert told["parameters"] == sum(p.numel() for p in names.values())
    assert told["activation_parameters"] == sum(p.numel() for p in activation_parameters(model))
    apart = ("tokens.", "positions.", "head.decoder.")
    growing = sum(p.numel() for name, p in names.items() if name.startswith(apart))
    assert told["non_embedding_parameters"] == told["parameters"] - growing
    assert told["d_ff"] == model.layers[0].feed_forward.width or isinstance(told["d_ff"], list)
    moe = section.moe if isinstance(section, GptSection) else None
    if moe is None:
        assert "active_parameters" not in told
        return
    of_experts = [p for name, p in names.items() if p.ndim == 3 or ".activation.experts." in name]
    idle = sum(p.numel() for p in of_experts) * (1 - moe.top_k / moe.experts)
    assert told["active_parameters"] == pytest.approx(told["parameters"] - idle)
    matrices = [p for name, p in names.items() if p.ndim == 2 and "activation" not in name and "tokens" not in name]
    met = sum(p.numel() for p in matrices) + sum(p.numel() for p in of_experts if p.ndim == 3) * moe.top_k / moe.experts
    if section.tie_embeddings:
        met += V * section.d_model
    expected = 6 * met + 12 * LENGTH * section.d_model * section.n_layers
    assert told["flops_per_token"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("recipe", "name", "total", "active"),
    [
        ("polycom/dense-paper-swiglu", "swiglu", 1_345_423_360, None),
        ("polycom/dense-paper", "poly_norm", 1_345_423_456, None),
        ("polycom/moe-paper", "swiglu", 6_919_161_856, 1_282_017_280),
        ("polycom/moe-paper", "poly_norm", 6_919_161_920, 1_282_017_344),
    ],
)
def test_the_papers_models_are_as_large_as_they_say(recipe: str, name: str, total: int, active: int | None) -> None:
    """OLMoE: 6.92 B parameters, 1.28 B of them active."""
    loaded = load_recipe(ROOT / "recipes" / f"{recipe}.yaml", [f"model.activation.name={name}"])
    told = size(loaded.model, loaded.tokenizer.vocab_size, loaded.batch.length)
    assert (told["parameters"], told.get("active_parameters")) == (total, active)
    page = (ROOT / "recipes" / "polycom" / "README.md").read_text(encoding="utf-8")
    assert f"{total:,}" in page and (active is None or f"{active:,}" in page)


def test_a_large_mixture_is_counted_at_once() -> None:
    section = gpt_section(
        n_layers=61, d_model=7168, n_heads=128, moe={"experts": 256, "top_k": 8, "d_expert": 3072}, d_ff=None
    )
    began = time.perf_counter()
    assert size(section, 130_000, 4096)["parameters"] > 6e11
    assert time.perf_counter() - began < 2  # built, it would take 2.6 TB


def test_experts_are_matched_as_blocks_are() -> None:
    section = gpt_section(d_model=64, d_ff=None, moe={"experts": 64, "top_k": 8, "d_expert": 1536})
    assert ffn_width(section, act("swiglu")) == 1024
    assert ffn_width(section, act("poly_norm")) == ffn_width(section, act("relu2")) == 1536
    by_channel = act("raf", sharing="channel")
    shared = ffn_width(section, by_channel)
    own = section.model_copy(update={"moe": section.moe.model_copy(update={"activation_sharing": "expert"})})
    assert shared > ffn_width(own, by_channel)  # coefficients of every channel, once a layer or once an expert
