"""Similarity and activity of models made for it: constructed states, units that are dead, gradients by autograd."""

from __future__ import annotations

import math

import pytest
import torch

from actbench.config.activation import ActivationSpec
from actbench.config.schema import BertSection, GptSection
from actbench.evaluation.activity import REACH, activity
from actbench.evaluation.similarity import cosines, layer_similarity
from actbench.nn.bert import Bert
from actbench.nn.build import build
from actbench.nn.gpt import Gpt

VOCABULARY, LENGTH = 64, 8


def gpt(activation: str = "relu", layout: str = "gpt2") -> Gpt:
    spec = ActivationSpec(name=activation)
    section = GptSection(family="gpt", layout=layout, n_layers=2, d_model=16, n_heads=2, d_ff=40, activation=spec)
    model = build(section, VOCABULARY, LENGTH, seed=0)
    assert isinstance(model, Gpt)
    return model


def batches(count: int = 2, rows: int = 4) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(VOCABULARY, (count, 2, rows, LENGTH), generator=generator)
    return [{"tokens": tokens, "targets": targets} for tokens, targets in drawn]


def test_the_cosines_of_constructed_states() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    turned = torch.tensor([[0.0, 5.0], [3.0, 0.0]])
    halfway = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    half = 1 / math.sqrt(2)
    expected = [
        [1, 1, -1, 0, half],
        [1, 1, -1, 0, half],
        [-1, -1, 1, 0, -half],
        [0, 0, 0, 1, half],
        [half, half, -half, half, 1],
    ]
    found = cosines(torch.stack([x, 3 * x, -x, turned, halfway]))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@torch.no_grad()
def test_blocks_that_add_nothing_leave_states_as_they_are() -> None:
    model = gpt()
    assert layer_similarity(model, batches())[0][1] < 0.9999
    for layer in model.layers:
        for linear in (layer.attention.output, layer.feed_forward.down):
            linear.weight.zero_()
            linear.bias.zero_()
    torch.testing.assert_close(torch.tensor(layer_similarity(model, batches())), torch.ones(3, 3))


def test_all_tokens_count_the_same_however_they_are_cut() -> None:
    model, (a, b) = gpt("gelu"), batches()
    together = {key: torch.cat([a[key], b[key][:1]]) for key in a}
    apart = layer_similarity(model, [a, {key: value[:1] for key, value in b.items()}])
    torch.testing.assert_close(torch.tensor(layer_similarity(model, [together])), torch.tensor(apart))


def test_documents_that_are_kept_apart_are_so_here() -> None:
    model = gpt("gelu")
    tokens = batches(1)[0]["tokens"]
    documents = (torch.arange(LENGTH) >= 3).long().expand_as(tokens)
    apart = {"tokens": tokens, "documents": documents}
    assert layer_similarity(model, [{"tokens": tokens}]) != layer_similarity(model, [apart])
    first = layer_similarity(model, [{"tokens": tokens[:, :3]}])
    alone = layer_similarity(model, [{"tokens": tokens[:, :3], "documents": documents[:, :3]}])
    torch.testing.assert_close(torch.tensor(first), torch.tensor(alone))


def test_all_positions_of_a_bert_are_compared() -> None:
    section = BertSection(family="bert", n_layers=2, d_model=16, n_heads=2, d_ff=40)
    model = build(section, VOCABULARY, LENGTH, seed=0)
    assert isinstance(model, Bert)
    found = torch.tensor(layer_similarity(model, batches()))
    assert found.shape == (3, 3)
    torch.testing.assert_close(found.diagonal(), torch.ones(3))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_units_that_never_act_are_dead_and_others_are_not(activation: str) -> None:
    model = gpt(activation)
    first, second = (layer.feed_forward for layer in model.layers)
    with torch.no_grad():
        first.up.bias[:7] = -1e3  # never on
        second.up.weight[:5].zero_()
        second.up.bias[:5] = 1e-6  # always on, with next to no output
        second.down.weight[:, 5] = 0.0  # no gradient, but an output
        second.up.weight[6].zero_()
        second.up.bias[6] = 0.0  # no output; a gradient where the function is smooth
    slots = activity(model, batches())["slots"]
    assert slots["layers.0"]["dead_share"] == 7 / 40
    assert slots["layers.0"]["weak_share"] == 7 / 40, "what is dead is weak"
    assert slots["layers.1"]["dead_share"] == (1 / 40 if activation == "relu" else 0)
    assert slots["layers.1"]["weak_share"] == 6 / 40
    assert slots["layers.0"]["rows"] == 2 * 4 * LENGTH and slots["layers.0"]["units"] == 40
    assert slots["layers.0"]["zero_share"] >= 7 / 40


