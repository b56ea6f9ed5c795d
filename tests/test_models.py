"""The models are the published ones, equal in size whatever the activation, and drop out reproducibly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.config.schema import ActivationSpec, BertSection, GptSection
from actbench.nn.attention import Attention, Rotary, attend
from actbench.nn.bert import Bert, BertClassifier
from actbench.nn.build import activation_parameters, activation_slots, build, size
from actbench.nn.dropout import Dropout, set_keys
from actbench.nn.feed_forward import gated_width
from actbench.nn.gpt import Gpt
from actbench.nn.heads import Classifier

VOCABULARY, LENGTH = 101, 24
CLOSE = {"rtol": 0.0, "atol": 1e-5}


def act(name: str, **options: Any) -> ActivationSpec:
    return ActivationSpec(name=name, **options)


def bert_section(**changes: Any) -> BertSection:
    sizes: dict[str, Any] = {"n_layers": 2, "d_model": 32, "n_heads": 4, "d_ff": 64, "dropout": 0.0}
    return BertSection(family="bert", **{**sizes, **changes})


def gpt_section(**changes: Any) -> GptSection:
    sizes: dict[str, Any] = {"n_layers": 2, "d_model": 32, "n_heads": 4, "d_ff": 64, "dropout": 0.0}
    return GptSection(family="gpt", **{**sizes, **changes})


def randomized(model: Any, seed: int = 0) -> Any:
    """Every parameter drawn anew, norms and biases too, so that none can be forgotten unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.3 * noise + (0.5 if parameter.ndim < 2 else 0.0))
    return model.eval()


def ids(batch: int = 3, time: int = 17, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (batch, time), generator=torch.Generator().manual_seed(seed))


# Equal to Hugging Face's models.


def _copy(linear: nn.Linear, reference: Any, transposed: bool = False) -> None:
    linear.weight.copy_(reference.weight.T if transposed else reference.weight)
    if linear.bias is not None:
        linear.bias.copy_(reference.bias)


def _copy_joined(linear: nn.Linear, references: list[Any]) -> None:
    linear.weight.copy_(torch.cat([r.weight for r in references]))
    if linear.bias is not None:
        linear.bias.copy_(torch.cat([r.bias for r in references]))


@torch.no_grad()
def bert_from(reference: Any, model: Bert) -> Bert:
    embeddings = reference.bert.embeddings
    model.tokens.weight.copy_(embeddings.word_embeddings.weight)
    model.positions.weight.copy_(embeddings.position_embeddings.weight)
    model.segments.weight.copy_(embeddings.token_type_embeddings.weight)
    _copy(model.norm, embeddings.LayerNorm)
    for ours, theirs in zip(model.layers, reference.bert.encoder.layer, strict=True):
        own = theirs.attention.self
        _copy_joined(ours.attention.qkv, [own.query, own.key, own.value])
        _copy(ours.attention.output, theirs.attention.output.dense)
        _copy(ours.attention_norm, theirs.attention.output.LayerNorm)
        _copy(ours.feed_forward.up, theirs.intermediate.dense)
        _copy(ours.feed_forward.down, theirs.output.dense)
        _copy(ours.feed_forward_norm, theirs.output.LayerNorm)
    head = reference.cls.predictions
    _copy(model.head.transform, head.transform.dense)
    _copy(model.head.norm, head.transform.LayerNorm)
    model.head.decoder.bias.copy_(head.bias)
    return model.eval()


@torch.no_grad()
def gpt2_from(reference: Any, model: Gpt) -> Gpt:
    body = reference.transformer
    model.tokens.weight.copy_(body.wte.weight)
    model.positions.weight.copy_(body.wpe.weight)
    for ours, theirs in zip(model.layers, body.h, strict=True):
        _copy(ours.attention_norm, theirs.ln_1)
        _copy(ours.attention.qkv, theirs.attn.c_attn, transposed=True)
        _copy(ours.attention.output, theirs.attn.c_proj, transposed=True)
        _copy(ours.feed_forward_norm, theirs.ln_2)
        _copy(ours.feed_forward.up, theirs.mlp.c_fc, transposed=True)
        _copy(ours.feed_forward.down, theirs.mlp.c_proj, transposed=True)
    _copy(model.final_norm, body.ln_f)
    model.head.decoder.weight.copy_(reference.lm_head.weight)
    return model.eval()


