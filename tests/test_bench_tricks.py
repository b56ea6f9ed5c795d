"""`actbench bench tricks`: without a trick a step learns the same, and what the benchmark compares is what it says."""

from __future__ import annotations

import functools
import io
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.optim import optimizer

from actbench.bench import alternate, machine, output
from actbench.bench.peers import process
from actbench.bench.peers.gate import Gate
from actbench.bench.peers.orders import PretrainOrder, Report, last_quarter
from actbench.bench.peers.prepare import Sizes
from actbench.bench.peers.side import PROGRAMS
from actbench.bench.tricks import measure, plain, sides
from actbench.bench.tricks.catalogue import NAMES, TRICKS, Plain, Processes, Trick, chosen, missing
from actbench.bench.tricks.measure import Outcome, largest_difference, training
from actbench.bench.tricks.results import Results
from actbench.bench.tricks.run import run
from actbench.config.schema import Recipe
from actbench.errors import BadInput, Interrupted
from actbench.nn.attention import Attention
from actbench.nn.dropout import Dropout, set_keys
from actbench.training import hardware
from actbench.training.hardware import Hardware

STEPS = 8
EAGER = Hardware("cpu", "fp32", compiled=False, threads=1)
COMPILED = replace(EAGER, compiled=True)
SIZES = Sizes(n_layers=2, d_model=32, d_ff=64, vocabulary=300, length=32, sequences=8, lr=5e-3)
NEEDS_A_COMPILER = ("compiled-blocks", "contraction")
WITHIN_A_STEP = [(trick, model) for trick in TRICKS for model in trick.models if isinstance(trick.without, Plain)]


def recipe(trick: Trick, model: str, **changes: Any) -> Recipe:
    """Of a tiny model that the trick is measured in."""
    made = replace(SIZES, **changes).recipe(model, STEPS)
    return made.model_copy(update={"model": trick.changed(made.model)})


def curve(recipe: Recipe, hardware: Hardware, without: Plain | Processes) -> list[float]:
    """The losses of a new model's first steps."""
    assert isinstance(without, Plain)
    torch.manual_seed(0)
    step = training(recipe, hardware, without)
    losses = [step().item() for _ in range(STEPS)]
    assert losses[0] - losses[-1] > 0.3, "it learns"
    return losses