def test_a_unit_that_acts_once_is_not_dead() -> None:
    model, found = gpt(), batches()
    up = model.layers[0].feed_forward.up
    with torch.no_grad():
        up.bias.fill_(-1e3)
    assert activity(model, found)["slots"]["layers.0"]["dead_share"] == 1

    def once(module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[0, 0, 3] = 1.0
        return output

    hook = up.register_forward_hook(once)
    assert activity(model, found)["slots"]["layers.0"]["dead_share"] == 39 / 40
    hook.remove()


def test_gradient_norms_are_those_of_the_mean_loss() -> None:
    model, found = gpt("poly_relu"), batches()
    norms = activity(model, found)["gradient_norms"]
    assert all(parameter.grad is None for parameter in model.parameters()), "nothing is left behind"
    model.zero_grad()
    torch.stack([model(**batch) for batch in found]).mean().backward()
    for i, layer in enumerate(model.layers):
        for key, part in (("block", layer), ("feed_forward", layer.feed_forward), ("attention", layer.attention)):
            grads = torch.cat([p.grad.flatten() for p in part.parameters() if p.grad is not None])
            assert norms[f"layers.{i}"][key] == pytest.approx(grads.norm().item(), rel=1e-4)


@pytest.mark.parametrize("activation", ["swiglu", "poly_norm", "raf"])
def test_histograms_hold_every_value(activation: str) -> None:
    model, found = gpt(activation, "llama"), batches()
    seen: list[torch.Tensor] = []
    feed_forward = model.layers[0].feed_forward
    watched = feed_forward.gate or feed_forward.up
    with torch.no_grad():
        watched.weight.mul_(40)
    hook = watched.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().clone()))
    facts = activity(model, found)["slots"]["layers.0"]["inputs"]
    hook.remove()
    values = torch.cat(seen).flatten()
    assert facts["below"] == pytest.approx((values < -REACH).double().mean().item())
    assert facts["above"] == pytest.approx((values >= REACH).double().mean().item())
    assert facts["below"] + facts["above"] > 0
    assert sum(facts["fractions"]) + facts["below"] + facts["above"] == pytest.approx(1)
    assert facts["mean"] == pytest.approx(values.mean().item(), abs=1e-5)
    assert facts["sd"] == pytest.approx(values.std(correction=0).item(), rel=1e-5)


def moe(sharing: str) -> Gpt:
    spec = ActivationSpec(name="poly_relu")
    experts = {"experts": 3, "top_k": 2, "d_expert": 12, "activation_sharing": sharing}
    section = GptSection(family="gpt", n_layers=2, d_model=16, n_heads=2, moe=experts, activation=spec)
    model = build(section, VOCABULARY, LENGTH, seed=0)
    assert isinstance(model, Gpt)
    return model


def test_experts_of_their_own_are_told_as_one_layer() -> None:
    """The same functions in every expert: what does not speak of units is as if they were one."""
    shared, own = (activity(moe(sharing), batches())["slots"] for sharing in ("layer", "expert"))
    assert list(shared) == list(own) == ["layers.0", "layers.1"]
    for slot, facts in own.items():
        assert (facts["rows"], facts["units"]) == (shared[slot]["rows"], 12) == (2 * 4 * LENGTH * 2, 12)
        assert facts["zero_share"] == pytest.approx(shared[slot]["zero_share"])
        for side in ("inputs", "outputs"):
            for key, value in shared[slot][side].items():
                assert facts[side][key] == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_a_merged_share_counts_rows() -> None:
    """One expert's units are all dead: the layer's share of dead ones is that expert's share of the rows."""
    model = moe("expert")
    block = model.layers[0].feed_forward
    rows: list[list[int]] = []
    hook = block.activation.register_forward_hook(
        lambda module, inputs, output: rows.append(inputs[0].diff(prepend=inputs[0].new_zeros(1)).tolist())
    )
    with torch.no_grad():
        for parameter in block.activation.experts[0].parameters():
            parameter.zero_()
    found = activity(model, batches())["slots"]["layers.0"]
    hook.remove()
    first, *others = (sum(numbers) for numbers in zip(*rows, strict=True))
    assert 0 < first < first + sum(others) == found["rows"]
    assert found["dead_share"] == pytest.approx(first / found["rows"])
