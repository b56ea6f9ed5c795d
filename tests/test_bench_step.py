"""`actbench bench step`: parts that add up, kernels in their classes, arithmetic, and a page with a place a recipe."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from actbench.bench import output
from actbench.bench.memory import peak_seen
from actbench.bench.step import kernels
from actbench.bench.step import run as running
from actbench.bench.step.clock import PARTS, RANGE, REST, Clock, Seconds
from actbench.bench.step.kernels import Breakdown, Kernel, breakdown, classify
from actbench.bench.step.results import Memory, Results
from actbench.bench.step.training import TimedModule, train
from actbench.config import load_recipe
from actbench.errors import Interrupted
from actbench.store import Run
from actbench.training import peak
from actbench.training.plan import Plan, plan
from actbench.training.pretrain import pretrain
from actbench.training.signals import Stop

Actbench = Callable[..., Any]
Write = Callable[..., Path]


def planned(recipe: Path, *changes: str, runs: Path = Path("runs")) -> Plan:
    return plan(load_recipe(recipe, list(changes)), runs, lambda _: None)


# The command.


def test_a_bert_by_the_command(actbench: Actbench, tiny_recipe: Write, tmp_path: Path) -> None:
    begin, end = output.marks("step tiny-bert")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    before = {path.name for path in tmp_path.iterdir()} | {"bert.yaml", "found.json"}
    started = time.perf_counter()
    done = actbench(
        *("bench", "step", "-r", tiny_recipe(), "--steps", 6, "-o", "page.md", "-o", "found.json", "--json"),
        check=0,
        ACTBENCH_RUNS=str(tmp_path / "runs"),
    )
    passed = time.perf_counter() - started
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "found.json").read_text())
    assert {path.name for path in tmp_path.iterdir()} == before  # no run's folder, nor anything else
    assert "[W" not in done.stderr and "profiler_start" not in done.stderr

    seconds = found["seconds"]
    assert list(seconds) == ["step", *PARTS, REST]
    assert all(0 < s["quartiles"][0] <= s["median"] <= s["quartiles"][1] < passed for s in seconds.values())
    assert sum(seconds[name]["share"] for name in (*PARTS, REST)) == pytest.approx(1) == seconds["step"]["share"]
    assert seconds["step"]["median"] < found["first_step_seconds"] < passed
    assert found["tokens_per_second"] == pytest.approx(8 * 32 / seconds["step"]["median"])
    rate = found["tokens_per_second"] * found["model"]["flops_per_token"]
    assert found["tflops"] == pytest.approx(rate / 1e12)
    assert found["utilisation"] == pytest.approx(found["tflops"] / found["peak"]["tflops"])
    assert found["peak"]["measured_at"] >= peak.SMALLEST

    parameters, memory = found["model"]["parameters"], found["memory_bytes"]
    assert 2.5 * 4 * parameters < memory["weights_and_optimiser"] < 3.1 * 4 * parameters
    assert memory["weights_and_optimiser"] + 3 * parameters < memory["tensors"] < memory["process"]

    shares = found["shares"]
    assert list(shares) == list(kernels.CLASSES) and sum(shares.values()) == pytest.approx(1)
    classes = {"matmul", "eager elementwise", "optimiser", "data", "between kernels"}
    assert all(shares[name] > 0 for name in classes)
    assert shares["compiled elementwise"] == 0 and shares["other kernels"] < 0.01
    names = {(kernel["name"].split()[0], kernel["part"]) for kernel in found["kernels"]}
    assert {("aten::addmm", "forward"), ("aten::mm", "backward"), ("aten::_fused_adamw_", "optimiser")} <= names

    text = page.read_text()
    assert text.startswith(f"before\n{begin}\n\nMeasured on ") and text.endswith(f"{end}\nafter\n")
    assert "| whole step | " in text and "model-FLOPs utilisation" in text and "old" not in text


def test_a_gpt_in_micro_batches_against_a_stated_peak(tiny_recipe: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_recipe("gpt", batch={"sequences": 8, "accumulate": 2}).parent)
    said: list[str] = []
    peaks: list[int] = []
    monkeypatch.setattr(running, "peak_seen", lambda profiler: peaks.append(peak_seen(profiler)) or peaks[-1])
    recipe = load_recipe(Path("gpt.yaml"), ["name=other"])
    found = running.run(recipe, steps=2, tflops=0.5, began=0.0, command="it", say=said.append)
    assert found.command == "step other" and found.failed == ()
    assert found.tokens == 8 * 32 and found.peak == peak.Peak(5e11)
    assert not any("peak" in line for line in said)
    assert found.memory.tensors == found.memory.held + peaks[0]
    text = found.to_text(200)
    assert text.startswith("other: ") and "8 x 32 tokens a step" in text
    assert "% of 0.5 TFLOP/s, as stated" in text
    for row in (*PARTS, REST, "whole step"):
        assert f"\n {row} " in text
    calls = {(kernel.name, kernel.part): kernel.calls for kernel in found.breakdown.kernels}
    assert calls["aten::mm 128x32 32x64", "forward"] == 4  # two layers, two times four sequences of 32 tokens
    assert calls["aten::_fused_adamw_", "optimiser"] == 2  # matrices, vectors
    assert sorted(path.name for path in Path().iterdir()) == ["gpt.yaml"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "0"], "--steps"),
        (["--peak", "-1"], "--peak: -1 is no peak (TFLOP/s, above 0, as in 0.4)"),
        (["--peak", "nan"], "--peak: nan is no peak"),
        (["--set", "model.n_layer=3"], "did you mean 'model.n_layers'?"),
        (["-o", "page.md"], "put the lines <!-- actbench bench step tiny-bert --> and"),
    ],
)
def test_bad_input_is_told(actbench: Actbench, tiny_recipe: Write, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "page.md").write_text("<!-- actbench bench step other -->\n<!-- end of actbench bench step other -->\n")
    done = actbench("bench", "step", "-r", tiny_recipe(), *words, check=2)
    assert said in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


# The steps.


def test_the_steps_are_those_of_pre_training(tiny_recipe: Write, tmp_path: Path) -> None:
    losses: list[float] = []

    def keep(module: TimedModule, step: int) -> None:
        losses.append(module.losses[-1].item())

    work = planned(tiny_recipe(schedule={"kind": "constant", "warmup_fraction": 0.0}), runs=tmp_path / "runs")
    train(work, 12, Clock("cpu"), Stop(), keep)
    pretrain(work, resume=False, say=lambda _: None)
    rows = [row["loss"] for row in Run(work.folder).metrics() if row["kind"] == "train"]
    assert losses == pytest.approx(rows, abs=1e-6) and len(set(losses)) == 12


def test_what_starts_frozen_is_measured_as_it_learns(tiny_recipe: Write) -> None:
    seen: list[bool] = []

    def look(module: TimedModule, step: int) -> None:
        coefficients = module.model.layers[0].feed_forward.activation.parameters()
        moments = (module.optimizer.state.get(p, {}).get("exp_avg") for p in coefficients)
        seen.extend(moment is not None and bool(moment.any()) for moment in moments)

    changes = ("model.activation.name=raf", "optimizer.activation.unfreeze_after=9")
    train(planned(tiny_recipe(), *changes), 1, Clock("cpu"), Stop(), look)
    assert seen and all(seen)


def test_a_signal_ends_the_command_after_the_step(tiny_recipe: Write) -> None:
    stop, steps = Stop(), []

    def interrupt(module: TimedModule, step: int) -> None:
        steps.append(step)
        stop.number = 15

    with pytest.raises(Interrupted, match="nothing was measured") as error:
        train(planned(tiny_recipe()), 5, Clock("cpu"), stop, interrupt)
    assert steps == [1] and error.value.exit_code == 143


# The clock.


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Time that passes only when told to."""
    passed = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: passed[0])

    def more(seconds: float) -> None:
        passed[0] += seconds

    return more