def named(name: str) -> Trick:
    ((trick,), _) = chosen([name], "bert,gpt", 8)
    return trick


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traces and splits graphs as ever, but leaves out the C++ compiler."""
    traced = functools.partial(torch.compile, backend="aot_eager_decomp_partition")
    monkeypatch.setattr(torch, "compile", lambda compiled, **_: traced(compiled))
    yield
    torch._dynamo.reset()


# The losses are the same.


@pytest.mark.parametrize(
    ("trick", "model"),
    [pair for pair in WITHIN_A_STEP if pair[0].name not in (*NEEDS_A_COMPILER, "no-masks-kept")],
    ids=lambda value: getattr(value, "name", value),
)
def test_losses_are_equal_without_a_trick(trick: Trick, model: str) -> None:
    made = recipe(trick, model, **({"dropout": 0.0} if trick.other_masks else {}))
    hardware = replace(EAGER, precision="bf16") if "bf16" in trick.needs else EAGER
    with_it, without = (curve(made, hardware, how) for how in (Plain(), trick.without))
    assert largest_difference(with_it, without) <= trick.tolerance


@pytest.mark.parametrize("name", ["no-masks-kept", "causal-by-row"])
def test_compiled_losses_are_equal_bit_for_bit_without_a_trick(quick_compiler: None, name: str) -> None:
    trick = named(name)
    made = recipe(trick, "gpt", n_layers=1)
    assert made.model.dropout > 0 == trick.tolerance
    assert curve(made, COMPILED, Plain()) == curve(made, COMPILED, trick.without)


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_losses_are_equal_compiled_or_not_with_contraction_or_without() -> None:
    contraction, compiled = named("contraction"), named("compiled-blocks")
    made = recipe(contraction, "gpt", n_layers=1, d_model=16, d_ff=32)
    losses = curve(made, COMPILED, Plain())
    for trick in (contraction, compiled):
        assert largest_difference(losses, curve(made, COMPILED, trick.without)) <= trick.tolerance
    torch._dynamo.reset()


def test_losses_are_equal_bit_for_bit_whatever_becomes_of_freed_memory(tmp_path: Path) -> None:
    kept = named("freed-memory-kept")
    assert isinstance(kept.without, Processes) and kept.tolerance == 0
    made = recipe(kept, "gpt")
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "1"}  # as it is without a compiler: quicker
    found = measure.measure(kept, made, EAGER, 2, environment)
    assert found.loss_difference == 0
    assert found.memory == "process" and found.comparison.memory_bytes > 1e7
    order = PretrainOrder(folder=tmp_path, recipe=made)
    with process.Side(kept.without.without, order, environment) as side:
        side.first_step()
        here = replace(EAGER, precision=machine.hardware().precision)  # a process chooses for itself
        assert side.finish().loss == last_quarter(curve(made, here, Plain()))


def test_losses_are_equal_bit_for_bit_in_lightnings_own_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "hardware", lambda: EAGER)
    trick, losses = named("quiet-trainer"), []
    assert trick.tolerance == named("gradients-let-go").tolerance == 0
    for side in (sides.quiet_trainer, sides.gradients_held, sides.default_trainer):
        answers = io.StringIO()
        order = PretrainOrder(folder=tmp_path, recipe=recipe(trick, "gpt"))
        losses.append(side(order, Gate(io.StringIO("1\n" * STEPS), answers)).loss)
        optimizer._global_optimizer_post_hooks.clear()
        assert len(answers.getvalue().splitlines()) == STEPS
    assert len(set(losses)) == 1 and losses[0] is not None and losses[0] < math.log(300)
    assert list(tmp_path.rglob("*.ckpt")), "Lightning's own checkpoint shows that its Trainer had its way"


def test_every_process_has_its_program() -> None:
    asked = {p for t in TRICKS if isinstance(t.without, Processes) for p in (t.without.with_it, t.without.without)}
    functions = {PROGRAMS[name][0].partition(":")[2] for name in asked}
    assert functions == {"memory_kept", "memory_returned", "quiet_trainer", "gradients_held", "default_trainer"}


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_torchs_dropout_drops_as_many(p: float) -> None:
    x = torch.full((300, 1000), 2.0)
    ours, theirs = (kind(p).train() for kind in (Dropout, plain.TorchDropout))
    set_keys(nn.ModuleDict({"ours": ours}), 0, 1)
    torch.manual_seed(0)
    one, other = ours(x), theirs(x)
    for y in (one, other):
        assert y.unique().tolist() == pytest.approx([0.0, 2 / (1 - p)])
    shares = [(y == 0).double().mean().item() for y in (one, other)]
    assert abs(shares[0] - shares[1]) < 5 * math.sqrt(2 * p * (1 - p) / x.numel())


# What stands in for a trick is what it says.


def without(trick: Trick, model: str, monkeypatch: pytest.MonkeyPatch, hardware: Hardware = EAGER) -> nn.Module:
    """The model of the step without the trick."""
    models: list[nn.Module] = []
    build = measure.build
    monkeypatch.setattr(measure, "build", lambda *made: models.append(build(*made)) or models[-1])
    assert isinstance(trick.without, Plain)
    training(recipe(trick, model), hardware, trick.without)
    return models[0]


@pytest.mark.parametrize(("trick", "model"), WITHIN_A_STEP, ids=lambda value: getattr(value, "name", value))
def test_no_module_has_the_trick_in_the_step_without(trick: Trick, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(trick.without, Plain)
    kinds = {type(module) for module in without(trick, model, monkeypatch).modules()}
    assert not kinds & set(trick.without.modules) and kinds >= set(trick.without.modules.values())


def test_what_is_compiled_without_the_compiler_or_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[Any] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **settings: options.append(settings["options"]))
    monkeypatch.setattr(hardware, "KEEPS_TRACES", False)
    without(named("compiled-blocks"), "gpt", monkeypatch, COMPILED)
    assert options == []
    without(named("contraction"), "gpt", monkeypatch, COMPILED)
    assert options == [{}, {}, {}]
    without(named("bias-after"), "gpt", monkeypatch, COMPILED)
    assert len(options) == 6 and options[-1] != {}


def test_adamw_in_a_loop_is_neither_fused_nor_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[torch.optim.Optimizer] = []
    make = measure.make_optimizer
    monkeypatch.setattr(measure, "make_optimizer", lambda *a: made.append(make(*a)) or made[-1])
    without(named("fused-adamw"), "gpt", monkeypatch)
    assert {(group["fused"], group["foreach"]) for group in made[0].param_groups} == {(False, False)}


def test_a_mask_is_kept_without_the_trick(monkeypatch: pytest.MonkeyPatch, quick_compiler: None) -> None:
    def masks(how: Plain | Processes) -> int:
        model = without(replace(named("no-masks-kept"), without=how), "gpt", monkeypatch, COMPILED)
        x, saved = torch.randn(3, 17, 32, requires_grad=True), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            model.layers[0](x)  # type: ignore[index, operator]
        return sum(tensor.dtype == torch.bool and tensor.shape == x.shape for tensor in saved)

    assert masks(Plain()) == 0 < masks(named("no-masks-kept").without)


def test_torchs_attention_is_the_same_function_at_all_positions_and_at_some() -> None:
    attention = Attention(32, 4, causal=False, bias=True, dropout=0.0, rotary=None)
    theirs = Attention(32, 4, causal=False, bias=True, dropout=0.0, rotary=None)
    theirs.load_state_dict(attention.state_dict())
    theirs.__class__ = plain.TorchAttention
    x, at = torch.randn(2, 9, 32), torch.tensor([[0, 3], [5, 1]])
    torch.testing.assert_close(theirs(x), attention(x))
    torch.testing.assert_close(theirs(x, at=at), attention(x, at=at))


# What is asked for, measured and told.


def test_the_time_without_is_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "hardware", lambda: EAGER)
    said: list[str] = []
    slow = replace(named("bias-after"), without=Plain({nn.LayerNorm: Slow}), tolerance=1.0)
    broken = replace(slow, name="broken", without=Plain(optimizer=lambda _: 1 / 0))  # type: ignore[arg-type, return-value]
    sizes = replace(SIZES, n_layers=1)
    found = run([slow, broken, named("compiled-blocks")], ["gpt"], sizes=sizes, rounds=2, command="it", say=said.append)
    (outcome,) = found.outcomes
    assert outcome.comparison.time_ratio > 1.5 and outcome.comparison.memory_ratio > 1
    assert outcome.loss_difference == 0
    assert found.failed == ("broken, gpt: ZeroDivisionError: division by zero",)
    assert found.skipped == ("compiled-blocks: no compiler found",)
    assert "broken" in found.to_text(200) and "no compiler found" in found.to_markdown()


class Slow(nn.LayerNorm):
    """Takes its time, and memory that nobody needs."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.03)
        waste = torch.ones(1 << 22)
        return super().forward(x) + 0 * waste[0]


