"""Benchmarks: both sides take turns, ratios survive a machine that changes its speed, memory is what is held."""

from __future__ import annotations

from itertools import groupby
from typing import Any, ClassVar

import pytest
import torch
from model_sections import LENGTH, VOCABULARY, gpt_section
from torch import Tensor, nn

from actbench import activations
from actbench.activations import Activation
from actbench.bench import alternate as alternating
from actbench.bench import training_step
from actbench.bench.activations import steps
from actbench.bench.activations.alone import compare, has_target, measure
from actbench.bench.activations.cells import FUNCTION_LIMITS, Cell, Limits
from actbench.bench.activations.peers import LigerFormula
from actbench.bench.alternate import Comparison, alternate
from actbench.bench.memory import peak_memory
from actbench.bench.training_step import random_batch
from actbench.config.schema import BertSection, GptSection
from actbench.nn.build import build
from actbench.training import hardware

SHAPE = (16, 32)
EAGER = hardware.Hardware("cpu", "fp32", compiled=False, threads=1)


class Clock:
    """Time that passes only when work is done, at a speed that may change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now, self.speed, self.order = 0.0, 1.0, ""
        monkeypatch.setattr(alternating.time, "perf_counter", lambda: self.now)

    def work(self, name: str, seconds: float) -> Any:
        def work() -> None:
            self.order += name
            self.now += seconds / self.speed

        return work


# Time.


def test_baseline_and_candidate_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    alternate(clock.work("b", 1.0), clock.work("c", 2.0), rounds=5, device="cpu")
    assert clock.order == "bc" * alternating.WARM_UP + "bc" + "b" + "bc" * 5  # warm-up, memory, how long, the rounds


def test_short_work_is_repeated_alike_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    result = alternate(clock.work("b", 0.001), clock.work("c", 0.003), rounds=4, device="cpu")
    turns = [(name, len(list(calls))) for name, calls in groupby(clock.order)][-6:]
    assert turns == [("b", 5), ("c", 5)] * 3
    assert (result.baseline_milliseconds, result.milliseconds) == pytest.approx((1, 3))


def test_a_machine_that_slows_down_between_rounds_changes_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    candidate = clock.work("c", 3.0)

    def candidate_then_slower() -> None:
        candidate()
        clock.speed *= 0.7

    result = alternate(clock.work("b", 2.0), candidate_then_slower, rounds=6, device="cpu")
    assert (result.time_ratio, *result.time_quartiles) == pytest.approx((1.5, 1.5, 1.5))


def test_the_ratio_is_the_median_of_the_rounds_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([1.0, *(1.0, 2.0), *(2.0, 2.0), *(4.0, 12.0)])  # how long, then three rounds
    monkeypatch.setattr(alternating, "_seconds", lambda *_: next(seconds))
    result = alternate(lambda: None, lambda: None, rounds=3, device="cpu")
    assert (result.time_ratio, result.time_quartiles) == (2.0, (1.5, 2.5))
    assert (result.baseline_milliseconds, result.milliseconds) == (2000, 2000)


def test_gelu_costs_as_much_as_itself() -> None:
    itself = compare(nn.GELU(), shape=(256, 512), rounds=31)
    assert 1 / 3 < itself.time_ratio < 3
    assert itself.time_quartiles[0] <= itself.time_ratio <= itself.time_quartiles[1]
    assert itself.memory_ratio == 1


# Memory.


class Keeps(torch.autograd.Function):
    """The identity; keeps k copies of its input for a backward pass that needs none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
        ctx.save_for_backward(*(x.clone() for _ in range(k)))
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.clone(), None


class Identity(Activation):
    def __init__(self, k: int):
        super().__init__()
        self.k = k

    def compute(self, x: Tensor) -> Tensor:
        return Keeps.apply(x, self.k)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_every_tensor_kept_for_the_backward_pass_counts(k: int) -> None:
    result = compare(Identity(k), shape=SHAPE, rounds=2)
    size = 4 * SHAPE[0] * SHAPE[1]
    assert result.baseline_memory_bytes == 2 * size  # the output and the input's gradient
    assert result.memory_bytes == (2 + k) * size
    assert result.memory_ratio == 1 + k / 2


def test_memory_is_the_peak_not_the_sum() -> None:
    def work() -> None:
        for _ in range(3):
            torch.empty(1000)

    assert peak_memory(work, "cpu") == 4000
    assert peak_memory(lambda: None, "cpu") == 0


# What is measured.


class Scale(nn.Module):
    """x * a; notes its inputs, and the gradients that come by."""

    notes: ClassVar[list[tuple[str, Tensor]]] = []

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        a = self.a * 1
        y = x * a
        self.notes.append(("x", x.detach()))
        for name, tensor in (("y", y), ("a", a)):
            tensor.register_hook(lambda grad, name=name: self.notes.append((name, grad)))
        return y


