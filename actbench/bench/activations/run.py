"""`actbench bench activations`: every combination asked for, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from actbench.bench import machine
from actbench.bench.activations import alone, peers, steps
from actbench.bench.activations.cells import Cell
from actbench.bench.activations.request import Request
from actbench.bench.activations.results import Results
from actbench.errors import BadInput, Problem
from actbench.training.hardware import Hardware

Job = tuple[str, Callable[[], Cell]]


def run(
    request: Request, *, with_peers: bool, step_names: tuple[str, ...], sequences: int, command: str, say: Callable
) -> Results:
    """Measures everything and tells of each result as it comes; `step_names` are measured in whole models too.

    A combination that raises is reported as failed, and the others go on. Raises BadInput where nothing can be done.
    """
    hardware, facts = machine.hardware(), machine.facts(command)
    warning = machine.busy(facts)
    if warning:
        say(f"warning: {warning}")
    jobs, skipped = _jobs(request, with_peers, step_names, sequences, hardware)
    for reason in skipped:
        say(f"left out: {reason}")
    cells, failed = [], []
    for number, (label, job) in enumerate(jobs, start=1):
        try:
            cells.append(job())
            said = cells[-1].summary()
        except Exception as error:  # an activation, a peer or the compiler may raise anything
            failed.append(f"{label}: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
            said = "failed"
        say(f"[{number}/{len(jobs)}] {label}: {said}")
    settings = {**request.to_json(), "in_model": list(step_names), "sequences": sequences}
    return Results(facts, settings, tuple(cells), tuple(skipped), tuple(failed), (warning,) if warning else ())


def _jobs(
    request: Request, with_peers: bool, step_names: tuple[str, ...], sequences: int, hardware: Hardware
) -> tuple[list[Job], list[str]]:
    """What can be measured here, and why the rest cannot."""
    modes, skipped = list(request.modes), []
    if "compiled" in modes and not hardware.compiled:
        modes.remove("compiled")
        skipped.append(f"compiled: no compiler found for {hardware.device}")
    if not modes:
        raise BadInput(Problem(f"no compiler found for {hardware.device}", "--modes", hint="use eager"))
    with_peer = [name for name in request.names if with_peers and name in peers.PEERS]
    reasons = {name: peers.missing(name, hardware.device) for name in with_peer}
    skipped += [f"the peer of {name}: {reason}" for name, reason in reasons.items() if reason]
    sources = [(name, f"{name}", alone.measure) for name in request.names]
    sources += [(n, f"{peers.PEERS[n][0]} / {n}", peers.measure) for n, reason in reasons.items() if not reason]
    jobs: list[Job] = [
        (
            f"{label} {dtype} {mode} {shape[0]}x{shape[1]}",
            partial(measure, name, shape, dtype, mode, rounds=request.rounds, device=hardware.device),
        )
        for name, label, measure in sources
        for mode in modes
        for dtype in request.dtypes
        for shape in request.shapes
    ]
    jobs += [
        (
            f"{name} in a {family} step",
            partial(steps.measure, family, name, sequences=sequences, hardware=hardware, rounds=request.rounds),
        )
        for family in steps.MODELS
        for name in step_names
    ]
    return jobs, skipped
