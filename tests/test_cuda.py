"""On a GPU all is as on the CPU: values, gradients, masks, losses, resuming, every kind of run. Skipped without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import request_files
import torch
from activation_values import inputs_of
from model_sections import act, gpt_section, randomized
from test_pretrain import left_unfinished, results, rows_of, the_run

from actbench.activations import Activation, available, create, get
from actbench.config.moe import MoeSection
from actbench.nn import grouped
from actbench.nn.build import build
from actbench.nn.dropout import Dropout
from actbench.nn.experts import MixtureOfExperts
from actbench.nn.router import with_router_losses
from actbench.training.hardware import compile_blocks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

WIDTH = 96
ROWS = 6000  # with WIDTH more elements than from which a CPU looks them up


def with_gradients(function: Any, module: Activation, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """The output, and the gradients of its mean square by each input and coefficient."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    output = function(*leaves)
    wanted = [*leaves, *module.parameters()]
    return [output, *torch.autograd.grad(output.double().square().mean(), wanted)]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", available())
def test_values_and_gradients_are_those_of_fp64_on_the_cpu(name: str, compiled: bool) -> None:
    module = create(name, width=WIDTH)
    inputs = list(inputs_of(name, ROWS, WIDTH))
    exact = create(name, width=WIDTH).double()
    expected = with_gradients(exact.compute, exact, [x.double() for x in inputs])
    module = module.cuda()
    torch.compiler.reset()
    function = torch.compile(module, dynamic=False) if compiled else module
    found = with_gradients(function, module, [x.cuda() for x in inputs])
    for one, other in zip(found, expected, strict=True):
        scale = other.abs().max().item()
        torch.testing.assert_close(one.cpu().double(), other, rtol=1e-3, atol=2e-5 * scale)


@pytest.mark.parametrize("name", [name for name in available() if not get(name).gated])
def test_bf16_is_the_fp64_result_rounded(name: str) -> None:
    module, exact = create(name, width=WIDTH).cuda(), create(name, width=WIDTH).double()
    (x,) = inputs_of(name, ROWS, WIDTH, dtype=torch.bfloat16)
    with torch.no_grad():
        found, expected = module(x.cuda()).cpu().double(), exact(x.double())
    assert ((found - expected).abs() <= 2**-8 * expected.abs().clamp(min=0.1)).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_the_same_elements_are_dropped_as_on_the_cpu(compiled: bool) -> None:
    dropout, x = Dropout(0.3), torch.rand(64, 33, 40) + 1
    dropout.key.fill_(305419896)
    expected = dropout(x)
    on_gpu = dropout.cuda()
    torch.compiler.reset()
    found = (torch.compile(on_gpu, dynamic=False) if compiled else on_gpu)(x.cuda())
    torch.testing.assert_close(found.cpu(), expected)