def test_what_is_in_no_part_is_the_rest(tick: Callable[[float], None]) -> None:
    clock = Clock("cpu")
    for slower in (100, 1, 2, 3):
        tick(50)  # between the steps: counts nowhere
        clock.start()
        tick(0.5)
        for _ in range(2):  # two micro-batches
            for part, seconds in zip(PARTS[:3], (1, 2, 3), strict=True):
                with clock.part(part):
                    tick(seconds * slower)
        with clock.part("optimiser"):
            tick(4)
        tick(1.5)
        clock.step_done()
    whole, parts = clock.summary(skip=1)
    assert clock.first_step_end == 50 + 0.5 + 1200 + 4 + 1.5
    assert (whole.median, whole.quartiles, whole.share) == (30, (24, 36), 1)
    assert {name: part.median for name, part in parts.items()} == {
        "data": 4, "forward": 8, "backward": 12, "optimiser": 4, "rest": 2
    }  # fmt: skip
    assert parts["backward"].quartiles == (9, 15) and parts["backward"].share == pytest.approx(36 / 90)


# The peak.


def test_the_fastest_size_is_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fastest(size: int, dtype: torch.dtype, device: str) -> float:
        tried.append((size, dtype))
        return 2 * size**3 / {256: 1e10, 512: 4e10, 1024: 3e10, 2048: 2e10}[size]

    monkeypatch.setattr(peak, "_fastest", fastest)
    found = peak.measured_peak("bf16", "cpu")
    assert (found.flops, found.size) == (pytest.approx(4e10), 512)
    assert tried == [(size, torch.bfloat16) for size in (256, 512, 1024, 2048)]  # 4096 would take 3 seconds


