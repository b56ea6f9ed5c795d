"""What the compiler traced is kept for later processes, and never stands for another activation's code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from actbench.activations import ElementwiseActivation
from actbench.training.hardware import KEEPS_TRACES, compile_module

pytestmark = pytest.mark.skipif(not KEEPS_TRACES, reason="this torch keeps too little of what it traced")


class Scaled(ElementwiseActivation):
    """x a, with its gradients by hand: those of a multiple of it, so that the backward pass alone can be another."""

    formula, source = "a x", "made up"
    multiple = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.a = self.coefficient([2.0])

    def compute(self, x: Tensor) -> Tensor:
        return x * self.a

    def gradients(self, inputs: Sequence[Tensor], grad: Tensor) -> Sequence[Tensor]:
        (x,) = inputs
        return self.multiple * grad * self.a, (self.multiple * grad * x).sum().view(1)


class Tripled(Scaled):
    """The same forward pass."""

    multiple = 3.0


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    yield
    torch.compiler.reset()


def gradients(kind: type[Scaled]) -> tuple[float, float, int]:
    """Of 8 twos, as a new process would find them, and how often the cache had what was traced before."""
    torch.compiler.reset()
    counters.clear()
    activation = kind()
    compile_module(activation)
    x = torch.full((8,), 2.0, requires_grad=True)
    activation(x).sum().backward()
    assert x.grad is not None and activation.a.grad is not None
    return x.grad[0].item(), activation.a.grad.item(), counters["aot_autograd"]["autograd_cache_hit"]


def test_a_graph_with_gradients_by_hand_is_traced_once_and_another_is_another() -> None:
    assert gradients(Scaled) == (2.0, 16.0, 0)
    assert gradients(Scaled) == (2.0, 16.0, 1)
    assert gradients(Tripled) == (6.0, 48.0, 0)
    assert gradients(Tripled) == (6.0, 48.0, 1)
    assert gradients(Scaled) == (2.0, 16.0, 1)


class Widened(nn.Module):
    """A product, in whichever precision is asked for around it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y


def test_a_graph_traced_in_fp32_does_not_stand_for_one_in_bf16() -> None:
    dtypes = []
    for enabled in (False, True):
        torch.compiler.reset()
        counters.clear()
        layer = Widened()
        compile_module(layer)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            dtypes.append(layer(torch.ones(4, 8)).dtype)
        assert counters["aot_autograd"]["autograd_cache_miss"] == 1
    assert dtypes == [torch.float32, torch.bfloat16]


OPERATION = """
import sys
import torch
from torch._dynamo.utils import counters
from actbench.activations import ElementwiseActivation
from actbench.training.hardware import compile_module

@torch.library.custom_op("mine::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return 2 * x

double.register_fake(torch.empty_like)
double.register_autograd(lambda ctx, grad: MULTIPLE * grad, setup_context=lambda ctx, inputs, output: None)

class Mine(ElementwiseActivation):
    formula, source = "2 x", "made up"

    def compute(self, x):
        return double(x)

if __name__ == "__main__":
    from mine import Mine
    mine, x = Mine(), torch.ones(8, requires_grad=True)
    compile_module(mine)
    mine(x).sum().backward()
    print(x.grad[0].item(), counters["aot_autograd"]["autograd_cache_hit"])
"""


def test_an_operation_of_ones_own_is_told_by_its_code(tmp_path: Path) -> None:
    """Torch by itself tells it by its name, and would give the gradient that its file had before."""
    said = []
    for multiple in ("2", "2", "3"):
        (tmp_path / "mine.py").write_text(OPERATION.replace("MULTIPLE", multiple))
        done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
        said.append(done.stdout.split())
    assert said == [["2.0", "0"], ["2.0", "1"], ["3.0", "0"]]
