"""`activations check` passes every activation of actbench, and each of its checks catches what it is for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actbench.activations import Activation, available, registry
from actbench.activations.check import CHECKS, check
from actbench.errors import BadInput


@pytest.mark.parametrize("name", available())
def test_every_activation_passes(name: str) -> None:
    verdicts = check(name)
    assert [verdict for verdict in verdicts if verdict.status == "fail"] == []
    assert {verdict.check for verdict in verdicts if verdict.status == "pass"} == {"made", *CHECKS}
    assert "description" not in {verdict.check for verdict in verdicts}, "formula and source are missing"


class Bad(Activation):
    """x + a x^2, in ways that do not work."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.5))

    def compute(self, x: Tensor) -> Tensor:
        return x + self.a * x * x


class Draws(Bad):
    def __init__(self) -> None:
        super().__init__()
        nn.init.normal_(self.a)


class DrawsFromNumpy(Bad):
    def __init__(self) -> None:
        super().__init__()
        self.start = float(np.random.normal())


class LooseTensor(Activation):
    def __init__(self) -> None:
        super().__init__()
        self.a = torch.tensor(1.0, requires_grad=True)

    def compute(self, x: Tensor) -> Tensor:
        return self.a * x


class Narrow(Bad):
    def compute(self, x: Tensor) -> Tensor:
        return x[..., :1]


class OneShape(Activation):
    def compute(self, x: Tensor) -> Tensor:
        rows, width = x.shape
        return x.view(rows, width)


