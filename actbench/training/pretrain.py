"""One pre-training run, from a recipe to a finished folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file, save_model

from actbench.config import dump
from actbench.config.own_files import as_recorded, code_hashes, copies
from actbench.errors import BadInput, Problem, RunFailed
from actbench.evaluation.likelihood import likelihood
from actbench.nn.bert import Bert
from actbench.nn.build import build, skeleton
from actbench.nn.dropout import set_part
from actbench.nn.gpt import Gpt
from actbench.store import Run, RunWriter, claim, environment
from actbench.store.atomic import replacing, write_json, write_text
from actbench.training.activation_record import coefficients, describe, sample_inputs
from actbench.training.hardware import SINGLE, compile_blocks
from actbench.training.loggers import Loggers, open_loggers
from actbench.training.memory import peak_memory_bytes
from actbench.training.module import PretrainModule
from actbench.training.peak import Peak, measured_peak
from actbench.training.plan import Plan, Say
from actbench.training.processes import train_apart
from actbench.training.progress import NoDisplay, display
from actbench.training.recorder import Recorder, share_done
from actbench.training.signals import stoppable
from actbench.training.strategies import put_together, strategy_for
from actbench.training.trainer import quiet_trainer
from actbench.training.world import World, cluster, joined

ROUTED = ("router_entropy", "busiest_expert", "idle_experts", "dropped_tokens", "load_balance", "router_z")


def pretrain(planned: Plan, *, resume: bool, say: Say) -> Run:
    """Trains the planned run, or finds it finished; in processes of its own, where it is spread over several.

    Raises BadInput when it was begun and `resume` is not set, RunFailed when the loss stops being a number,
    Interrupted after a signal, with the state saved.
    """
    run = Run(planned.folder)
    apart = planned.hardware.processes > 1
    if run.manifest is not None and not (apart and cluster()):
        return _finished(run, say)
    if apart and cluster() is None:
        train_apart(planned, resume)
        return Run(planned.folder)
    with joined(planned.hardware) as world, ExitStack() as held:
        say = say if world.first else _silent

        def begin() -> bool:
            writer = held.enter_context(claim(planned.folder))
            if Run(planned.folder).manifest is not None:  # another process has finished it meanwhile
                return False
            if writer.checkpoint.exists() and not resume:
                hint = "--resume goes on, or remove the folder"
                raise BadInput(Problem(f"{planned.folder} was begun and not finished", hint=hint))
            return True

        if not world.led(begin):
            return _finished(Run(planned.folder), say)
        writer = RunWriter(planned.folder)
        if planned.hardware.device == "cpu" and not planned.hardware.compiled:
            say("training without a compiler: slower")
        try:
            return _train(planned, writer, world)
        except RunFailed as error:
            if world.first:
                writer.fail(str(error))
            raise


def _finished(run: Run, say: Say) -> Run:
    say(f"{run.id} is finished already: nothing to do")
    return run


def _size(model: Mapping[str, Any]) -> str:
    active = f", of which a token meets {model['active_parameters']:,}" if "active_parameters" in model else ""
    return f"{model['parameters']:,} parameters{active}"


def _silent(message: str) -> None:
    pass


def _train(planned: Plan, writer: RunWriter, world: World) -> Run:
    recipe, hardware = planned.recipe, planned.hardware
    checkpoint = _checkpoint(planned, writer)
    step = checkpoint["global_step"] if checkpoint else 0
    loggers, shown = Loggers([]), display() if world.first else NoDisplay()

    def prepare() -> None:
        nonlocal loggers
        if checkpoint is None:
            _describe(planned, writer)
        writer.begin()
        loggers = open_loggers(recipe, writer.folder, step)

    world.led(prepare)
    model = build(recipe.model, planned.vocab_size, recipe.batch.length, recipe.seed)
    model.recompute = recipe.hardware.checkpoint_activations
    initial = coefficients(model)
    set_part(model, world.rank)
    if hardware.compiled:
        compile_blocks(model)

    def validate(name: str | None = None) -> float:
        batches = planned.validation_batches(name=name)
        mine = likelihood(model, batches, hardware.autocast(), world.rank, world.size)
        nats, tokens = world.total(mine.nats, mine.tokens)
        return nats / tokens

    planned.stream.position = step * recipe.batch.accumulate
    planned.stream.take_part(world.rank, world.size)
    module = PretrainModule(model, recipe, world, planned.stream)
    with stoppable("stopped; --resume goes on") as stop:
        recorder = Recorder(recipe, writer, validate, shown, stop, loggers, world)
        if checkpoint:
            recorder.load_state_dict(checkpoint["callbacks"][recorder.state_key])
        done = share_done(recipe, step, recorder.seconds)
        shown.start(f"{planned.folder.name}: {_size(planned.model)}", done)
        try:
            if done < 1:
                _fit(planned, module, recorder, writer.checkpoint if checkpoint else None)
            elif checkpoint:  # stopped between the last step and the manifest
                module.load_state_dict(checkpoint["state_dict"])
        finally:
            shown.stop()
            recorder.loggers.close()
    trained = _whole(planned, module)
    (memory,) = world.most(peak_memory_bytes(hardware.device))

    def finish() -> None:
        _save_results(writer, trained.to(hardware.device), initial, planned)
        writer.commit(_summary(planned, recorder, writer, int(memory)))

    world.led(finish)
    return Run(planned.folder)


def _fit(planned: Plan, module: PretrainModule, recorder: Recorder, checkpoint: Path | None) -> None:
    recipe = planned.recipe
    trainer = quiet_trainer(
        planned.hardware,
        recorder,
        world=module.world,
        strategy=strategy_for(recipe, module.world),
        max_steps=recipe.total_steps or -1,
        max_epochs=-1,
        accumulate_grad_batches=recipe.batch.accumulate,
    )
    trainer.fit(module, planned.stream, ckpt_path=checkpoint)


def _whole(planned: Plan, module: PretrainModule) -> Bert | Gpt:
    """The trained model in one piece; where it was split, in the first process alone."""
    if not module.sharded:
        return module.model
    recipe, first = planned.recipe, module.world.first
    state = put_together(module.model.state_dict(), keep=first)
    if not first:
        return module.model
    model = skeleton(recipe.model, planned.vocab_size, recipe.batch.length)
    model.load_state_dict(state)
    return model


def _checkpoint(planned: Plan, writer: RunWriter) -> dict[str, Any] | None:
    """The state to go on from, or None. Raises BadInput when it cannot be read or was made on other hardware."""
    path = writer.checkpoint
    if not path.exists():
        return None
    try:
        checkpoint = dict(torch.load(path, map_location="cpu", mmap=True, weights_only=True))
    except Exception as error:
        hint = "remove the run's folder to start over"
        raise BadInput(Problem(f"damaged checkpoint: {error}", where=str(path), hint=hint)) from None
    began, now = SINGLE | Run(writer.folder).info["hardware"], SINGLE | planned.hardware.facts()
    for key in ("device", "precision", "compiled", *SINGLE):
        if began[key] != now[key]:
            raise BadInput(
                Problem(
                    f"{writer.folder.name} was begun with {key} {began[key]}, this is {now[key]}", key=f"hardware.{key}"
                )
            )
    return checkpoint


def _describe(planned: Plan, writer: RunWriter) -> None:
    recipe = planned.recipe
    for name, file in copies(recipe).items():
        write_text(writer.folder / name, file.read_text(encoding="utf-8"))
    write_text(writer.folder / "recipe.yaml", dump(recipe))
    tokenizer = planned.tokens.tokenizer_file.read_text(encoding="utf-8")
    write_text(writer.folder / "tokenizer.json", tokenizer)
    writer.describe(
        {
            "kind": "pretrain",
            "recipe": as_recorded(recipe).model_dump(mode="json"),
            "code": code_hashes(recipe),
            "data": {
                "hash": planned.tokens.hash,
                **planned.tokens.facts,
                **({"validation_sets": planned.set_facts} if planned.set_facts else {}),
            },
            "model": planned.model,
            "hardware": planned.hardware.facts(),
            "environment": environment(),
        }
    )


def _save_results(writer: RunWriter, model: Bert | Gpt, initial: dict[str, Any], planned: Plan) -> None:
    with replacing(writer.folder / "model.safetensors") as temporary:
        save_model(model, str(temporary))
    recorded = as_recorded(planned.recipe)
    write_json(writer.folder / "activations.json", describe(model, recorded.model, initial))
    batch = next(planned.validation_batches(limit=16))
    with replacing(writer.folder / "activation_inputs.safetensors") as temporary:
        save_file(sample_inputs(model, batch, planned.hardware.autocast()), str(temporary))


def _summary(planned: Plan, recorder: Recorder, writer: RunWriter, memory: int) -> dict[str, Any]:
    rows = Run(writer.folder).metrics()
    training = [row for row in rows if row["kind"] == "train"]
    validation = [row for row in rows if row["kind"] == "validation"][-1]
    last = training[-max(1, len(training) // 10) :]
    speed = recorder.tokens_per_second(validation["step"])
    sets = [row for row in rows if row["kind"] == "validation_set" and row["step"] == validation["step"]]
    mixture = planned.mixture(validation["step"])
    return {
        "steps": validation["step"],
        "tokens": validation["tokens"],
        "seconds": validation["seconds"],
        "train_loss": sum(row["loss"] for row in last) / len(last),  # mean over the last tenth of the logged steps
        "validation_loss": validation["loss"],
        "validation_perplexity": validation["perplexity"],
        **({"experts": {key: validation[key] for key in ROUTED}} if ROUTED[0] in validation else {}),
        **({"validation_sets": {row["set"]: _figures(row) for row in sets}} if sets else {}),
        **({"mixture": mixture} if mixture else {}),
        "tokens_per_second": round(speed, 1),  # of all devices together
        **{key: planned.model[key] for key in ("parameters", "active_parameters") if key in planned.model},
        "peak_memory_bytes": memory,  # of the process that held most
        **_utilisation(planned, speed),
    }


def _utilisation(planned: Plan, tokens_per_second: float) -> dict[str, Any]:
    """The model's FLOPs, nothing counted that is computed anew, over what the devices can do, stated or measured now.

    Nothing where neither was asked for.
    """
    hardware, stated = planned.hardware, planned.recipe.hardware.peak_tflops
    if stated is None:
        return {}
    peak = measured_peak(hardware.precision, hardware.device) if stated == "measured" else Peak(stated * 1e12)
    done = tokens_per_second * planned.model["flops_per_token"]
    return {"mfu": round(done / (peak.flops * hardware.processes), 4), "peak": peak.to_json()}


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    return {"loss": row["loss"], "perplexity": row["perplexity"]}
