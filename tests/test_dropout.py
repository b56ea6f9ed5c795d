"""What is dropped is a function of seed, step and place alone, and as random as it should be."""

from __future__ import annotations

import math

import pytest
import torch
from model_sections import LENGTH, VOCABULARY, act, bert_section, gpt_section, ids
from torch import Tensor, nn

from actbench.nn.build import build
from actbench.nn.dropout import Dropout, _named, set_keys, set_part


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


@pytest.mark.parametrize("part", [0, 1, 3])
def test_a_part_of_a_batch_is_dropped_as_in_the_whole(part: int) -> None:
    x, model = torch.rand(8, 3, 5, requires_grad=True), nn.Sequential(Dropout(0.5))
    set_keys(model, 0, 1)
    whole = model(x)
    set_part(model, part)
    rows = slice(2 * part, 2 * part + 2)
    for dropout in (model, torch.compile(model, backend="aot_eager")):
        y = dropout(x[rows])
        assert torch.equal(y, whole[rows])
        gradients = [torch.autograd.grad(z.sum(), x, retain_graph=True)[0][rows] for z in (y, whole)]
        assert torch.equal(*gradients)


def test_numbers_of_elements_may_wrap() -> None:
    torch.testing.assert_close(_named(torch.empty(2**20), 4095, None)[-1].item(), -1)


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


def test_compiled_code_drops_the_same_and_keeps_no_mask() -> None:
    def trained(compiled: bool) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        model = build(gpt_section(n_layers=1, dropout=0.3), VOCABULARY, LENGTH, seed=0).train()
        set_keys(model, 0, 1)
        block = model.layers[0]
        if compiled:
            block.compile(backend="aot_eager_decomp_partition")
        saved: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            saved.append(tensor)
            return tensor

        x = torch.randn(3, 17, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            y = block(x)
        return saved, y, list(torch.autograd.grad(y.square().sum(), [x, *block.parameters()]))

    saved, y, gradients = trained(compiled=True)
    plain_saved, expected, expected_gradients = trained(compiled=False)
    torch.testing.assert_close(y, expected)
    for ours, plain in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    masks = [sum(t.dtype == torch.bool and t.numel() >= 3 * 17 * 32 for t in each) for each in (saved, plain_saved)]
    assert masks == [0, 3]