def test_a_real_peak_counts_two_operations_a_multiplication(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(peak, "now", lambda device: 1e-3 * next(now))
    monkeypatch.setattr(peak, "AT_A_SIZE", 0.01)
    monkeypatch.setattr(peak, "LARGEST", peak.SMALLEST)
    assert peak.measured_peak("fp32", "cpu").flops == pytest.approx(2 * 256**3 / 1e-3)


# Kernels.


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("matmul", ["aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "mkldnn::_linear_pointwise"]),
        ("matmul", ["sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "nvjet_hsh_128x256_64x4_1x2"]),
        ("matmul", ["void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_32x32_128x2_nn_align8>"]),
        ("fused attention", ["aten::_scaled_dot_product_flash_attention_for_cpu_backward", "aten::_flash_attention"]),
        ("fused attention", ["void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_traits>"]),
        (
            "compiled elementwise",
            ["graph_0_cpp_fused__softmax__to_copy_embedding_mm_where_7", "triton_poi_fused_add_0"],
        ),
        ("compiled elementwise", ["## Call CompiledFxGraph fizwsedrj2vgywd5wcgqpusww5nr5oeq5bujw56c5nhldavjocbi ##"]),
        ("eager elementwise", ["aten::gelu", "aten::native_layer_norm_backward", "aten::sum", "aten::where"]),
        ("eager elementwise", ["void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl>"]),
        ("embedding", ["aten::embedding_dense_backward", "aten::index_select"]),
        ("copies and casts", ["aten::copy_", "aten::cat", "Memcpy HtoD (Pageable -> Device)"]),
        ("optimiser", ["aten::_fused_adamw_", "aten::_foreach_norm"]),
        ("optimiser", ["void at::native::multi_tensor_apply_kernel<at::native::FusedAdamMathFunctor<float, 4>>"]),
        ("between kernels", ["Optimizer.step#AdamW.step", "torch::autograd::AccumulateGrad", "cudaLaunchKernel"]),
        ("between kernels", ["Torch-Compiled Region: 0/0", "TorchDynamo Cache Lookup", "CompiledFunctionBackward"]),
        (
            "between kernels",
            ["autograd::engine::evaluate_function: EmbeddingBackward0", "_CrossEntropy", "MmBackward0"],
        ),
        ("between kernels", ["aten::empty_strided", "aten::as_strided", "aten::t", "aten::to", "aten::item"]),
        ("other kernels", ["something new"]),
    ],
)
def test_kernels_have_a_class_by_their_names(kind: str, names: list[str]) -> None:
    assert {name: classify(name) for name in names} == dict.fromkeys(names, kind)


def event(name: str, microseconds: float, parent: Any = None, **more: Any) -> Any:
    facts = {"name": name, "self_cpu_time_total": microseconds, "cpu_parent": parent, "input_shapes": [], **more}
    return SimpleNamespace(**facts)


def broken_down(events: list[Any], device: str = "cpu", steps: int = 1, seconds: float = 100e-6) -> Breakdown:
    return breakdown(SimpleNamespace(events=lambda: events), device, steps, seconds)  # type: ignore[arg-type]


def test_batches_and_the_optimiser_own_whatever_they_call() -> None:
    data, update, backward = (event(RANGE + part, 5) for part in ("data", "optimiser", "backward"))
    node = event("MmBackward0", 1, backward)
    events = [
        *(data, update, backward, node),
        *(event("aten::copy_", 10, data), event("aten::mul_", 20, update)),
        *(event("aten::mm", 30, node, input_shapes=[[4, 2], [2, 8]]), event("aten::copy_", 4)),
    ]
    found = broken_down(events)
    times = {"data": 15, "optimiser": 25, "matmul": 30, "copies and casts": 4, "between kernels": 26}
    assert found.shares == {kind: pytest.approx(times.get(kind, 0) / 100) for kind in kernels.CLASSES}
    assert found.kernels[0] == Kernel("aten::mm 4x2 2x8", "matmul", "backward", 1, pytest.approx(0.3))
    assert {kernel.kind for kernel in found.kernels} == {"data", "optimiser", "matmul", "copies and casts"}


def test_products_of_other_shapes_are_other_kernels() -> None:
    shapes = [[[8], [4, 2], [2, 8]], [[8], [4, 2], [2, 8]], [[6], [4, 2], [2, 6]]]
    found = broken_down([event("aten::addmm", 10, input_shapes=each) for each in shapes], steps=2)
    assert [(k.name, k.calls) for k in found.kernels] == [("aten::addmm 4x2 2x8", 1), ("aten::addmm 4x2 2x6", 0.5)]


def test_a_graphs_own_time_is_a_call_where_its_kernels_have_names() -> None:
    graph = event("## Call CompiledFxGraph fab ##", 40)
    assert broken_down([graph]).shares["compiled elementwise"] == pytest.approx(0.4)
    named = broken_down([graph, event("graph_0_cpp_fused_gelu_0", 50, graph)])
    assert named.shares["compiled elementwise"] == pytest.approx(0.5)
    assert named.shares["between kernels"] == pytest.approx(0.5)


def test_a_gpus_own_times_count() -> None:
    def on_gpu(name: str, microseconds: float, annotation: bool = False) -> Any:
        span = SimpleNamespace(elapsed_us=lambda: microseconds)
        more = {"device_type": DeviceType.CUDA, "is_user_annotation": annotation, "time_range": span}
        return event(name, 0, **more)

    launch = event("aten::mm", 70, device_type=DeviceType.CPU)
    events = [launch, on_gpu("nvjet_hsh", 60), on_gpu("Memset (Device)", 10), on_gpu(RANGE + "forward", 95, True)]
    found = broken_down(events, "cuda")
    assert found.shares["matmul"] == pytest.approx(0.6) and found.shares["between kernels"] == pytest.approx(0.3)
    overlapping = broken_down([on_gpu("nvjet_hsh", 150), on_gpu("Memset (Device)", 50)], "cuda")
    assert overlapping.shares["matmul"] == pytest.approx(0.75) and overlapping.shares["between kernels"] == 0


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_compiled_kernels_have_names_when_they_are_profiled() -> None:
    import torch._inductor.config as inductor

    compiled = torch.compile(lambda x: x.sin() * 2)
    with running._named_kernels(True):
        compiled(torch.ones(5))
    assert not inductor.cpp.enable_kernel_profile
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        compiled(torch.ones(5))
    found = breakdown(profiler, "cpu", 1, 1e-9)
    names = [kernel.name for kernel in found.kernels if kernel.kind == "compiled elementwise"]
    assert len(names) == 1 and "cpp_fused_mul_sin" in names[0]


def test_memory_freed_before_more_is_taken_does_not_add_up() -> None:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for _ in range(2):
            first = torch.empty(1000)
            del first
        kept = [torch.empty(500), torch.empty(250)]
    assert peak_seen(profiler) == 4000 and len(kept) == 2


# The results.


def results(**changes: Any) -> Results:
    machine = {
        "gpu": None, "processor": "A processor", "cores_used": 1, "cores": 2, "threads": 1, "load_average": 0.0,
        "libraries": {"torch": "2.0"}, "python": "3.11", "actbench": "0", "date": "2026-01-02", "command": "it",
    }  # fmt: skip
    step = Seconds(0.5, (0.4, 1.7), 1.0)
    slow = [Kernel(f"graph_0_cpp_fused_{'x' * 60}_{i}", "matmul", "forward", 2, 0.1 - i / 1000) for i in range(12)]
    facts: dict[str, Any] = {
        "machine": machine,
        "settings": {"steps": 5, "warm_up": 3, "profiled": 3, "batch": "4 x 250"},
        "name": "some",
        "model": {"flops_per_token": 3e6, "parameters": 1_000_000},
        "hardware": {"compiled": True, "precision": "bf16"},
        "tokens": 1000,
        "first_step": 9.5,
        "whole": step,
        "parts": dict.fromkeys((*PARTS, REST), Seconds(0.0996, (0.09, 0.12), 0.2)),
        "memory": Memory(1_000_000, 2_000_000, 30_000_000),
        "peak": peak.Peak(1e10, 512),
        "breakdown": Breakdown({"matmul": 0.9, "data": 0.1, "embedding": 0.0}, tuple(slow), 0.6),
        "warnings": (),
    }
    return Results(**{**facts, **changes})


def test_utilisation_is_the_models_flops_by_the_peak() -> None:
    found = results()
    assert (found.tokens_per_second, found.flops) == (2000, 6e9)
    assert found.utilisation == pytest.approx(0.6)
    assert "60.0 % of 0.01 TFLOP/s, measured here with 512 x 512 matrices" in found.to_text(200)
    assert found.notes() == []


def test_a_step_faster_than_the_peak_is_told() -> None:
    found = results(peak=peak.Peak(5e9))
    assert found.utilisation == pytest.approx(1.2)
    assert "state a higher one" in found.to_text(200) and "state a higher one" in found.to_markdown()
    assert any("state a higher one" in warning for warning in found.to_json()["warnings"])


def test_the_tables_show_the_ten_slowest_kernels_and_no_class_without_time() -> None:
    found = results()
    assert len(found.slowest().rows) == 10 and len(found.to_json()["kernels"]) == 12
    assert found.slowest().rows[3].cells[0].endswith("x_3") and len(found.slowest().rows[3].cells[0]) < 60
    assert [row.cells for row in found.classes().rows] == [("matmul", "90.0 %"), ("data", "10.0 %")]
    assert ("data", "99.6 [90, 120]", "20.0 %") in [row.cells for row in found.times().rows]
    assert ("whole step", "500 [400, 1,700]", "100.0 %") in [row.cells for row in found.times().rows]
