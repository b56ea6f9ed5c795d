"""`actbench bench step`: some steps against the clock, the machine's peak, a few more steps under the profiler."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from actbench.bench import machine
from actbench.bench.memory import QUIET, held_bytes, peak_seen
from actbench.bench.step.clock import Clock
from actbench.bench.step.kernels import Breakdown, breakdown
from actbench.bench.step.results import Memory, Results
from actbench.bench.step.training import STOPPED, TimedModule, train
from actbench.config import Recipe
from actbench.errors import BadInput, Problem
from actbench.training.memory import peak_memory_bytes
from actbench.training.peak import Peak, measured_peak
from actbench.training.plan import Plan, plan
from actbench.training.signals import Stop, stoppable

WARM_UP = 3  # steps before any is measured; the first compiles
PROFILED = 3


def run(recipe: Recipe, *, steps: int, tflops: float | None, began: float, command: str, say: Callable) -> Results:
    """Measures so many steps of the recipe against the peak `tflops`, or against one that is measured too.

    `began` is when the command did, on time.perf_counter's scale. Nothing is written but the token cache. Raises
    BadInput, RunFailed when the loss is no longer finite, Interrupted.
    """
    facts = machine.facts(command)
    warning = machine.busy(facts)
    planned = plan(recipe, Path(), say)
    hardware = planned.hardware
    if hardware.device not in ("cpu", "cuda"):
        hint = "--set hardware.device=cpu"
        raise BadInput(Problem(f"cannot look into steps on {hardware.device}", key="hardware.device", hint=hint))
    if hardware.processes > 1:
        hint = "--set hardware.devices=1"
        raise BadInput(Problem("looks into the steps of one process", key="hardware.devices", hint=hint))
    if warning:
        say(f"warning: {warning}")
    clock = Clock(hardware.device)
    with stoppable(STOPPED) as stop:
        say(f"training {WARM_UP} steps to warm up and {steps} to measure")
        train(planned, WARM_UP + steps, clock, stop)
        process = peak_memory_bytes("cpu")
        if tflops is None:
            say(f"measuring the peak of {hardware.precision} matrix products")
            limit = measured_peak(hardware.precision, hardware.device)
        else:
            limit = Peak(tflops * 1e12)
        say(f"profiling {PROFILED} steps" + (", compiled anew: each kernel gets a name" if hardware.compiled else ""))
        found, held, tensors = _profiled(planned, stop)
    whole, parts = clock.summary(skip=WARM_UP)
    batch = recipe.batch
    return Results(
        machine=facts,
        settings={
            "steps": steps,
            "warm_up": WARM_UP,
            "profiled": PROFILED,
            "batch": f"{batch.sequences} x {batch.length}",
        },
        name=recipe.name,
        model=planned.model,
        hardware=hardware.facts(),
        tokens=recipe.tokens_per_step,
        first_step=clock.first_step_end - began,
        whole=whole,
        parts=parts,
        memory=Memory(held, tensors, process),
        peak=limit,
        breakdown=found,
        warnings=(warning,) if warning else (),
    )


def _profiled(planned: Plan, stop: Stop) -> tuple[Breakdown, int, int]:
    """Time by kernels; bytes of weights and optimiser state; bytes of all tensors at the peak."""
    device = planned.hardware.device
    clock = Clock(device)
    held = before = above = 0
    os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    profiler = profile(activities=activities, profile_memory=True, record_shapes=True)

    def after_step(module: TimedModule, step: int) -> None:
        nonlocal held, before, above
        if step == WARM_UP:
            held = held_bytes(module, module.optimizer)
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            profiler.start()
        elif step == WARM_UP + PROFILED:
            profiler.stop()
            above = torch.cuda.max_memory_allocated() - before if device == "cuda" else peak_seen(profiler)

    with _named_kernels(planned.hardware.compiled):
        train(planned, WARM_UP + PROFILED, clock, stop, after_step)
    return breakdown(profiler, device, PROFILED, sum(clock.wholes[WARM_UP:])), held, held + above


def _named_kernels(compiled: bool) -> contextlib.AbstractContextManager:
    """Compiled kernels show in a profile, each by its name, and not only the graphs that call them."""
    if not compiled:
        return contextlib.nullcontext()
    import torch._inductor.config as inductor

    return inductor.patch("cpp.enable_kernel_profile", True)