def test_a_signal_is_no_failure_of_a_trick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "hardware", lambda: EAGER)
    killed = replace(named("bias-after"), without=Plain(optimizer=lambda _: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        run([killed], ["gpt"], sizes=replace(SIZES, n_layers=1), rounds=2, command="it", say=lambda _: None)


def test_what_training_does_not_do_here_is_left_out_with_the_reason() -> None:
    cuda = Hardware("cuda", "bf16", compiled=True, threads=1)
    assert {t.name for t in TRICKS if missing(t, EAGER)} == {
        "compiled-blocks", "no-masks-kept", "causal-by-row", "contraction", "bf16"
    }  # fmt: skip
    assert {t.name for t in TRICKS if missing(t, cuda)} == {
        "attention-written-out", "contraction", "freed-memory-kept"
    }  # fmt: skip


def test_all_that_is_wrong_is_told_at_once(actbench: Callable[..., Any]) -> None:
    done = actbench("bench", "tricks", "loss-by-part", "--models", "brt,gpt", "--width", 20, check=2)
    for words in (
        "unknown trick 'loss-by-part' (did you mean 'loss-by-parts'?)",
        "--models: unknown 'brt' (did you mean 'bert'?)",
        "--width: 20 is no multiple of 8 (16)",
    ):
        assert words in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    with pytest.raises(BadInput, match="masked-only is for bert alone"):
        chosen(["masked-only"], "gpt", 8)


def test_the_command_measures_and_writes(actbench: Callable[..., Any], tmp_path: Path) -> None:
    small = ("--models", "gpt", "--layers", 1, "--width", 16, "--vocabulary", 300, "--sequences", 1, "--rounds", 2)
    files = ("-o", tmp_path / "page.md", "-o", tmp_path / "data.json")
    done = actbench("bench", "tricks", "fused-adamw", *small, *files, "--json", check=0, TORCHDYNAMO_DISABLE="1")
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "data.json").read_text())
    (one,) = found["tricks"]
    assert (one["name"], one["model"], one["memory"]) == ("fused-adamw", "gpt", "tensors")
    assert one["time_ratio"] > 0 and one["memory_ratio"] > 0.5 and 0 <= one["loss_difference"] <= one["tolerance"]
    assert found["settings"]["layers"] == 1 and found["settings"]["batch"] == "1 x 128"
    page = (tmp_path / "page.md").read_text()
    assert "| fused-adamw |" in page and page.startswith("<!-- actbench bench tricks -->")
    documented = (ROOT / "benchmarks" / "README.md").read_text()
    assert [key for key in {*found, *one, *NAMES} - {"benchmark"} if f"`{key}`" not in documented] == []