@pytest.mark.parametrize("experts", [4, 33])
def test_all_experts_at_once_are_the_loop_over_them(monkeypatch: pytest.MonkeyPatch, experts: int) -> None:
    section = MoeSection(experts=experts, top_k=2, d_expert=48)
    layer = randomized(MixtureOfExperts(64, 48, act("poly_norm"), section)).cuda()
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(0)).cuda().requires_grad_()
    found = []
    for has_kernel in (grouped._has_kernel, lambda *_: False):
        monkeypatch.setattr(grouped, "_has_kernel", has_kernel)
        with torch.autocast("cuda", torch.bfloat16):
            y = layer(x)
        found.append([y, *torch.autograd.grad(y.float().square().mean(), [x, *layer.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2 * other.abs().max().item())


def test_a_compiled_mixture_has_the_gradients_of_an_uncompiled_one() -> None:
    """At a size at which torch 2.11 compiled other gradients into all layers but the last."""
    section = MoeSection(experts=16, top_k=4, d_expert=256)
    config = gpt_section(n_layers=4, d_model=256, d_ff=None, moe=section, activation=act("swiglu"))
    tokens = torch.randint(8192, (64, 129), generator=torch.Generator().manual_seed(0)).cuda()
    model = build(config, 8192, 128, seed=0).cuda().train()

    def gradients() -> list[torch.Tensor]:
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(tokens[:, :-1].contiguous(), targets=tokens[:, 1:].contiguous())
        return list(torch.autograd.grad(with_router_losses(loss, model)[0], list(model.parameters())))

    expected = gradients()
    compile_blocks(model)
    for _ in range(2):
        for one, other in zip(gradients(), expected, strict=True):
            assert (one - other).norm() < 0.1 * other.norm()


MOE = {"d_ff": None, "moe": {"experts": 4, "top_k": 2, "d_expert": 32}, "activation": {"name": "poly_norm"}}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {"activation": {"name": "raf"}}),
    "gpt": ("gpt", {"activation": {"name": "raf"}}),
    "moe": ("gpt", MOE),
}


@pytest.mark.parametrize("compile_", ["never", "always"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_run_killed_and_resumed_ends_with_the_same_bits(
    actbench: Any, tiny_recipe: Any, tmp_path: Path, kind: str, compile_: str
) -> None:
    family, model = MODELS[kind]
    recipe = tiny_recipe(
        family,
        model=model,
        hardware={"device": "cuda", "compile": compile_},
        budget={"steps": 150},
        checkpoint={"every_steps": 9},
        logging={"every_steps": 10},  # so that checkpoints hold losses not logged yet
    )
    left_unfinished(recipe, tmp_path / "killed", 20)
    actbench("pretrain", "-r", recipe, "--runs", "killed", "--resume", check=0)
    actbench("pretrain", "-r", recipe, "--runs", "whole", check=0)
    whole = the_run(tmp_path / "whole")
    info = json.loads((whole / "run.json").read_text())
    assert info["hardware"]["device"] == "cuda" and info["environment"]["gpu"]
    assert results(the_run(tmp_path / "killed")) == results(whole)


@pytest.mark.parametrize(("precision", "close"), [("fp32", 1e-4), ("bf16", 1e-2)])
@pytest.mark.parametrize("compile_", ["never", "always"])
@pytest.mark.parametrize("kind", MODELS)
def test_the_losses_are_the_cpus(
    actbench: Any, tiny_recipe: Any, tmp_path: Path, kind: str, compile_: str, precision: str, close: float
) -> None:
    """Gradient norms too: a wrong gradient shows there first."""
    family, model = MODELS[kind]
    found = []
    for device in ("cpu", "cuda"):
        hardware = {"device": device, "precision": precision, "compile": compile_ if device == "cuda" else "never"}
        actbench("pretrain", "-r", tiny_recipe(family, model=model, hardware=hardware), "--runs", device, check=0)
        found.append([row for row in rows_of(the_run(tmp_path / device)) if row["kind"] == "train"])
    for here, there in zip(*found, strict=True):
        assert there["loss"] == pytest.approx(here["loss"], abs=close)
        assert there["grad_norm"] == pytest.approx(here["grad_norm"], rel=10 * close)


def test_what_follows_training_runs_there_too(actbench: Any, tiny_recipe: Any, tmp_path: Path) -> None:
    recipe = tiny_recipe("bert", model={"activation": {"name": "raf"}}, hardware={"compile": "auto"})
    bert = json.loads(actbench("pretrain", "-r", recipe, "--json", check=0).stdout)["folder"]
    for precision in ("fp32", "bf16"):
        options = ("--set", "train_size=40", "--set", "epochs=2", "--set", f"precision={precision}")
        actbench("finetune", "probes", "--from", Path(bert).name, "--seeds", "0,1", *options, check=0)
    actbench("eval", "perplexity", Path(bert).name, check=0)
    for kind in ("rank", "similarity", "activity"):
        actbench("analyze", kind, Path(bert).name, check=0)

    gpt = json.loads(actbench("pretrain", "-r", tiny_recipe("gpt"), "--json", check=0).stdout)["folder"]
    data = request_files.choices(request_files.last_words(request_files.pairs(tmp_path / "eval")))
    actbench("eval", "zero-shot", Path(gpt).name, "--tasks", "pick,lambada,blimp", "--data", data, check=0)


def test_jobs_of_a_study_share_a_gpu(actbench: Any, tiny_recipe: Any, study_file: Any, tmp_path: Path) -> None:
    tiny_recipe("bert", hardware={"compile": "auto"})
    follow_up = {"finetune": "probes", "seeds": [0], "settings": {"train_size": 20, "epochs": 1}}
    axes = {"model.activation.name": ["gelu", "raf"], "seed": [0, 1]}
    path = study_file(experiments=[{"recipe": "bert.yaml", "axes": axes, "follow_ups": [follow_up]}])
    actbench("study", "run", path, "--jobs", "4", check=0)