@torch.no_grad()
def llama_from(reference: Any, model: Gpt) -> Gpt:
    model.tokens.weight.copy_(reference.model.embed_tokens.weight)
    for ours, theirs in zip(model.layers, reference.model.layers, strict=True):
        own = theirs.self_attn
        ours.attention_norm.weight.copy_(theirs.input_layernorm.weight)
        _copy_joined(ours.attention.qkv, [own.q_proj, own.k_proj, own.v_proj])
        _copy(ours.attention.output, own.o_proj)
        ours.feed_forward_norm.weight.copy_(theirs.post_attention_layernorm.weight)
        _copy(ours.feed_forward.gate, theirs.mlp.gate_proj)
        _copy(ours.feed_forward.up, theirs.mlp.up_proj)
        _copy(ours.feed_forward.down, theirs.mlp.down_proj)
    model.final_norm.weight.copy_(reference.model.norm.weight)
    model.head.decoder.weight.copy_(reference.lm_head.weight)
    return model.eval()


SHAPES = [(1, 16, 2, 40), (2, 32, 4, 64), (3, 48, 3, 96)]  # layers, model width, heads, FFN width
BOTH_GRADIENT_MODES = pytest.mark.parametrize("gradients", [False, True])  # the two ways to compute attention


@BOTH_GRADIENT_MODES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_bert_equals_hugging_faces(implementation: str, shape: tuple[int, ...], gradients: bool) -> None:
    from transformers import BertConfig, BertForMaskedLM

    n_layers, d_model, n_heads, d_ff = shape
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=d_model, num_hidden_layers=n_layers, num_attention_heads=n_heads,
        intermediate_size=d_ff, max_position_embeddings=LENGTH, layer_norm_eps=1e-12,
        attn_implementation=implementation,
    )  # fmt: skip
    reference = randomized(BertForMaskedLM(config))
    section = bert_section(n_layers=n_layers, d_model=d_model, n_heads=n_heads, d_ff=d_ff)
    model = bert_from(reference, Bert(section, VOCABULARY, LENGTH))
    tokens = ids()
    segments = (torch.arange(tokens.shape[1]) >= 7).long().expand_as(tokens)
    real = torch.arange(tokens.shape[1]) < torch.tensor([[17], [9], [1]])
    with torch.set_grad_enabled(gradients):
        theirs = reference(tokens, attention_mask=real.long(), token_type_ids=segments, output_hidden_states=True)
        hidden = model.encode(tokens, segments, real)
        torch.testing.assert_close(hidden[real], theirs.hidden_states[-1][real], **CLOSE)
        torch.testing.assert_close(model.head.logits(hidden)[real], theirs.logits[real], **CLOSE)
        torch.testing.assert_close(model.logits(tokens), reference(tokens).logits, **CLOSE)
        expected_states = reference(tokens, output_hidden_states=True).hidden_states
        for ours, expected in zip(_states(model, tokens), expected_states, strict=True):
            torch.testing.assert_close(ours, expected, **CLOSE)


def _states(model: Bert, tokens: Tensor) -> Iterator[Tensor]:
    """The embeddings' output and each layer's."""
    states: list[Tensor] = []
    hooks = [model.layers[0].register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))]
    hooks += [layer.register_forward_hook(lambda *call: states.append(call[-1])) for layer in model.layers]
    model.encode(tokens)
    for hook in hooks:
        hook.remove()
    return iter(states)


