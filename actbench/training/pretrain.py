"""One pre-training run, from a recipe to a finished folder."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors.torch import save_file, save_model

from actbench.config import Recipe, dump
from actbench.data.batches import TrainingStream, fixed_batches
from actbench.data.sequences import sequences_for
from actbench.errors import BadInput, Problem, RunFailed
from actbench.evaluation.likelihood import likelihood
from actbench.nn.bert import Bert
from actbench.nn.build import build
from actbench.nn.gpt import Gpt
from actbench.store import Run, RunWriter, claim, environment
from actbench.store.atomic import replacing, write_json, write_text
from actbench.training.activation_record import coefficients, describe, sample_inputs
from actbench.training.hardware import Hardware, compile_blocks
from actbench.training.module import PretrainModule
from actbench.training.plan import Plan, Say, plug_in_files
from actbench.training.progress import Display, display
from actbench.training.recorder import Recorder, signals_restored
from actbench.training.trainer import quiet_trainer


def pretrain(planned: Plan, *, resume: bool, say: Say) -> Run:
    """Trains the planned run, or finds it finished.

    Raises BadInput when it was begun and `resume` is not set, RunFailed when the loss stops being a number,
    Interrupted after a signal, with the state saved.
    """
    run = Run(planned.folder)
    if run.manifest is not None:
        say(f"{run.id} is finished already: nothing to do")
        return run
    with claim(planned.folder) as writer:
        if writer.checkpoint.exists() and not resume:
            raise BadInput(
                Problem(f"{planned.folder} was begun and not finished", hint="--resume goes on, or remove the folder")
            )
        try:
            return _train(planned, writer, display())
        except RunFailed as error:
            writer.fail(str(error))
            raise


def _train(planned: Plan, writer: RunWriter, shown: Display) -> Run:
    recipe, hardware = planned.recipe, planned.hardware
    _describe(planned, writer)
    sequences = sequences_for(recipe, planned.tokens)
    micro_batch = recipe.batch.sequences // recipe.batch.accumulate
    stream = TrainingStream(sequences.train, micro_batch, recipe.seed)
    model = build(recipe.model, planned.vocab_size, recipe.batch.length, recipe.seed)
    initial = coefficients(model)
    if hardware.compiled:
        compile_blocks(model)

    def validate() -> float:
        batches = fixed_batches(sequences.validation, micro_batch, recipe.validation.sequences)
        return likelihood(model, batches, hardware.autocast()).loss

    recorder = Recorder(recipe, writer, validate, shown, _tensorboard(recipe, writer))
    module = PretrainModule(model, recipe)
    checkpoint = torch_checkpoint(writer.checkpoint)
    done = checkpoint["global_step"] if checkpoint else 0
    stream.position = done * recipe.batch.accumulate
    shown.start(
        f"{planned.folder.name}: {planned.model['parameters']:,} parameters", done / (recipe.total_steps or done or 1)
    )
    try:
        with signals_restored():
            _trainer(recipe, hardware, recorder).fit(
                module, stream, ckpt_path=writer.checkpoint if checkpoint else None
            )
    finally:
        shown.stop()
    _save_results(writer, model, initial, sequences.validation, planned)
    return writer.commit(_summary(planned, recorder, writer))


def _trainer(recipe: Recipe, hardware: Hardware, recorder: Recorder) -> pl.Trainer:
    steps = recipe.total_steps or -1
    return quiet_trainer(
        hardware, recorder, max_steps=steps, max_epochs=-1, accumulate_grad_batches=recipe.batch.accumulate
    )


def torch_checkpoint(path: Path) -> dict[str, Any] | None:
    """A checkpoint's content, or None when there is none. Raises BadInput when it cannot be read."""
    if not path.exists():
        return None
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except Exception as error:
        raise BadInput(
            Problem(f"damaged checkpoint: {error}", where=str(path), hint="remove the run's folder")
        ) from None


def _describe(planned: Plan, writer: RunWriter) -> None:
    recipe = planned.recipe
    for name, file in plug_in_files(recipe).items():
        write_text(writer.folder / name, file.read_text(encoding="utf-8"))
    write_text(writer.folder / "recipe.yaml", dump(recipe))
    tokenizer = planned.tokens.tokenizer_file.read_text(encoding="utf-8")
    write_text(writer.folder / "tokenizer.json", tokenizer)
    writer.describe(
        {
            "kind": "pretrain",
            "recipe": recipe.model_dump(mode="json"),
            "data": {"hash": planned.tokens.hash, **planned.tokens.facts},
            "model": planned.model,
            "hardware": planned.hardware.facts(),
            "environment": environment(),
        }
    )


def _save_results(
    writer: RunWriter, model: Bert | Gpt, initial: dict[str, Any], validation: Any, planned: Plan
) -> None:
    with replacing(writer.folder / "model.safetensors") as temporary:
        save_model(model, str(temporary))
    write_json(writer.folder / "activations.json", describe(model, planned.recipe.model, initial))
    batch = next(fixed_batches(validation, 16, 16))
    with replacing(writer.folder / "activation_inputs.safetensors") as temporary:
        save_file(sample_inputs(model, batch, planned.hardware.autocast()), str(temporary))


def _summary(planned: Plan, recorder: Recorder, writer: RunWriter) -> dict[str, Any]:
    rows = Run(writer.folder).metrics()
    training = [row for row in rows if row["kind"] == "train"]
    validation = [row for row in rows if row["kind"] == "validation"][-1]
    last = training[-max(1, len(training) // 10) :]
    return {
        "steps": validation["step"],
        "tokens": validation["tokens"],
        "seconds": validation["seconds"],
        "train_loss": sum(row["loss"] for row in last) / len(last),  # mean over the last tenth of the logged steps
        "validation_loss": validation["loss"],
        "validation_perplexity": validation["perplexity"],
        "tokens_per_second": round(recorder.tokens_per_second(validation["step"]), 1),
        "parameters": planned.model["parameters"],
        "peak_memory_bytes": peak_memory_bytes(planned.hardware.device),
    }


def peak_memory_bytes(device: str) -> int:
    """The most memory held so far: on the GPU by torch, else by this process."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _tensorboard(recipe: Recipe, writer: RunWriter) -> Any:
    if not recipe.logging.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise BadInput(
            Problem(
                "tensorboard is not installed", key="logging.tensorboard", hint="pip install 'actbench[tensorboard]'"
            )
        ) from None
    return SummaryWriter(str(writer.folder / "tensorboard"))