def test_the_backward_pass_gives_the_coefficients_gradients_from_normal_inputs() -> None:
    Scale.notes.clear()
    state = torch.get_rng_state()
    scale = Scale()
    compare(scale, shape=(64, 128), dtype=torch.bfloat16, rounds=2)
    assert [name for name, _ in Scale.notes[:3]] == ["x", "y", "a"]
    x, grad = Scale.notes[0][1], Scale.notes[1][1]
    for tensor in (x, grad):
        assert tensor.shape == (64, 128) and tensor.dtype == torch.bfloat16
        assert abs(tensor.float().mean()) < 0.05 and abs(tensor.float().std() - 1) < 0.05
    assert not torch.equal(x, grad)
    assert torch.equal(state, torch.get_rng_state())
    assert scale.a.grad is None


def test_a_gated_activation_gets_two_inputs_and_no_target() -> None:
    cell = measure("swiglu", SHAPE, "fp32", "eager", rounds=2, device="cpu")
    assert cell.gated and cell.limits is None and cell.met is None
    assert cell.comparison.memory_ratio > 1.5 - 1e-9  # two gradients and an output at least, to GELU's one of each


class GatedScale(Scale, Activation):
    gated = True


def test_targets_are_for_what_learns_from_one_input() -> None:
    assert not has_target(GatedScale())
    assert measure("silu", SHAPE, "fp32", "eager", rounds=2, device="cpu").limits is None
    assert measure("raf", SHAPE, "fp32", "eager", rounds=2, device="cpu").limits == FUNCTION_LIMITS["eager"]


@pytest.mark.parametrize(
    ("time", "memory", "limits", "met"),
    [
        (1.15, 105, Limits(1.15, 1.05), True),
        (1.16, 100, Limits(1.15, 1.05), False),
        (1.0, 106, Limits(1.15, 1.05), False),
        (3.9, 900, Limits(4.0), True),
        (9.0, 900, None, None),
    ],
)
def test_a_target_is_met_when_no_ratio_is_above_it(time: float, memory: int, limits: Any, met: Any) -> None:
    comparison = Comparison(time, 1.0, time, (time, time), memory, 100)
    cell = Cell("function", "f", "gelu", SHAPE, "fp32", "compiled", False, limits, comparison)
    assert cell.met is met and cell.to_json()["met"] is met
    assert cell.summary().endswith("✗") is (met is False)


def test_both_sides_are_compiled_as_training_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[nn.Module, dict[str, Any]]] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append((self, options)))
    monkeypatch.setattr(torch, "compile", lambda piece, **_: piece)
    monkeypatch.setattr(hardware, "_code", lambda module: "any")  # which alone differs
    hardware.compile_blocks(build(gpt_section(n_layers=1), VOCABULARY, LENGTH, seed=0))
    raf = activations.create("raf")
    by_training = compiled.pop()[1]
    compiled.clear()
    compare(raf, shape=SHAPE, compiled=True, rounds=2)
    by_benchmark = compiled
    assert [(type(side), options) for side, options in by_benchmark] == [
        (nn.GELU, by_training),
        (type(raf), by_training),
    ]
    assert by_benchmark[1][0] is not raf  # a copy; the activation stays as it was


def test_ligers_formula_is_poly_norm() -> None:
    x = torch.linspace(-4, 4, 96).view(3, 32)
    torch.testing.assert_close(LigerFormula()(x), activations.create("poly_norm")(x))
    assert LigerFormula()(x.bfloat16()).dtype == torch.bfloat16


# Whole steps.

SIZE: dict[str, Any] = {"n_layers": 1, "d_model": 16, "n_heads": 2, "d_ff": 32}
SMALL = {"bert": BertSection(family="bert", **SIZE), "gpt": GptSection(family="gpt", **SIZE)}


@pytest.mark.parametrize("family", SMALL)
def test_a_step_trains_the_model_coefficients_included(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    models = []
    real = training_step.build
    monkeypatch.setattr(training_step, "build", lambda *a, **k: models.append(real(*a, **k)) or models[-1])
    monkeypatch.setattr(steps, "MODELS", SMALL)
    cell = steps.measure(family, "raf", sequences=2, hardware=EAGER, rounds=2)
    assert (cell.kind, cell.shape, cell.mode, cell.dtype) == (f"{family} step", (2, 128), "eager", "fp32")
    gelu, raf = models
    assert [m.layers[0].feed_forward.activation.name for m in models] == ["gelu", "raf"]
    fresh = real(raf_section(family), steps.VOCABULARY, steps.LENGTH, seed=0)
    for name, parameter in fresh.named_parameters():
        if "pooler" not in name:
            assert not torch.equal(parameter, raf.get_parameter(name)), name
    assert all(p.grad is None for p in gelu.parameters())


def raf_section(family: str) -> Any:
    return SMALL[family].model_copy(update={"activation": steps.ActivationSpec(name="raf")})


def test_a_random_batch_is_the_same_each_time_and_masked_for_bert() -> None:
    for section in SMALL.values():
        first, second = (random_batch(section, 3, 128, 500) for _ in range(2))
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert first["tokens"].shape == (3, 128)
    assert random_batch(SMALL["bert"], 3, 128, 500)["masked"].shape == (3, round(0.15 * 126))
