"""Compiled blocks: layers of many kinds keep their graphs, and what is unfrozen learns as it does uncompiled."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from model_sections import LENGTH, VOCABULARY, gpt_section, ids
from torch import nn

from actbench.activations import ElementwiseActivation, create
from actbench.config.activation import ActivationOverride
from actbench.config.schema import OptimizerSection
from actbench.nn.build import activation_slots, build
from actbench.training.hardware import compile_blocks
from actbench.training.optimizer import make_optimizer, unfreeze

KINDS = ("raf", "poly_norm", "swiglu", "prelu", "gelu")


@pytest.fixture(autouse=True)
def _quick_compiler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Traces as ever, but leaves out the C++ compiler; a layer that may not be compiled anew is an error."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True, recompile_limit=8):
        yield
    torch._dynamo.reset()


def trained(compiled: bool, steps: int) -> nn.Module:
    """A model with another activation in each layer, unfrozen after the first step, validated after each."""
    overrides = tuple(ActivationOverride(slot=f"layers.{i}", name=name) for i, name in enumerate(KINDS))
    section = gpt_section(n_layers=len(KINDS), d_model=8, n_heads=1, d_ff=16, activation_overrides=overrides)
    model = build(section, VOCABULARY, LENGTH, seed=0)
    settings = {"activation": {"unfreeze_after": 1, "lr": 0.1}}
    optimizer = make_optimizer(model, OptimizerSection.model_validate(settings))
    if compiled:
        compile_blocks(model)
    for step in range(steps):
        unfreeze(optimizer, step)
        model.zero_grad()
        model.train()(ids(), ids(seed=2)).backward()
        optimizer.step()
        with torch.no_grad():
            model.eval()(ids(), ids(seed=2))
    return model


def test_every_layer_keeps_its_graphs_however_many_kinds_there_are() -> None:
    compiled, plain = trained(compiled=True, steps=2), trained(compiled=False, steps=2)
    start = activation_slots(trained(compiled=False, steps=0))
    for slot, activation in activation_slots(compiled).items():
        for name, value in activation.named_parameters():
            assert not torch.equal(value, start[slot].get_parameter(name))
            torch.testing.assert_close(value, activation_slots(plain)[slot].get_parameter(name), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("inner", ["prelu", "raf"])
def test_gradients_of_an_inner_function_have_the_inputs_shape_when_compiled(inner: str) -> None:
    found = []
    for run in (lambda activation: activation, functools.partial(torch.compile, backend="aot_eager")):
        x = torch.linspace(-2, 2, 48).view(2, 3, 8).requires_grad_()
        run(create("polycom", inner=inner, width=8))(x).square().sum().backward()
        found.append(x.grad)
    assert found[0] is not None and found[1] is not None
    torch.testing.assert_close(found[1], found[0])


class Own(ElementwiseActivation):
    """A user's, without gradients by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = self.coefficient(0.5)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        return self.slope * x.abs()


def test_an_activation_without_gradients_by_hand_compiles_as_one_graph() -> None:
    own, x = Own(), torch.tensor([[-2.0, 3.0]])
    torch.compile(own, fullgraph=True, backend="aot_eager")(x).sum().backward()
    assert own.slope.grad == 5
