"""`actbench bench peers`: every comparison asked for, one after the other."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import torch

from actbench.bench import machine
from actbench.bench.peers.catalogue import HF, Pair, missing
from actbench.bench.peers.prepare import Sizes, Workshop
from actbench.bench.peers.process import WARM_UP, Side, SideFailed, alternate
from actbench.bench.peers.results import Outcome, Results
from actbench.data.glue import load_glue
from actbench.training.signals import interruptible

Say = Callable[[str], None]

GPU_STEPS = 20  # of a turn on a GPU, where one step is too short to time
FINETUNING_STEPS = 5  # of a turn on a CPU: the length of one batch alone would decide a round
OURS = {"pretrain": "actbench-pretrain", "finetune": "actbench-finetune", "pack": "actbench-pack"}


def run(
    pairs: Sequence[Pair], *, rounds: int, glue: Path | None, command: str, say: Say, sizes: Sizes | None = None
) -> Results:
    """Measures those pairs and tells of each result as it comes.

    What cannot be measured here is left out, with the reason; a comparison that fails is told, and the others go on.
    Raises BadInput, before anything is measured, for GLUE data that cannot be read.
    """
    compiler = machine.hardware().compiled
    reasons = {pair: missing(pair, glue=glue is not None, compiler=compiler) for pair in pairs}
    wanted = [pair for pair in pairs if reasons[pair] is None]
    for pair in wanted:
        if pair.kind == "finetune":
            load_glue(pair.subject, glue)
    skipped = tuple(f"{pair.label}: {reason}" for pair, reason in reasons.items() if reason)
    for line in skipped:
        say(f"left out: {line}")
    facts = {**machine.facts(command), "peers": _versions()}
    warning = machine.busy(facts)
    if warning:
        say(f"warning: {warning}")
    outcomes, failed = [], []
    with interruptible("stopped"), tempfile.TemporaryDirectory(prefix="actbench-peers-") as folder:
        workshop = Workshop(Path(folder), sizes or Sizes(), glue and glue.resolve(), environment(), say)
        for number, pair in enumerate(wanted, start=1):
            say(f"[{number}/{len(wanted)}] {pair.label}: ...")
            try:
                outcomes.append(_measure(pair, workshop, rounds))
                said = outcomes[-1].summary()
            except SideFailed as error:
                failed.append(f"{pair.label}: {error}")
                said = f"failed: {error}"
            say(f"[{number}/{len(wanted)}] {pair.label}: {said}")
    settings = {
        "comparisons": list(dict.fromkeys(pair.name for pair in pairs)),
        "rounds": rounds,
        "glue": glue and str(glue),
    }
    return Results(facts, settings, tuple(outcomes), skipped, tuple(failed), (warning,) if warning else ())


def _measure(pair: Pair, workshop: Workshop, rounds: int) -> Outcome:
    turn = steps_in_a_turn(pair)
    job = workshop.job(pair, WARM_UP + rounds * turn)
    ours, theirs = alternate(
        partial(Side, OURS[pair.kind], job.ours, workshop.environment),
        partial(Side, pair.program, job.theirs, workshop.environment),
        rounds=rounds,
        steps=turn,
    )
    return Outcome(pair, rounds, turn, job.amount, ours, theirs)


def steps_in_a_turn(pair: Pair) -> int:
    """How many steps a side does when it is its turn."""
    if pair.kind == "pack":
        return 1
    if machine.hardware().device == "cuda":
        return GPU_STEPS
    return FINETUNING_STEPS if pair.kind == "finetune" else 1


def environment() -> dict[str, str]:
    """What both sides see: the same number of threads, and no network."""
    threads = str(torch.get_num_threads())
    return {**os.environ, "OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}


def _versions() -> dict[str, str]:
    found = {}
    for name in (*HF, "datasets"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
