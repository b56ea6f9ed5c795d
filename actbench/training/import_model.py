"""Takes a model that came ready into the store, and tells what a swap of its activations changed.

Shapes: B batch, T time, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice

import torch
from safetensors.torch import save_file, save_model
from torch import Tensor

from actbench.config import Recipe
from actbench.config.own_files import as_recorded, code_hashes, copies
from actbench.data.batches import Batch, fixed_batches
from actbench.data.builtin import documents
from actbench.data.packing import pack_texts
from actbench.data.sequences import cut
from actbench.errors import BadInput, Problem
from actbench.nn.bert import Bert
from actbench.nn.build import build
from actbench.nn.hugging_face import Weights, first_position, from_bert
from actbench.store import Run, RunWriter, claim, environment
from actbench.store.atomic import replacing, write_json, write_text
from actbench.training.activation_record import coefficients, describe, sample_inputs
from actbench.training.known_model import ImportPlan, load_tokenizer

Say = Callable[[str], None]

MAY_BE_NEW = ("pooler.", "head.")  # a checkpoint of the bare encoder, or for masked tokens alone, lacks one
DOCUMENTS, SEQUENCES, LENGTH = 40, 4, 128  # of Python's language reference, on which a swap is measured
TOLERANCE = 0.02  # of the logits' own spread: what a fitted RAF may change, RMS


def import_model(planned: ImportPlan, say: Say) -> Run:
    """Takes the planned checkpoint in, or finds it taken in. Raises BadInput for weights that do not fit."""
    if planned.run.manifest is not None:
        return planned.run
    weights = _weights(planned)
    model = _with_weights(planned.recipe, planned.vocab_size, weights)
    with claim(planned.folder) as writer:
        if planned.run.manifest is not None:  # another process has taken it in meanwhile
            return planned.run
        new = sorted({name.partition(".")[0] for name in _shapes(model).keys() - weights.keys()})
        _describe(planned, writer, new)
        batch, swap = _sample(planned, writer), None
        if planned.swapped:
            as_it_came = planned.recipe.model_copy(update={"model": planned.own.model})
            swap = change(_with_weights(as_it_came, planned.vocab_size, weights), model, batch["tokens"])
        _tell(planned, new, swap, say)
        _save(planned, writer, model, batch)
        return writer.commit({"parameters": planned.model["parameters"], "swap": swap})


@torch.no_grad()
def change(own: Bert, swapped: Bert, tokens: Tensor) -> dict[str, float]:
    """How far the swap moves the logits of `tokens` (B, T): JSON data.

    `rms` and `max` of the differences; `relative`, their RMS over the standard deviation of a position's logits; and
    `same_top`, the share of positions whose likeliest token stays.
    """
    before, after = (model.eval().logits(tokens) for model in (own, swapped))  # (B, T, V)
    moved = after - before
    rms, spread = moved.square().mean().sqrt(), before.var(-1).mean().sqrt()
    same = (before.argmax(-1) == after.argmax(-1)).float().mean()
    found = {"rms": rms, "max": moved.abs().max(), "relative": rms / spread, "same_top": same}
    return {name: value.item() for name, value in found.items()}


def _weights(planned: ImportPlan) -> Weights:
    """The checkpoint's weights as ours, the positions that the recipe keeps."""
    path = str(planned.checkpoint.weights)
    theirs = planned.checkpoint.tensors()
    weights = from_bert(theirs, planned.own.model.n_layers, first_position(planned.checkpoint.config))
    decoder, tokens = (weights.get(f"{name}.weight", torch.empty(0)) for name in ("head.decoder", "tokens"))
    if not torch.equal(decoder, tokens):
        raise BadInput(Problem("the head's decoder has weights of its own: only tied ones are supported", where=path))
    if "positions.weight" in weights:
        weights["positions.weight"] = weights["positions.weight"][: planned.recipe.batch.length]
    return weights


def _with_weights(recipe: Recipe, vocab_size: int, weights: Weights) -> Bert:
    """The recipe's model with the weights; what these lack of its head and pooler is initialised by the seed."""
    model = build(recipe.model, vocab_size, recipe.batch.length, recipe.seed)
    assert isinstance(model, Bert)
    own = _shapes(model)
    problems = [f"{name} is missing" for name in own.keys() - weights.keys() if not name.startswith(MAY_BE_NEW)]
    problems += [
        f"{name} has shape {tuple(weights[name].shape)}, config.json makes it {tuple(shape)}"
        for name, shape in own.items()
        if name in weights and weights[name].shape != shape
    ]
    if problems:
        where = recipe.corpus.checkpoint if recipe.corpus.source == "checkpoint" else ""
        raise BadInput(Problem(f"the weights do not fit: {sorted(problems)[0]}", where=where))
    model.load_state_dict(weights, strict=False)
    return model


def _shapes(model: Bert) -> dict[str, torch.Size]:
    """Of all weights but the activations' coefficients."""
    return {name: tensor.shape for name, tensor in model.state_dict().items() if ".activation." not in name}


def _describe(planned: ImportPlan, writer: RunWriter, new: list[str]) -> None:
    recipe = planned.recipe
    for name, file in copies(recipe).items():
        write_text(writer.folder / name, file.read_text(encoding="utf-8"))
    write_text(writer.folder / "tokenizer.json", load_tokenizer(planned.checkpoint).to_str())
    hardware = {"device": "cpu", "precision": "fp32", "compiled": False, "threads": torch.get_num_threads()}
    writer.describe(
        {
            "kind": "pretrain",
            "origin": {**planned.origin, "new": new},
            "recipe": as_recorded(recipe).model_dump(mode="json"),
            "code": code_hashes(recipe),
            "data": {"hash": planned.data_hash, "vocabulary_size": planned.vocab_size},
            "model": planned.model,
            "hardware": hardware,
            "environment": environment(),
        }
    )


def _sample(planned: ImportPlan, writer: RunWriter) -> Batch:
    """Some sequences of the built-in corpus, with masks."""
    length = min(LENGTH, planned.recipe.batch.length)
    batch = planned.recipe.batch.model_copy(update={"length": length})
    texts = islice(documents(), DOCUMENTS)
    tokenizer = writer.folder / "tokenizer.json"
    tokens = pack_texts(tokenizer, texts, ends=False)
    sequences = cut(planned.recipe.model_copy(update={"batch": batch}), tokenizer, tokens)
    return next(fixed_batches(sequences, SEQUENCES))


def _tell(planned: ImportPlan, new: list[str], swap: dict[str, float] | None, say: Say) -> None:
    name = planned.folder.name
    if new:
        say(f"{name}: the checkpoint has no {' and no '.join(new)}: initialised anew")
    if swap is None:
        return
    words = f"the swap changes the logits by {swap['relative']:.2%} of their spread"
    words += f"; the likeliest token stays at {swap['same_top']:.1%} of the places"
    if swap["relative"] > TOLERANCE:
        words = f"warning: {words}. This is not the function that the model was trained with"
    say(f"{name}: {words}")


def _save(planned: ImportPlan, writer: RunWriter, model: Bert, batch: Batch) -> None:
    with replacing(writer.folder / "model.safetensors") as temporary:
        save_model(model, str(temporary))
    recorded = as_recorded(planned.recipe)
    write_json(writer.folder / "activations.json", describe(model, recorded.model, coefficients(model)))
    with replacing(writer.folder / "activation_inputs.safetensors") as temporary:
        save_file(sample_inputs(model, batch, nullcontext()), str(temporary))