def test_the_classifier_pools_as_hugging_faces() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=LENGTH, num_labels=3,
    )  # fmt: skip
    reference = randomized(BertForSequenceClassification(config))
    encoder = Bert(bert_section(), VOCABULARY, LENGTH)
    model = BertClassifier(encoder, Classifier(32, 3, 0.1)).eval()
    reference.cls = _unused_head(encoder)
    bert_from(reference, encoder)
    with torch.no_grad():
        _copy(encoder.pooler.dense, reference.bert.pooler.dense)
        _copy(model.classifier.dense, reference.classifier)
        tokens = ids()
        segments = (torch.arange(tokens.shape[1]) >= 7).long().expand_as(tokens)
        real = torch.arange(tokens.shape[1]) < torch.tensor([[17], [9], [3]])
        theirs = reference(tokens, attention_mask=real.long(), token_type_ids=segments).logits
        torch.testing.assert_close(model(tokens, segments, real), theirs, **CLOSE)


def _unused_head(encoder: Bert) -> nn.Module:
    """What a classifier lacks of a masked language model, in its place."""
    cls, cls.predictions = nn.Module(), nn.Module()
    transform = cls.predictions.transform = nn.Module()
    transform.dense, transform.LayerNorm = encoder.head.transform, encoder.head.norm
    cls.predictions.bias = encoder.head.decoder.bias
    return cls


@BOTH_GRADIENT_MODES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("tied", [True, False])
def test_gpt2_equals_hugging_faces(tied: bool, implementation: str, shape: tuple[int, ...], gradients: bool) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    n_layers, d_model, n_heads, d_ff = shape
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=d_model, n_layer=n_layers, n_head=n_heads, n_inner=d_ff,
        n_positions=LENGTH, activation_function="gelu_new", tie_word_embeddings=tied,
        attn_implementation=implementation,
    )  # fmt: skip
    reference = randomized(GPT2LMHeadModel(config))
    section = gpt_section(
        layout="gpt2", n_layers=n_layers, d_model=d_model, n_heads=n_heads, d_ff=d_ff, tie_embeddings=tied,
        activation=act("gelu", approximate="tanh"),
    )  # fmt: skip
    _assert_equal(gpt2_from(reference, Gpt(section, VOCABULARY, LENGTH)), reference, tied, gradients)


@BOTH_GRADIENT_MODES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("tied", [True, False])
def test_llama_equals_hugging_faces(tied: bool, implementation: str, shape: tuple[int, ...], gradients: bool) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    n_layers, d_model, n_heads, d_ff = shape
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=d_model, num_hidden_layers=n_layers, num_attention_heads=n_heads,
        intermediate_size=d_ff, max_position_embeddings=LENGTH, rms_norm_eps=1e-5, tie_word_embeddings=tied,
        hidden_act="silu", attn_implementation=implementation,
    )  # fmt: skip
    reference = randomized(LlamaForCausalLM(config))
    section = gpt_section(
        n_layers=n_layers, d_model=d_model, n_heads=n_heads, d_ff=d_ff, tie_embeddings=tied,
        ffn_width="fixed", activation=act("swiglu"),
    )  # fmt: skip
    _assert_equal(llama_from(reference, Gpt(section, VOCABULARY, LENGTH)), reference, tied, gradients)


def _assert_equal(model: Gpt, reference: Any, tied: bool, gradients: bool) -> None:
    tokens, targets = ids(), ids(seed=2)
    with torch.set_grad_enabled(gradients):
        theirs = reference(tokens, output_hidden_states=True)
        torch.testing.assert_close(model.encode(tokens), theirs.hidden_states[-1], **CLOSE)
        torch.testing.assert_close(model.logits(tokens), theirs.logits, **CLOSE)
        losses = F.cross_entropy(theirs.logits.flatten(0, 1), targets.flatten(), reduction="none")
        torch.testing.assert_close(model(tokens, targets), losses, **CLOSE)
    assert (model.head.decoder.weight is model.tokens.weight) is tied
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in reference.parameters())