class Widening(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return x.double()


class MixesRows(Activation):
    whole_row = True

    def compute(self, x: Tensor) -> Tensor:
        return x - x.mean(tuple(range(x.ndim)))


class SecretlyWholeRow(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True)


class Noisy(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Counts(Activation):
    calls = 0

    def compute(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * (1 + 1 / self.calls)


class Remembers(Activation):
    scale = 1.0

    def compute(self, x: Tensor) -> Tensor:
        if self.training:
            self.scale = float(x.abs().mean())
        return x * self.scale


class NotKept(Bad):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("b", torch.ones(()), persistent=False)

    def compute(self, x: Tensor) -> Tensor:
        if self.training:
            self.b += 1
        return super().compute(x) * self.b


class NoCurve(Activation):
    gated = True

    def compute(self, gate: Tensor, value: Tensor) -> Tensor:
        return gate.relu() * value


class WrongSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 1.9 * ctx.saved_tensors[0] * grad


class WrongAutograd(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return WrongSlope.apply(x)


class ForgetsACoefficient(Bad):
    def compute(self, x: Tensor) -> Tensor:
        return x + self.a.detach() * x * x


class WrongByHand(Bad):
    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        (x,) = inputs
        return grad * (1 + self.a * x), (grad * x * x).sum()  # the factor two is missing


class WrongWhenFrozen(Bad):
    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.tensor(0.0))

    def compute(self, x: Tensor) -> Tensor:
        return x + self.a * x * x + self.b

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        (x,) = inputs
        wanted = self.a.requires_grad + self.b.requires_grad
        return grad * (1 + 2 * self.a * x), *[(grad * x * x).sum(), grad.sum()][:wanted]


class NarrowInside(Activation):
    native_low_precision = True

    def compute(self, x: Tensor) -> Tensor:
        return ((0.1 * x + 0.3) * x - 0.7) * x + 1.1


class OverflowsInHalf(Activation):
    native_low_precision = True
    whole_row = True

    def compute(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x**4).mean(-1, keepdim=True) + 1e-6)

    def curve(self, x: Tensor, inputs: Tensor) -> Tensor:
        return x


class Explodes(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return x.exp()


class SteepAtZero(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return x.abs().sqrt()


class HidesNan(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.0)


class SpreadsNan(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return x + 0 * x.max()


class Breaks(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return x.relu() if x.sum().item() > 0 else x.clamp(min=0)


class OtherWhenCompiled(Activation):
    def compute(self, x: Tensor) -> Tensor:
        return x * 1.001 if torch.compiler.is_compiling() else x


class NoisyInTraining(Bad):
    def compute(self, x: Tensor) -> Tensor:
        return self.a * x * (1 + torch.rand_like(x) if self.training else 1)


class CountsCalls(Bad):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def compute(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().compute(x)


FAILS: dict[type[Activation], tuple[str, str]] = {
    Draws: ("made", "draws random numbers at construction (torch)"),
    DrawsFromNumpy: ("made", "draws random numbers at construction (numpy)"),
    LooseTensor: ("made", "self.a is a tensor, but neither"),
    Narrow: ("shape", "turns (8,) float32 into (1,) float32"),
    OneShape: ("shape", "ValueError: not enough values to unpack"),
    Widening: ("shape", "turns (8,) float32 into (8,) float64"),
    MixesRows: ("rows", "depends on another row"),
    SecretlyWholeRow: ("rows", "set whole_row = True"),
    Noisy: ("repeatable", "another output"),
    Counts: ("repeatable", "another output"),
    NoisyInTraining: ("repeatable", "draws random numbers in training"),
    CountsCalls: ("repeatable", "changes a buffer"),
    Remembers: ("state", "some state is kept outside it"),
    NotKept: ("state", "some state is kept outside it"),
    NoCurve: ("curve", "TypeError"),
    WrongAutograd: ("gradient", "the gradient by x is"),
    ForgetsACoefficient: ("gradient", "the gradient by a is"),
    WrongByHand: ("backward", "the gradient by x is"),
    WrongWhenFrozen: ("backward", "with a frozen"),
    NarrowInside: ("bf16", "roundings from fp64"),
    OverflowsInHalf: ("fp16", "roundings from fp64"),
    Explodes: ("range", "f(10000) = inf"),
    SteepAtZero: ("range", "f(0) = 0, with a gradient by x that is not finite"),
    HidesNan: ("nan", "nan comes out as 0"),
    SpreadsNan: ("nan", "one nan makes others"),
    Breaks: ("compile", "not one graph: "),
    OtherWhenCompiled: ("compile", "from eager"),
}


@pytest.mark.parametrize("cls", FAILS, ids=lambda cls: cls.__name__)
def test_each_check_catches_what_it_is_for(cls: type[Activation], monkeypatch: pytest.MonkeyPatch) -> None:
    key, words = FAILS[cls]
    monkeypatch.setattr("actbench.activations.check.CHECKS", {key: CHECKS[key]} if key in CHECKS else {})
    monkeypatch.setitem(registry._registered, "bad", cls)
    failed = {verdict.check: verdict.words for verdict in check("bad") if verdict.status == "fail"}
    assert key in failed and words in failed[key]


def test_what_works_fails_nothing_and_is_told_what_is_not_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "good", Bad)
    statuses = {verdict.check: verdict.status for verdict in check("good")}
    assert set(statuses.values()) == {"pass", "note"} and statuses["description"] == "note"


def test_what_cannot_be_made_is_tested_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unwilling(Activation):
        def __init__(self) -> None:
            raise RuntimeError("not today")

    monkeypatch.setitem(registry._registered, "bad", Unwilling)
    [verdict] = check("bad")
    assert (verdict.check, verdict.status, verdict.words) == ("made", "fail", "RuntimeError: not today")


def test_hand_derived_gradients_are_only_asked_of_the_modules_own_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "bad", WrongByHand)
    statuses = {verdict.check: verdict.status for verdict in check("bad")}
    assert statuses["gradient"] == "pass" and statuses["backward"] == "fail"


def test_options_are_used_and_checked() -> None:
    assert check("poly_relu", {"order": 2})[0].words.startswith("3 coefficients")
    assert {verdict.status for verdict in check("swish_beta", {"sharing": 3})} == {"pass", "note"}
    with pytest.raises(BadInput, match=r"poly_relu\.order: input should be a valid integer"):
        check("poly_relu", {"order": "2"})


MINE = """
import torch
from actbench.activations import Activation

class Good(Activation):
    def compute(self, x):
        return x.relu()

class Bad(Activation):
    def compute(self, x):
        return torch.where(x > 0, x, 0.0)
"""


def test_the_command_prints_a_verdict_a_line_and_fails_with_one(actbench: Callable[..., Any], tmp_path: Any) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    done = actbench("activations", "check", "./mine.py:Good", "mine.py:Bad", check=1)
    good, bad = done.stdout.split("mine.py:Bad\n")
    assert good.startswith("./mine.py:Good\n  pass  made        0 coefficients")
    assert (
        "  note  infinity    f(inf) = inf, f(-inf) = 0\n" in good
        and "note  speed" in good
        and "x GELU's time" in good
        and "fail" not in good
    )
    assert "  fail  nan         nan comes out as 0\n" in bad and "\x1b" not in done.stdout
    assert done.stderr == "error: 1 of 2 activations fail: mine.py:Bad\n"


def test_the_command_answers_machines_and_refuses_what_is_not_there(actbench: Callable[..., Any]) -> None:
    [found] = json.loads(actbench("activations", "check", "relu", "--json", check=0).stdout)["activations"]
    assert found["name"] == "relu" and found["passed"] and found["verdicts"][0]["status"] == "pass"
    refused = actbench("activations", "check", "gone.py:Mine", check=2)
    assert refused.stderr.startswith("error: no such file: gone.py") and refused.stdout == ""