def test_the_page_on_performance_has_a_place_for_the_results() -> None:
    output.check([ROOT / "docs" / "performance.md"], "tricks")


def test_the_table_tells_what_each_trick_buys() -> None:
    comparison = alternate.Comparison(120.0, 100.0, 1.2, (1.1, 1.3), 300, 200)
    attention, hashed, memory = (named(n) for n in ("attention-written-out", "dropout-by-hash", "freed-memory-kept"))
    outcomes = (
        Outcome(attention, "bert", comparison, 2.3e-7, "tensors"),
        Outcome(hashed, "gpt", comparison, None, "tensors"),
        Outcome(memory, "gpt", comparison, 0.0, "process"),
    )
    settings = {"layers": 4, "width": 8, "batch": "1 x 128", "hardware": EAGER.facts(), "rounds": 2}
    table = Results(machine.facts("it"), settings, outcomes, (), (), ()).table()
    assert "4 layers of width 8, 1 x 128 tokens, fp32, without a compiler" in table.title
    measured = ("100 ms", "1.20 [1.10, 1.30]")
    assert [(row.cells[0], *row.cells[4:]) for row in table.rows] == [
        ("attention-written-out (dropout 0)", *measured, "1.50", "2e-07"),
        ("dropout-by-hash", *measured, "1.50", "–"),
        ("freed-memory-kept", *measured, "1.50 process", "the same"),
    ]


def test_a_round_of_processes_is_compared_with_its_own_round() -> None:
    mine = process.Measured((1.0, 2.0, 1.0), 9.0, 100, Report())
    other = process.Measured((2.0, 2.0, 3.0), 9.0, 150, Report())
    found = measure._comparison(mine, other)
    assert (found.time_ratio, found.time_quartiles, found.memory_ratio) == (2.0, (1.5, 2.5), 1.5)
    assert (found.baseline_milliseconds, found.milliseconds) == (1000.0, 2000.0)
