"""A mixture of experts is what a loop over experts makes of it, and its router is evened out but not reported."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
import torch
from model_sections import LENGTH, VOCABULARY, act, gpt_section, ids, randomized
from torch import Tensor
from torch.nn import functional as F

from actbench.bench.tricks.plain import LoopOverExperts
from actbench.config.moe import MoeSection
from actbench.nn import grouped
from actbench.nn.build import activation_slots, build, slot_widths
from actbench.nn.experts import EachExpertsOwn, MixtureOfExperts
from actbench.nn.router import Router, RouterWatch, decided, losses, with_router_losses
from actbench.training.activation_record import sample_inputs
from actbench.training.optimizer import parameter_groups

KINDS = [("swiglu", "layer"), ("gelu", "layer"), ("poly_norm", "layer"), ("poly_norm", "expert"), ("swiglu", "expert")]


def moe(**changes: Any) -> MoeSection:
    return MoeSection(**{"experts": 6, "top_k": 2, "d_expert": 24, **changes})


def moe_gpt(**changes: Any) -> Any:
    return gpt_section(**{"d_ff": None, "moe": moe(), **changes})


def block(name: str = "poly_norm", **changes: Any) -> MixtureOfExperts:
    made: MixtureOfExperts = randomized(MixtureOfExperts(32, 24, act(name), moe(**changes)))
    return made


def rows(count: int = 40, seed: int = 2) -> Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def by_a_loop(layer: MixtureOfExperts, x: Tensor, *, normalize: bool = False) -> Tensor:
    """Expert after expert: the tokens that go to it, through its two or three matrices, added up by their weights."""
    weights, chosen = F.softmax(x @ layer.router.weight.T, dim=-1).topk(layer.router.top_k, dim=-1)
    if normalize:
        weights = weights / weights.sum(-1, keepdim=True)
    y = torch.zeros_like(x)
    for expert in range(layer.router.out_features):
        token, place = (chosen == expert).nonzero(as_tuple=True)
        own = layer.activation
        activation = own.experts[expert] if isinstance(own, EachExpertsOwn) else own
        inputs = [x[token] @ each.weight[expert].T for each in (layer.gate, layer.up) if each is not None]
        out = activation.compute(*inputs) @ layer.down.weight[expert].T
        y = y.index_add(0, token, out * weights[token, place, None])
    return y


def assert_same(ours: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    upstream = torch.randn(ours.shape, generator=torch.Generator().manual_seed(3))
    gradients = (torch.autograd.grad((y * upstream).sum(), inputs, allow_unused=True) for y in (ours, expected))
    for one, other in zip(*gradients, strict=True):
        other = torch.zeros_like(one) if other is None else other
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6 * max(1.0, other.abs().max().item()))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("name", "sharing"), KINDS)
def test_values_and_gradients_are_those_of_a_loop_over_experts(name: str, sharing: str, normalize: bool) -> None:
    layer, x = block(name, activation_sharing=sharing, normalize_top_k=normalize), rows()
    assert_same(layer(x), by_a_loop(layer, x, normalize=normalize), [x, *layer.parameters()])


@pytest.mark.parametrize(("experts", "top_k"), [(1, 1), (3, 3), (5, 1), (64, 2)])
def test_there_may_be_any_number_of_experts_and_some_that_serve_none(experts: int, top_k: int) -> None:
    for sharing in ("layer", "expert"):
        layer, x = block("poly_norm", experts=experts, top_k=top_k, activation_sharing=sharing), rows(7)
        assert_same(layer(x), by_a_loop(layer, x), [x, *layer.parameters()])


def test_a_mixture_is_faster_than_a_loop_over_its_experts() -> None:
    """Twice and more where there are many of them (docs/log.md); in the time of one thread, which others slow alike."""
    sorted_rows = MixtureOfExperts(128, 96, act("poly_norm"), MoeSection(experts=64, top_k=8, d_expert=96))
    sides: dict[str, MixtureOfExperts] = {"ours": randomized(sorted_rows), "loop": copy.deepcopy(sorted_rows)}
    sides["loop"].__class__ = LoopOverExperts
    x, seconds = torch.randn(2048, 128), {name: [] for name in sides}
    for _ in range(6):
        for name, side in sides.items():
            began = time.thread_time()
            side(x).square().mean().backward()
            seconds[name].append(time.thread_time() - began)
    assert 1.2 * min(seconds["ours"]) < min(seconds["loop"])


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="this torch multiplies no groups at once")
def test_torchs_own_kernel_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for GPUs; where there is none, it is tried on the CPU."""
    layer, x = block("swiglu"), rows()
    by_loop = layer(x)
    expected = torch.autograd.grad(by_loop.square().sum(), [x, *layer.parameters()])
    monkeypatch.setattr(grouped, "_has_kernel", lambda *_: True)
    at_once = layer(x)
    torch.testing.assert_close(at_once, by_loop)
    for one, other in zip(torch.autograd.grad(at_once.square().sum(), [x, *layer.parameters()]), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_an_expert_without_rows_gets_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch's kernel leaves unwritten what an empty group adds up to."""

    def unwritten(a: Tensor, b: Tensor, offs: Tensor) -> Tensor:
        return torch.full((len(offs), a.shape[0], b.shape[1]) if b.ndim == 2 else (len(a), b.shape[2]), torch.nan)

    monkeypatch.setattr(F, "grouped_mm", unwritten, raising=False)
    monkeypatch.setattr(grouped, "_has_kernel", lambda *_: True)
    weight = torch.randn(4, 8, 32)
    _, by_weight = grouped.grouped_linear_gradients(
        torch.randn(5, 8), torch.randn(5, 32), weight, torch.tensor([0, 3, 3, 5])
    )
    assert by_weight.isnan().flatten(1).all(1).tolist() == [False, True, False, True]
    assert (by_weight[[0, 2]] == 0).all()


@pytest.mark.parametrize(
    "counts",
    [[100, 30, 0, 70], [0, 0, 0, 200], [1, 1, 1, 1], [64, 128, 8, 0], [190, 3, 5, 2], [0, 1, 199, 0], [3, 60, 60, 77]],
)
def test_products_in_bf16_take_in_round_numbers_of_rows(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, where a product's shape costs more than it: and what they take in of others' rows shows nowhere."""
    generator = torch.Generator().manual_seed(4)
    x, grad = torch.randn(sum(counts), 32, generator=generator), torch.randn(sum(counts), 24, generator=generator)
    weight, ends = torch.randn(4, 24, 32, generator=generator), torch.tensor(counts).cumsum(0)
    parts = list(zip(x.split(counts), grad.split(counts), weight, strict=True))
    expected = (
        torch.cat([own @ matrix.T for own, _, matrix in parts]),
        torch.cat([own @ matrix for _, own, matrix in parts]),
        torch.stack([own.T @ rows for rows, own, _ in parts]),
    )
    met, mm = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b, **out: (met.append((*a.shape, b.shape[1])), mm(a, b, **out))[1])
    x, grad, weight = (each.bfloat16() for each in (x, grad, weight))
    found = grouped.grouped_linear(x, weight, ends), *grouped.grouped_linear_gradients(grad, x, weight, ends)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.float(), theirs, rtol=2e-2, atol=0.15)
    took = {size for shape in met for size in shape} - {24, 32}
    assert took <= {0, 64, 128, 192, sum(counts)}, met


def test_a_normalisation_sees_the_row_of_one_token_in_one_expert() -> None:
    layer, x = block("poly_norm"), rows()
    seen: list[torch.Size] = []
    layer.activation.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    torch.testing.assert_close(layer(x)[3:5], layer(x[3:5]), rtol=1e-5, atol=1e-6)  # whichever tokens are beside it
    assert seen == [(80, 24), (4, 24)]


def test_low_precision_changes_matrix_products_alone() -> None:
    layer, x = block("swiglu"), rows()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        choice = layer.router(x)
    full = layer(x)
    assert choice.logits.dtype == y.dtype == torch.float32
    assert torch.equal(choice.experts, layer.router(x).experts)
    assert 0 < (y - full).abs().max() < 0.05 * full.abs().max()


def test_the_compiler_makes_one_graph_that_serves_every_routing() -> None:
    layer = block("poly_norm").train()
    graphs: list[Any] = []

    def count(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(layer, backend=count, fullgraph=True, dynamic=False)
    for seed in (2, 3, 4):
        torch.testing.assert_close(compiled(rows(seed=seed)), layer(rows(seed=seed)))
        assert layer.router.decided is not None and layer.router.decided.router_z.requires_grad
    assert len(graphs) == 1


# The router's losses.


def test_the_losses_are_those_that_are_published() -> None:
    even = torch.zeros(8, 4)
    chosen = torch.arange(8)[:, None] % 4
    load_balance, z = losses(decided(even, even.softmax(-1), chosen))
    torch.testing.assert_close(load_balance, torch.tensor(1.0))
    torch.testing.assert_close(z, torch.tensor(4.0).log().square())
    one_alone = torch.tensor([[20.0, 0.0, 0.0, 0.0]]).expand(8, 4)
    assert losses(decided(one_alone, one_alone.softmax(-1), chosen * 0)).load_balance == pytest.approx(4.0, rel=1e-4)


def test_load_balance_is_hugging_faces_by_the_number_of_choices() -> None:
    olmoe = pytest.importorskip("transformers.models.olmoe.modeling_olmoe")
    logits = torch.randn(30, 6, generator=torch.Generator().manual_seed(4))
    probabilities = logits.softmax(-1)
    ours = losses(decided(logits, probabilities, probabilities.topk(2).indices)).load_balance
    torch.testing.assert_close(2 * ours, olmoe.load_balancing_loss_func((logits,), 6, 2))


def test_training_minimises_the_routers_losses_and_reports_them_apart() -> None:
    section = moe_gpt(moe=moe(load_balance=0.5, router_z=0.25))
    model = build(section, VOCABULARY, LENGTH, 0)
    tokens = ids()
    nats = model(tokens, tokens)
    total, apart = with_router_losses(nats, model)
    assert apart is not None and apart.load_balance >= 1 and apart.router_z > 0
    torch.testing.assert_close(total, nats + 0.5 * apart.load_balance + 0.25 * apart.router_z)
    total.backward()
    trained = model.layers[0].feed_forward.router.weight.grad.clone()
    model.zero_grad()
    model(tokens, tokens).backward()
    assert not torch.allclose(trained, model.layers[0].feed_forward.router.weight.grad)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(tokens, tokens), nats)
    dense = build(gpt_section(), VOCABULARY, LENGTH, 0)
    loss = dense(tokens, tokens)
    assert with_router_losses(loss, dense) == (loss, None)


def test_what_routers_decide_is_summed_over_batches() -> None:
    model = build(moe_gpt(), VOCABULARY, LENGTH, 0).eval()
    batches = [ids(seed=1), ids(batch=2, seed=2)]
    with RouterWatch(model) as watch, torch.no_grad():
        for batch in batches:
            model(batch, batch)
    told, overall = watch.by_layer(), watch.overall()
    assert list(told) == ["layers.0", "layers.1"]
    with RouterWatch(model) as again, torch.no_grad():
        model(torch.cat(batches), torch.cat(batches))
    for layer, other in zip(told.values(), again.by_layer().values(), strict=True):
        assert sum(layer["load"]) == pytest.approx(1) and layer["dropped_tokens"] == 0
        assert layer["load"] == pytest.approx(other["load"]) and layer["router_z"] == pytest.approx(other["router_z"])
        assert layer["load_balance"] == pytest.approx(other["load_balance"])
        assert 0 < layer["router_entropy"] < torch.tensor(6.0).log()
    assert overall["busiest_expert"] == pytest.approx(6 * max(max(layer["load"]) for layer in told.values()))
    model(batches[0], batches[0])  # it looks no more
    assert watch.by_layer() == told


# Pairs and slots.


def test_another_activation_leaves_routers_and_all_other_weights_alone() -> None:
    plain, other, gated = (
        build(moe_gpt(activation=act(name)), VOCABULARY, LENGTH, 5).state_dict()
        for name in ("gelu", "poly_norm", "swiglu")
    )
    assert set(plain) <= set(other) and all(torch.equal(plain[key], other[key]) for key in plain)
    alike = [key for key in plain if plain[key].shape == gated[key].shape]
    assert "layers.1.feed_forward.router.weight" in alike
    assert all(torch.equal(plain[key], gated[key]) for key in alike)


def test_every_expert_starts_by_itself_and_stays_the_same_among_more() -> None:
    few, many = (build(moe_gpt(moe=moe(experts=n)), VOCABULARY, LENGTH, 5) for n in (3, 6))
    for name in ("up", "down"):
        weights = getattr(many.layers[1].feed_forward, name).weight
        assert torch.equal(getattr(few.layers[1].feed_forward, name).weight, weights[:3])
        assert not any(torch.allclose(weights[i], weights[i + 1]) for i in range(5))


def test_outputs_of_experts_start_smaller_unless_the_recipe_says_otherwise() -> None:
    wide = {"d_model": 256, "moe": moe(d_expert=128)}
    for said, factor in (("scaled", 0.5), ("same", 1.0)):  # sqrt(2 N) = 2
        model = build(moe_gpt(**wide, init_outputs=said), VOCABULARY, LENGTH, 0)
        layer = model.layers[0]
        for tensor in (layer.feed_forward.down.weight, layer.attention.output.weight):
            assert tensor.std().item() == pytest.approx(0.02 * factor, rel=0.02)
        for tensor in (layer.feed_forward.up.weight, layer.feed_forward.router.weight, layer.attention.qkv.weight):
            assert tensor.std().item() == pytest.approx(0.02, rel=0.06)


def test_an_experts_own_coefficients_have_a_slot_and_learn_as_their_layers() -> None:
    from actbench.config.schema import OptimizerSection

    shared = build(moe_gpt(activation=act("poly_norm")), VOCABULARY, LENGTH, 0)
    assert list(activation_slots(shared)) == ["layers.0", "layers.1"]
    own = build(moe_gpt(activation=act("poly_norm"), moe=moe(activation_sharing="expert")), VOCABULARY, LENGTH, 0)
    assert list(activation_slots(own)) == [f"layers.{i}.expert.{e}" for i in range(2) for e in range(6)]
    assert set(slot_widths(own).values()) == {24}
    section = OptimizerSection(activation_overrides=[{"layers": "1", "lr": 0.5}])
    groups = {group["name"]: len(group["params"]) for group in parameter_groups(own, section)}
    assert groups["activation of layer 0"] == groups["activation of layer 1"] == 12
    batch = {"tokens": ids(1, 2), "targets": ids(1, 2)}  # two tokens cannot reach all experts
    samples = sample_inputs(own, batch, torch.autocast("cpu", enabled=False))
    assert 0 < len(samples) < 12 and all(len(sample) for sample in samples.values())


def test_a_router_is_a_matrix_of_the_optimiser() -> None:
    from actbench.config.schema import OptimizerSection

    model = build(moe_gpt(), VOCABULARY, LENGTH, 0)
    matrices = {id(p) for p in parameter_groups(model, OptimizerSection())[0]["params"]}
    assert all(id(m.weight) in matrices for m in model.modules() if isinstance(m, Router | grouped.ExpertLinear))
