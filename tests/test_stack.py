"""Models side by side: each computes and learns what it would alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from model_sections import LENGTH, VOCABULARY, act, bert_section, ids, randomized
from torch import Tensor, nn

from actbench.nn.bert import Bert, BertClassifier
from actbench.nn.dropout import set_keys
from actbench.nn.heads import Classifier
from actbench.nn.padding import Padding, group_sizes
from actbench.nn.stack import Stack

TIGHT = {"rtol": 1e-5, "atol": 1e-6}  # products of other shapes may round differently


def classifier(seed: int, **changes: Any) -> BertClassifier:
    section = bert_section(**{"dropout": 0.3, **changes})
    model = randomized(BertClassifier(Bert(section, VOCABULARY, LENGTH), Classifier(32, 2, 0.3)), seed).train()
    set_keys(model, seed, 5)
    return model


def batch(lengths: list[int], seed: int) -> dict[str, Tensor]:
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    tokens = ids(len(lengths), max(lengths), seed)
    segments = (torch.arange(max(lengths)) > 3).long().expand_as(tokens)
    return {"tokens": tokens, "segments": segments, "attention": real}


BATCHES = [batch([9, 4, 7], 1), batch([17, 17], 2), batch([3, 12, 2, 5], 3)]


def learnt(model: nn.Module, outputs: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(outputs.square().sum(), list(model.parameters()), allow_unused=True, retain_graph=True)
    return [gradient for gradient in found if gradient is not None]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"activation": act("raf")},
        {"activation": act("poly_norm_glu"), "norm_placement": "pre"},
        {"norm_placement": "deepnet", "dropout": 0.0},
    ],
    ids=["gelu", "raf", "gated", "deepnet"],
)
def test_stacked_models_compute_what_each_does_alone_with_its_own_dropout(changes: dict[str, Any]) -> None:
    models = [classifier(seed, **changes) for seed in range(3)]
    stacked = Stack(models)(BATCHES)
    for model, ours, own in zip(models, stacked, BATCHES, strict=True):
        alone = model(**own)
        torch.testing.assert_close(ours, alone, **TIGHT)
        for one, other in zip(learnt(model, ours), learnt(model, alone), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_what_breaks_in_one_model_does_not_reach_the_others(broken: int) -> None:
    models = [classifier(seed, activation=act("raf")) for seed in range(3)]
    with torch.no_grad():
        models[broken].encoder.layers[0].feed_forward.up.weight.fill_(float("nan"))
    outputs = Stack(models)(BATCHES)
    assert outputs[broken].isnan().all()
    torch.stack([each.square().sum() for each in outputs]).sum().backward()
    for number, (model, own) in enumerate(zip(models, BATCHES, strict=True)):
        if number == broken:
            continue
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        expected = learnt(model, model(**own))
        assert all(gradient.isfinite().all() for gradient in gradients) and len(gradients) == len(expected)
        for ours, alone in zip(gradients, expected, strict=True):
            torch.testing.assert_close(ours, alone, rtol=1e-4, atol=1e-4 * alone.abs().max().item())


def test_a_stack_has_its_models_weights_and_no_others() -> None:
    models = [classifier(seed) for seed in range(2)]
    stack = Stack(models)
    assert set(stack.parameters()) == {p for model in models for p in model.parameters()}
    assert stack.eval().joint.encoder.dropout.training is False


# Dropout and groups.


def test_dropout_does_not_depend_on_how_far_a_batch_is_padded() -> None:
    model, own = classifier(0), BATCHES[0]
    longer = {key: nn.functional.pad(value, (0, 6)) for key, value in own.items()}
    torch.testing.assert_close(model(**longer), model(**own), **TIGHT)


def test_groups_of_similar_length_change_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    model, own = classifier(0), batch([20, 19, 9, 8, 8, 2], 4)
    whole = model(**own)
    monkeypatch.setattr("actbench.nn.padding.WORTH", 1)
    monkeypatch.setattr("actbench.nn.padding.GROUPED", 1)
    assert len(Padding(own["attention"], LENGTH).groups) > 2
    torch.testing.assert_close(model(**own), whole, **TIGHT)
    for one, other in zip(learnt(model, model(**own)), learnt(model, whole), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


def test_a_group_more_must_be_worth_it() -> None:
    assert group_sizes([128] * 16 + [40] * 16) == [16, 16]
    assert group_sizes([40] * 16 + [128] * 16) == [16, 16]
    assert group_sizes([128, 40] * 16 + [128]) == [33], "only neighbours make a group"
    assert group_sizes([16] * 16 + [8] * 16) == [32], "too little to spare"
    assert group_sizes([128] * 10 + [40] * 22) == [16, 16], "groups of other sizes would be products of other shapes"
    assert group_sizes([128]) == [1]


@pytest.mark.parametrize("name", ["gelu", "raf", "poly_norm"])
def test_rows_that_stand_for_no_token_change_nothing(name: str) -> None:
    model, own = classifier(0, activation=act(name)), BATCHES[0]
    rows: list[int] = []
    model.encoder.layers[0].feed_forward.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    (ours,), alone = Stack([model])([own]), model(**own)
    assert rows == [64, 9 + 4 + 7]
    torch.testing.assert_close(ours, alone, **TIGHT)
    for one, other in zip(learnt(model, ours), learnt(model, alone), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * other.abs().max().item())


def test_a_group_may_be_wider_than_the_longest_sequence_of_a_model() -> None:
    length = 21
    section = bert_section(dropout=0.0)
    model = randomized(BertClassifier(Bert(section, VOCABULARY, length), Classifier(32, 2, 0.0)), 0)
    own = batch([length, length, 3], 5)
    assert Padding(own["attention"], length).groups[0].real.shape == (3, 24)
    one_by_one = torch.cat([model(**batch_of(own, number)) for number in range(3)])
    torch.testing.assert_close(model(**own), one_by_one, **TIGHT)


def batch_of(own: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    """One sequence of a batch, without padding."""
    count = int(own["attention"][number].sum())
    return {key: value[number : number + 1, :count] for key, value in own.items()}


def test_hidden_states_are_put_back_without_rows_that_stand_for_no_token() -> None:
    real = BATCHES[2]["attention"]
    padding = Padding(real, LENGTH, filled=True)
    x = torch.randn(64, 3)
    restored = padding.restore(x)
    torch.testing.assert_close(restored[real], x[: int(real.sum())], rtol=0, atol=0)
    assert not restored[~real].any()


def test_batches_of_all_kinds_of_lengths_have_products_of_few_shapes() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, groups = set(), set()
    for _ in range(100):
        lengths = torch.randint(20, 129, (32,), generator=generator).sort(descending=True).values
        padding = Padding(torch.arange(128) < lengths[:, None], 128, filled=True)
        rows.add(len(padding.positions))
        groups |= {tuple(group.real.shape) for group in padding.groups}
    assert len(rows) < 20 and len(groups) < 20, "100 batches would have some 90 numbers of tokens, and more groups"
