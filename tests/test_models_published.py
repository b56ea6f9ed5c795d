"""The models are the published ones: equal to those of Hugging Face, number by number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from model_sections import CLOSE, LENGTH, VOCABULARY, act, bert_section, gpt_section, ids, randomized
from torch import Tensor, nn
from torch.nn import functional as F

from actbench.nn.bert import Bert, BertClassifier
from actbench.nn.gpt import Gpt
from actbench.nn.heads import Classifier

BOTH_GRADIENT_MODES = pytest.mark.parametrize("gradients", [False, True])  # the two ways to compute attention


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
        if hasattr(theirs.mlp, "experts"):
            _copy_experts(ours, theirs)
            continue
        _copy(ours.feed_forward.gate, theirs.mlp.gate_proj)
        _copy(ours.feed_forward.up, theirs.mlp.up_proj)
        _copy(ours.feed_forward.down, theirs.mlp.down_proj)
    model.final_norm.weight.copy_(reference.model.norm.weight)
    model.head.decoder.weight.copy_(reference.lm_head.weight)
    return model.eval()


def _copy_experts(ours: Any, theirs: Any) -> None:
    """OLMoE's: a router, experts, and norms of queries and keys."""
    ours.attention.query_norm.weight.copy_(theirs.self_attn.q_norm.weight)
    ours.attention.key_norm.weight.copy_(theirs.self_attn.k_norm.weight)
    ours.feed_forward.router.weight.copy_(theirs.mlp.gate.weight)
    gate, up = theirs.mlp.experts.gate_up_proj.chunk(2, dim=1)
    ours.feed_forward.gate.weight.copy_(gate)
    ours.feed_forward.up.weight.copy_(up)
    ours.feed_forward.down.weight.copy_(theirs.mlp.experts.down_proj)


SHAPES = [(1, 16, 2, 40), (2, 32, 4, 64), (3, 48, 3, 96)]  # layers, model width, heads, FFN width


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


@BOTH_GRADIENT_MODES
@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(4, 2), (4, 1), (6, 3), (4, 4)])
def test_grouped_query_attention_equals_hugging_faces(n_heads: int, n_kv_heads: int, gradients: bool) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=48, num_hidden_layers=2, num_attention_heads=n_heads,
        num_key_value_heads=n_kv_heads, intermediate_size=64, max_position_embeddings=LENGTH, rms_norm_eps=1e-5,
        tie_word_embeddings=False, hidden_act="silu",
    )  # fmt: skip
    reference = randomized(LlamaForCausalLM(config))
    section = gpt_section(
        d_model=48, n_heads=n_heads, n_kv_heads=n_kv_heads, d_ff=64, tie_embeddings=False, ffn_width="fixed",
        activation=act("swiglu"),
    )  # fmt: skip
    _assert_equal(llama_from(reference, Gpt(section, VOCABULARY, LENGTH)), reference, False, gradients)


@BOTH_GRADIENT_MODES
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_olmoe_equals_hugging_faces(n_kv_heads: int, normalize: bool, gradients: bool) -> None:
    """A mixture of experts, with queries and keys normalised over their whole width."""
    pytest.importorskip("transformers.models.olmoe")
    from transformers import OlmoeConfig, OlmoeForCausalLM

    config = OlmoeConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=n_kv_heads, intermediate_size=24, max_position_embeddings=LENGTH, num_experts=6,
        num_experts_per_tok=2, norm_topk_prob=normalize, tie_word_embeddings=False, pad_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    reference = randomized(OlmoeForCausalLM(config))
    section = gpt_section(
        n_kv_heads=n_kv_heads, qk_norm=True, d_ff=None, tie_embeddings=False, ffn_width="fixed",
        activation=act("swiglu"),
        moe={"experts": 6, "top_k": 2, "d_expert": 24, "normalize_top_k": normalize},
    )  # fmt: skip
    model = llama_from(reference, Gpt(section, VOCABULARY, LENGTH))
    _assert_equal(model, reference, False, gradients)


def _assert_equal(model: Gpt, reference: Any, tied: bool, gradients: bool) -> None:
    tokens, targets = ids(), ids(seed=2)
    with torch.set_grad_enabled(gradients):
        theirs = reference(tokens, output_hidden_states=True)
        torch.testing.assert_close(model.encode(tokens), theirs.hidden_states[-1], **CLOSE)
        torch.testing.assert_close(model.logits(tokens), theirs.logits, **CLOSE)
        loss = F.cross_entropy(theirs.logits.flatten(0, 1), targets.flatten())
        torch.testing.assert_close(model(tokens, targets), loss, **CLOSE)
    assert (model.head.decoder.weight is model.tokens.weight) is tied
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in reference.parameters())
