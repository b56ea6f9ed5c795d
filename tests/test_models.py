"""What a position sees, where the head works, and how attention and blocks are computed."""

from __future__ import annotations

import math

import pytest
import torch
from model_sections import CLOSE, LENGTH, VOCABULARY, bert_section, gpt_section, ids, randomized
from torch import nn
from torch.nn import functional as F

from actbench.bench.training_step import random_batch
from actbench.nn.attention import Attention, Rotary, attend
from actbench.nn.bert import Bert
from actbench.nn.build import build
from actbench.nn.dropout import Dropout, set_keys
from actbench.nn.gpt import Gpt

BOTH_GRADIENT_MODES = pytest.mark.parametrize("gradients", [False, True])  # the two ways to compute attention


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


def test_a_padded_batch_is_as_each_of_its_texts_alone() -> None:
    model = randomized(Bert(bert_section(), VOCABULARY, LENGTH))
    tokens, lengths = ids(), (17, 9, 1)
    real = torch.arange(17) < torch.tensor(lengths)[:, None]
    segments = (torch.arange(17) >= 7).long().expand_as(tokens)
    upstream = torch.randn(3, 17, 32, generator=torch.Generator().manual_seed(6))
    learnt = [p for name, p in model.named_parameters() if not name.startswith(("head", "pooler"))]
    together = model.encode(tokens, segments, real)
    alone = [model.encode(tokens[i : i + 1, :n], segments[i : i + 1, :n]) for i, n in enumerate(lengths)]
    torch.testing.assert_close(together[real], torch.cat(alone, dim=1)[0], **CLOSE)
    gradients = torch.autograd.grad((together * upstream)[real].sum(), learnt)
    expected = torch.autograd.grad(sum((x * upstream[i, : x.shape[1]]).sum() for i, x in enumerate(alone)), learnt)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


# What nobody asks for is not computed.


def test_nothing_but_attention_works_on_padding() -> None:
    model = randomized(Bert(bert_section(), VOCABULARY, LENGTH))
    rows: list[int] = []
    for module in model.layers.modules():
        if isinstance(module, nn.Linear | nn.LayerNorm):
            module.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0][..., 0].numel()))
    model.encode(ids(), None, torch.arange(17) < torch.tensor([[17], [9], [1]]))
    assert len(rows) == 2 * 6 and set(rows) == {17 + 9 + 1}


@pytest.mark.parametrize("placement", ["post", "deepnet", "pre"])
def test_positions_alone_are_what_they_are_among_all(placement: str) -> None:
    model = randomized(Bert(bert_section(norm_placement=placement), VOCABULARY, LENGTH))
    tokens, real = ids(), torch.arange(17) < torch.tensor([[17], [9], [12]])
    at = torch.tensor([[0, 3, 16], [8, 1, 2], [5, 4, 11]])
    rows = torch.arange(3)[:, None]
    upstream = torch.randn(3, 3, 32, generator=torch.Generator().manual_seed(6))
    alone = model.encode(tokens, None, real, at)
    torch.testing.assert_close(alone, model.encode(tokens, None, real)[rows, at], **CLOSE)
    learnt = [p for name, p in model.named_parameters() if not name.startswith(("head", "pooler"))]
    gradients = torch.autograd.grad((alone * upstream).sum(), learnt)
    expected = torch.autograd.grad((model.encode(tokens, None, real)[rows, at] * upstream).sum(), learnt)
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)


def test_the_last_block_and_the_head_see_the_masked_positions_and_no_others() -> None:
    model = randomized(Bert(bert_section(), VOCABULARY, LENGTH))
    tokens = ids()
    masked, targets = torch.tensor([[3, 16], [0, 5], [6, 16]]), torch.tensor([[5, 6], [7, 8], [9, 5]])
    seen: dict[str, tuple[int, ...]] = {}
    watched = {"first": model.layers[0].feed_forward, "last": model.layers[-1].feed_forward, "head": model.head}
    for name, module in watched.items():
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0].shape[:-1]}))
    loss = model(tokens, masked, targets)
    assert seen == {"first": (3, 17), "last": (3, 2), "head": (6,)}
    full = model.logits(tokens)[torch.arange(3)[:, None], masked]
    torch.testing.assert_close(loss, F.cross_entropy(full.flatten(0, 1), targets.flatten()), **CLOSE)


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
    dropout = Dropout(0.5)
    dropout.key.fill_(3)
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


# What is computed anew.


@pytest.mark.parametrize("family", [Bert, Gpt])
def test_blocks_computed_anew_give_the_same_bits_and_keep_less(family: type[Bert] | type[Gpt]) -> None:
    """With dropout, and an activation that draws from torch's generator."""

    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.rand_like(x)

    def trained(anew: bool) -> tuple[torch.Tensor, list[torch.Tensor | None], int]:
        section = bert_section(dropout=0.2) if family is Bert else gpt_section(dropout=0.2)
        model = build(section, VOCABULARY, LENGTH, 0).train()
        model.recompute = anew
        model.layers[0].feed_forward.activation = Noisy()
        set_keys(model, 0, 1)
        torch.manual_seed(3)
        kept = 0

        def note(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = model(**random_batch(section, 4, LENGTH, VOCABULARY))
        loss.backward()
        return loss, [parameter.grad for parameter in model.parameters()], kept

    (loss, gradients, kept), (same, others, fewer) = trained(False), trained(True)
    assert torch.equal(loss, same) and fewer < kept / 3
    assert all(torch.equal(a, b) if a is not None else b is None for a, b in zip(gradients, others, strict=True))
