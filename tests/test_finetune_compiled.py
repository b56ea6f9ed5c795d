"""Fine-tuning compiled: its pieces meet batches of any shape, and compute what they do uncompiled, dropout and all."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from model_sections import act
from test_stack import BATCHES, TIGHT, batch, classifier
from torch import Tensor, nn
from toy_finetuning import close, plans, pretrained, quiet

from actbench.errors import BadInput
from actbench.nn.bert import BertSpans
from actbench.nn.heads import Spans
from actbench.nn.stack import Stack
from actbench.store import Run
from actbench.training import finetune as training
from actbench.training import hardware
from actbench.training.finetune_stack import FIRST_BATCH
from actbench.training.hardware import compile_pieces

COMPILE = torch.compile


def traced(piece: Any, *, dynamic: bool, options: Any) -> Any:
    """As torch.compile, but leaves out the C++ compiler."""
    return COMPILE(piece, dynamic=dynamic, backend="aot_eager")


@pytest.fixture(autouse=True)
def _forget() -> Any:
    """No graphs are left to later tests."""
    yield
    torch._dynamo.reset()


@pytest.fixture
def parent(tiny_recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return pretrained(tiny_recipe, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": act("raf"), "norm_placement": "deepnet"},
        {"activation": act("swiglu"), "norm_placement": "pre"},
        {"spans": True},
    ],
    ids=["raf", "gated", "spans"],
)
def test_compiled_for_any_shape_a_model_computes_what_it_does_uncompiled(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actbench.nn.padding.WORTH", 1)
    monkeypatch.setattr("actbench.nn.padding.GROUPED", 2)
    monkeypatch.setattr(torch, "compile", traced)
    torch._dynamo.utils.counters.clear()
    spans = changes.pop("spans", False)
    plain: Any = classifier(0, n_layers=3, **changes)
    if spans:
        plain = BertSpans(plain.encoder, Spans(32)).train()
    model = copy.deepcopy(plain)
    compile_pieces(model.encoder)
    for first in (batch([8, 7, 8, 6], 4), batch([9], 4)):
        Stack([model])([first])[0].sum().backward()
    # What is done token by token and in groups, the last layer's at one position, and groups of one; the embeddings.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == (4 if spans else 8)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for own in (*BATCHES[1:], batch([16, 15, 8, 8, 3, 3], 5), batch([5], 6)):
            (ours,), (expected,) = Stack([model])([own]), Stack([plain])([own])
            torch.testing.assert_close(ours, expected, **TIGHT)
            found = (gradients(each, outputs) for each, outputs in ((model, ours), (plain, expected)))
            for one, other in zip(*found, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


def gradients(model: nn.Module, outputs: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(outputs[outputs.isfinite()].square().sum(), list(model.parameters()), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def trained(parent: Run, folder: str, seed: int, **changes: Any) -> Run:
    (run,) = training.finetune([plans(parent, folder, seed + 1, epochs=2, **changes)[seed]], quiet)
    return run


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_compiled_a_run_learns_what_it_does_uncompiled(parent: Run) -> None:
    compiled, plain = (trained(parent, "runs", 0, compile=way) for way in ("always", "never"))
    assert compiled.info["hardware"]["compiled"] and not plain.info["hardware"]["compiled"]
    assert compiled.id != plain.id
    for row, expected in zip(compiled.metrics(), plain.metrics(), strict=True):
        if row["kind"] == "epoch":
            assert row["loss"] == close(expected["loss"])
    torch._dynamo.reset()  # as in another process, which finds the graphs
    again = trained(parent, "again", 0, compile="always")
    assert again.id == compiled.id and again.metrics() == compiled.metrics()


@pytest.mark.parametrize(("batch_size", "single"), [(8, False), (19, True), (17, True)])
def test_what_the_compiler_meets_first_does_not_depend_on_the_run(
    parent: Run, monkeypatch: pytest.MonkeyPatch, batch_size: int, single: bool
) -> None:
    met: list[tuple[int, ...]] = []
    forward = Stack.forward
    monkeypatch.setattr(torch, "compile", lambda piece, **_: piece)
    monkeypatch.setattr(Stack, "forward", lambda self, own: met.append(own[0]["tokens"].shape) or forward(self, own))
    trained(parent, "runs", 0, compile="always", batch_size=batch_size)
    first = [FIRST_BATCH, (1, FIRST_BATCH[1])][: 1 + single]
    assert met[: len(first)] == first and met[len(first)][0] == batch_size


def test_long_runs_of_wide_models_are_compiled_whatever_their_seeds(
    parent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "COMPILED_STEPS", 10)  # 20 examples in batches of 8 take 2.5 an epoch
    monkeypatch.setattr(hardware, "_compiler", lambda device: True)
    short, *long = (plans(parent, "runs", 1, epochs=3)[0], *plans(parent, "runs", 2, epochs=4))
    assert not training._hardware(long[0]).compiled and training.together(long[0]) > 1, "narrow"
    monkeypatch.setattr(training, "COMPILED_WIDTH", 32)
    assert all(training._hardware(each).compiled and training.together(each) == 1 for each in long)
    assert not training._hardware(short).compiled and training.together(short) > 1
    assert not training._hardware(plans(parent, "runs", 1, epochs=4, compile="never")[0]).compiled
    with monkeypatch.context() as patched:
        patched.setattr(hardware, "_device", lambda wanted: "cuda")
        patched.setattr(torch.cuda, "device_count", lambda: 1)
        assert not training._hardware(long[0]).compiled


def test_without_a_compiler_one_is_not_asked_for(parent: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_compiler", lambda device: False)
    (planned,) = plans(parent, "runs", 1, compile="always")
    with pytest.raises(BadInput, match="no compiler found for cpu") as raised:
        list(training.finetune([planned], quiet))
    assert raised.value.problems[0].key == "compile" and not Path(planned.folder).exists()