# What a position can see.


@BOTH_GRADIENT_MODES
@pytest.mark.parametrize("layout", ["gpt2", "llama"])
def test_a_decoder_sees_no_later_token(layout: str, gradients: bool) -> None:
    model = randomized(Gpt(gpt_section(layout=layout), VOCABULARY, LENGTH))
    tokens, other = ids(), ids(seed=9)
    with torch.set_grad_enabled(gradients):
        mixed = torch.cat((tokens[:, :8], other[:, 8:]), dim=1)
        before, after = model.logits(tokens), model.logits(mixed)
    torch.testing.assert_close(before[:, :8], after[:, :8], **CLOSE)
    assert not torch.allclose(before[:, 8:], after[:, 8:])


def test_padding_is_not_seen() -> None:
    model = randomized(Bert(bert_section(), VOCABULARY, LENGTH))
    tokens, real = ids(), torch.arange(17) < 11
    longer = model.encode(tokens, None, real.expand_as(tokens))[:, :11]
    torch.testing.assert_close(longer, model.encode(tokens[:, :11]), **CLOSE)


# The masked-language-model head works at masked positions only.


def test_the_head_sees_the_masked_positions_and_no_others() -> None:
    model = randomized(Bert(bert_section(), VOCABULARY, LENGTH))
    tokens = ids()
    masked, targets = torch.tensor([3, 16, 17, 40, 50]), torch.tensor([5, 6, 7, 8, 9])
    seen: list[tuple[int, ...]] = []
    hook = model.head.decoder.register_forward_hook(lambda *call: seen.append(tuple(call[-1].shape)))
    losses = model(tokens, masked, targets)
    hook.remove()
    assert seen == [(5, VOCABULARY)]
    full = model.logits(tokens).flatten(0, 1)[masked]
    torch.testing.assert_close(losses, F.cross_entropy(full, targets, reduction="none"), **CLOSE)


# DeepNet.


def test_a_deepnet_block_is_its_formula() -> None:
    section = bert_section(n_layers=3, norm_placement="deepnet")
    block = randomized(Bert(section, VOCABULARY, LENGTH)).layers[1]
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(3))
    alpha = (2 * 3) ** 0.25

    q, k, v = (y.view(2, 5, 4, 8).transpose(1, 2) for y in block.attention.qkv(x).chunk(3, dim=-1))
    weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(8), dim=-1)
    attended = block.attention.output((weights @ v).transpose(1, 2).reshape(2, 5, 32))
    x1 = block.attention_norm(alpha * x + attended)
    fed = block.feed_forward.down(F.gelu(block.feed_forward.up(x1)))
    torch.testing.assert_close(block(x), block.feed_forward_norm(alpha * x1 + fed), **CLOSE)


def test_the_three_placements_of_the_norm_differ() -> None:
    outputs = []
    for placement in ("post", "deepnet", "pre"):
        model = Bert(bert_section(norm_placement=placement), VOCABULARY, LENGTH)
        assert (model.final_norm is not None) == (placement == "pre")
        outputs.append(randomized(model).encode(ids()))
    for i in range(3):
        assert not torch.allclose(outputs[i], outputs[i - 1], atol=1e-2)


# Size.


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
    assert gated_width(8256) == 5504
    assert size(gpt_section(activation=act("swiglu"), ffn_width="fixed"), 100, 16)["d_ff"] == 64
    assert size(gpt_section(activation=act("swiglu")), 100, 16)["d_ff"] == gated_width(64) == 40


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
    dense = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    attention = 12 * 2 * LENGTH * 32
    told = size(gpt_section(), VOCABULARY, LENGTH)["flops_per_token"]
    assert told == 6 * (dense + 32 * VOCABULARY) + attention
    told = size(bert_section(mask_fraction=0.25), VOCABULARY, LENGTH)["flops_per_token"]
    assert told == 6 * (dense + 0.25 * (32 * 32 + 32 * VOCABULARY)) + attention


