"""actbench's side: what its commands do, in a process of its own."""

from __future__ import annotations

import os
import sys

from actbench.bench.peers.gate import Gate
from actbench.bench.peers.orders import FinetuneOrder, PackOrder, PretrainOrder, Report, last_quarter
from actbench.config.corpus import FilesCorpus
from actbench.config.schema import TokenizerSection
from actbench.training.allocator import keep_freed_memory

HELD_OUT = 0.05


def pretrain(order: PretrainOrder, gate: Gate) -> Report:
    """As `actbench pretrain`."""
    keep_freed_memory()
    from actbench.training import plan, pretrain

    planned = plan.plan(order.recipe, order.folder, say)
    gate.follow_optimizers()
    run = pretrain.pretrain(planned, resume=False, say=say)
    losses = [row["loss"] for row in run.metrics() if row["kind"] == "train"]
    return Report(loss=last_quarter(losses), run=run.folder)


def finetune(order: FinetuneOrder, gate: Gate) -> Report:
    """As `actbench finetune glue`."""
    keep_freed_memory()
    from actbench.data.glue import load_glue
    from actbench.errors import RunFailed
    from actbench.store import Run
    from actbench.training import finetune, finetune_plan

    task = load_glue(order.task, order.glue)
    plans = finetune_plan.plan_finetuning(Run(order.parent), [task], [0], order.settings, order.folder)
    gate.follow_optimizers()
    (run,) = finetune.finetune(plans, say)
    if run.manifest is None:
        raise RunFailed(run.failure)
    epochs = [row["loss"] for row in run.metrics() if row["kind"] == "epoch"]
    return Report(loss=epochs[-1], score=run.summary["headline"]["value"], run=run.folder)


def pack(order: PackOrder, gate: Gate) -> Report:
    """As every command that needs tokens, with a cache that has none."""
    keep_freed_memory()
    from actbench.data import packing

    corpus = FilesCorpus(source="files", files=[str(order.text)])
    tokenizer = TokenizerSection(kind="byte_bpe", file=str(order.tokenizer))
    tokens = 0
    for number in range(order.times):
        os.environ["ACTBENCH_CACHE"] = str(order.folder / str(number))
        packed = packing.prepare(corpus, tokenizer, HELD_OUT, say)
        tokens = len(packed.train) + len(packed.validation)
        gate.step_done()
    return Report(tokens=tokens)


def say(message: str) -> None:
    """To standard error, where it is read when something goes wrong."""
    print(message, file=sys.stderr, flush=True)