# Initial weights: a pair agrees in all that both have.


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


# Attention.


@pytest.mark.parametrize(("causal", "padded"), [(False, False), (False, True), (True, False)])
def test_both_ways_to_compute_attention_agree(causal: bool, padded: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(2, 3, 9, 8, generator=generator, requires_grad=True) for _ in range(3))
    mask = torch.arange(9) < torch.tensor([[9], [4]]) if padded else None
    allowed = mask[:, None, None, :] if mask is not None else None
    fused = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=causal)
    written_out = attend(q, k, v, Dropout(0.0), causal=causal, mask=mask)
    torch.testing.assert_close(written_out, fused, **CLOSE)
    with torch.no_grad():
        torch.testing.assert_close(attend(q, k, v, Dropout(0.0), causal=causal, mask=mask), fused, **CLOSE)
    upstream = torch.randn(fused.shape, generator=generator)
    for ours, theirs in zip(
        torch.autograd.grad((written_out * upstream).sum(), (q, k, v)),
        torch.autograd.grad((fused * upstream).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def test_attention_weights_are_dropped_and_rescaled() -> None:
    q, k, v = torch.zeros(3, 1, 1, 4, 4).unbind()
    dropout = keyed(Dropout(0.5), 3)
    got = attend(q, k, v + torch.eye(4), dropout, causal=False, mask=None)
    torch.testing.assert_close(got, dropout(torch.full((1, 1, 4, 4), 0.25)))
    assert set(got.unique().tolist()) == {0.0, 0.5}


def test_rotary_scores_depend_on_the_distance_alone() -> None:
    rotary = Rotary(16, 40, 10000.0)
    generator = torch.Generator().manual_seed(5)
    q, k = (torch.randn(1, 1, 1, 16, generator=generator).expand(1, 1, 40, 16) for _ in range(2))
    scores = (rotary(q) @ rotary(k).mT)[0, 0]
    for distance in (-7, 0, 1, 20):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)
    assert scores[0].std() > 0.1
    torch.testing.assert_close(rotary(q)[..., :1, :], q[..., :1, :])  # position 0 is not turned
    torch.testing.assert_close(rotary(q).norm(dim=-1), q.norm(dim=-1))
    assert rotary(q.bfloat16()).dtype == torch.bfloat16


def test_rotary_has_no_weights_of_its_own() -> None:
    attention = Attention(32, 4, causal=True, bias=False, dropout=0.0, rotary=Rotary(8, 16, 10000.0))
    assert set(attention.state_dict()) == {"qkv.weight", "output.weight"}


# Dropout.


def keyed(dropout: Dropout, key: int) -> Dropout:
    dropout.key.fill_(key)
    return dropout


def dropped(key: int, p: float, shape: tuple[int, ...] = (200, 1000)) -> Tensor:
    return (keyed(Dropout(p), key)(torch.ones(shape)) == 0).double()


KEYS = [0, 1, 2, 3, 1000, -1, 2**31 - 1, -(2**31), 0x5BD1E995, 305419896]


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_the_share_dropped_is_p_for_every_key(p: float) -> None:
    n = 200_000
    for key in KEYS:
        z = (dropped(key, p).sum().item() - n * p) / math.sqrt(n * p * (1 - p))
        assert abs(z) < 5, key


def test_what_is_kept_is_scaled_so_that_the_mean_stays() -> None:
    x = torch.rand(500, 400) + 1
    y = keyed(Dropout(0.2), 11)(x)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.8)
    assert y.mean().item() == pytest.approx(x.mean().item(), rel=0.01)
    assert keyed(Dropout(0.2), 11)(x.bfloat16()).dtype == torch.bfloat16


def test_masks_of_different_keys_are_unrelated() -> None:
    masks = torch.stack([dropped(key, 0.3).flatten() for key in KEYS])
    correlation = torch.corrcoef(masks) - torch.eye(len(KEYS))
    assert correlation.abs().max().item() < 5 / math.sqrt(masks.shape[1])


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_neighbouring_elements_are_dropped_independently(p: float) -> None:
    """Chi-square of how often k of 8 elements in a row, or in a column, are dropped, over several keys."""
    from scipy.stats import binom, chisquare

    for key in KEYS:
        mask = dropped(key, p, (512, 512))
        for runs in (mask.view(-1, 8), mask.T.reshape(-1, 8)):
            counts = torch.bincount(runs.sum(1).long(), minlength=9).double()
            expected = len(runs) * torch.tensor(binom.pmf(range(9), 8, p))
            rare = expected < 10
            counts = torch.cat((counts[~rare], counts[rare].sum()[None])) if rare.any() else counts
            expected = torch.cat((expected[~rare], expected[rare].sum()[None])) if rare.any() else expected
            assert chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-6, key
        for lag in (1, 2, 7, 64, 512, 4096):
            flat = mask.flatten()
            correlation = torch.corrcoef(torch.stack((flat[:-lag], flat[lag:])))[0, 1]
            assert abs(correlation.item()) < 5 / math.sqrt(len(flat)), (key, lag)


def test_every_step_seed_and_place_has_a_mask_of_its_own_and_the_same_again() -> None:
    model = nn.ModuleDict({"a": Dropout(0.5), "b": Dropout(0.5)})
    x = torch.ones(64, 64)

    def masks(seed: int, step: int) -> list[Tensor]:
        set_keys(model, seed, step)
        return [model["a"](x), model["b"](x)]

    distinct = [*masks(0, 0), *masks(0, 1), *masks(1, 0), *masks(0, 2**40)]
    for i, one in enumerate(distinct):
        assert not any(torch.equal(one, other) for other in distinct[:i])
    torch.manual_seed(123)
    torch.rand(7)
    assert all(torch.equal(one, other) for one, other in zip(masks(0, 0), distinct[:2], strict=True))


def test_dropout_draws_no_random_number_and_saves_no_state() -> None:
    before = torch.get_rng_state()
    dropout = Dropout(0.5)
    set_keys(dropout, 1, 2)
    dropout(torch.ones(10))
    assert torch.equal(torch.get_rng_state(), before)
    assert dropout.state_dict() == {}


def test_evaluation_and_zero_drop_nothing() -> None:
    x = torch.randn(5, 5)
    assert keyed(Dropout(0.5), 1).eval()(x) is x
    assert keyed(Dropout(0.0), 1)(x) is x


def test_gradients_flow_where_nothing_was_dropped() -> None:
    x = torch.randn(50, 50, requires_grad=True)
    y = keyed(Dropout(0.25), 8)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y != 0).float() / 0.75)


def test_a_pair_of_models_drops_the_same_elements() -> None:
    """Every Dropout of two models that differ in the activation: the same masks at the same step."""

    def masks(name: str) -> list[Tensor]:
        model = build(bert_section(dropout=0.3, activation=act(name)), VOCABULARY, LENGTH, 0).train()
        set_keys(model, 0, 7)
        found: list[Tensor] = []

        def note(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            found.append((output == 0) & (inputs[0] != 0))

        for module in model.modules():
            if isinstance(module, Dropout):
                module.register_forward_hook(note)
        model.encode(ids())
        return found

    pairs = list(zip(masks("gelu"), masks("raf"), strict=True))
    assert len(pairs) == 1 + 2 * 3
    for one, other in pairs:
        assert one.any()
        assert torch.equal(one, other)


def test_compiled_dropout_is_eager_dropout() -> None:
    torch.compiler.reset()
    dropout, x = Dropout(0.3), torch.randn(33, 65)
    compiled = torch.compile(dropout)
    for key in (0, 5, -77):
        keyed(dropout, key)
        assert torch.equal(compiled(x), dropout(x))
