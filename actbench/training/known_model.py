"""A model that came ready, as a finished pre-training run: planned from its config.json, then taken into the store.

Its recipe says what is known of it, its model and tokenizer; it has no text and no budget. Its activations may be
swapped for others, the rest of the recipe is the checkpoint's. Importing this module loads no weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.activations import get
from actbench.config import Recipe
from actbench.config.corpus import CheckpointCorpus
from actbench.config.own_files import code_hashes
from actbench.config.placement import POOLER, in_short, placement
from actbench.config.resolve import apply_overrides, recipe_from
from actbench.config.yaml_source import Source
from actbench.data import tokenizer as tokenizing
from actbench.data.checkpoints import Checkpoint, open_checkpoint
from actbench.errors import BadInput, Problem
from actbench.nn.hugging_face import config_problems, first_position, model_section
from actbench.nn.size import size
from actbench.store import Run, identity_hash
from actbench.training.hardware import Hardware, choose

PREFIX = "hf:"  # before a folder or a hub's ID, where a run could be named too
# Where a RAF starts that takes GELU's place: within 0.003 of it on [-6, 6], within 0.05 up to 10, where the published
# start, fitted on [-3, 3], is 2.5 away (docs/known-models.md).
LIKE_GELU = {"init": "gelu", "range": [-6.0, 6.0]}
LIKE_TANH = {"init": "tanh", "range": [-8.0, 8.0]}  # in the pooler: within 0.0003 of it there, 0.008 up to 10
START = {"init", "numerator", "denominator"}
# The tokenizer's kind and special tokens, by config.json's model_type.
TOKENIZERS = {
    "bert": ("wordpiece", tokenizing.BERT_SPECIALS),
    "roberta": ("byte_bpe", tokenizing.ROBERTA_SPECIALS),
}
# What a recipe may say otherwise than its checkpoint, of the sections that the checkpoint decides.
OPEN = {"model": {"activation", "activation_overrides", "dropout", "mask_fraction"}, "batch": {"length"}}
CLOSED = ("model", "corpus", "tokenizer", "batch", "budget")
OF_TRAINING = ("optimizer", "schedule", "validation", "checkpoint")


@dataclass(frozen=True)
class ImportPlan:
    """A checkpoint, and the run that it becomes; `own` is the recipe without a swap."""

    recipe: Recipe
    own: Recipe
    checkpoint: Checkpoint
    origin: dict[str, Any]
    folder: Path
    vocab_size: int
    model: dict[str, Any]
    hardware: Hardware  # of what follows

    @property
    def run(self) -> Run:
        """The run this plan leads to, finished or not."""
        return Run(self.folder)

    @property
    def data_hash(self) -> str:
        """Stands for the checkpoint's files."""
        return identity_hash(self.origin["sha256"])

    @property
    def swapped(self) -> bool:
        """Whether some slot holds another activation than the checkpoint was trained with."""
        return placement(self.recipe.model) != placement(self.own.model)


def base_recipe(checkpoint: Checkpoint) -> Source:
    """What a checkpoint's files say, as the source of a recipe. Raises BadInput for what our BERT cannot be."""
    config, where = checkpoint.config, str(checkpoint.folder / "config.json")
    problems = list(config_problems(config, where))
    if problems:
        raise BadInput(problems)
    kind, _ = TOKENIZERS[config["model_type"]]
    return Source(
        {
            "name": checkpoint.name,
            "model": model_section(config),
            "corpus": {"source": "checkpoint", "checkpoint": checkpoint.reference},
            "tokenizer": {"kind": kind, "file": "tokenizer.json", "lowercase": checkpoint.lowercase},
            "batch": {"sequences": 1, "length": config["max_position_embeddings"] - first_position(config)},
            "budget": {},
        },
        {"": where},
    )


def known_recipe(reference: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of a checkpoint with `changes` ("key=value") to it. Raises BadInput."""
    return swapped_recipe(apply_overrides(base_recipe(open_checkpoint(reference)), changes))


def swapped_recipe(source: Source) -> Recipe:
    """The recipe of a changed source. A RAF that is not told where to start is fitted to what it takes the place of.

    Raises BadInput, also for a text to train on.
    """
    corpus, model = source.data.get("corpus"), source.data.get("model")
    if isinstance(corpus, dict) and corpus.get("source") != "checkpoint":
        message = "a model that came ready is not trained on a text"
        raise BadInput(Problem(message, source.place("corpus.source"), "corpus.source"))
    if isinstance(model, dict):
        source = Source({**source.data, "model": {**model, **_fitted(model)}}, source.places)
    return recipe_from(source)


def _fitted(model: Mapping[str, Any]) -> dict[str, Any]:
    """The activations of a raw model section, each RAF without a start given one."""
    changed: dict[str, Any] = {}
    if _wants_a_start(model.get("activation")):
        changed["activation"] = {**LIKE_GELU, **model["activation"]}
    overrides = model.get("activation_overrides")
    if isinstance(overrides, list):
        changed["activation_overrides"] = [
            {**(LIKE_TANH if one.get("slot") == POOLER else LIKE_GELU), **one} if _wants_a_start(one) else one
            for one in overrides
        ]
    return changed


def _wants_a_start(spec: Any) -> bool:
    return isinstance(spec, dict) and spec.get("name") == "raf" and not START & set(spec)


def plan_import(recipe: Recipe, runs: Path) -> ImportPlan:
    """The plan to take the recipe's checkpoint in. Raises BadInput where it has other sizes, or the swap no place.

    So it does for what would change nothing but the run's identity: one checkpoint is one model, whatever the seed.
    """
    assert isinstance(recipe.corpus, CheckpointCorpus)
    checkpoint = open_checkpoint(recipe.corpus.checkpoint)
    own = recipe_from(base_recipe(checkpoint))
    problems = [*_contradictions(recipe, own), *_without_effect(recipe, own), *_without_a_place(recipe)]
    if problems:
        raise BadInput(problems)
    vocab_size, origin = int(checkpoint.config["vocab_size"]), checkpoint.facts()
    _check_tokenizer(checkpoint, vocab_size)
    identity = {"kind": "import", "recipe": recipe.identity(), "data": origin["sha256"], "code": code_hashes(recipe)}
    folder = runs / f"{recipe.name}-{in_short(recipe.model)}-s{recipe.seed}-{identity_hash(identity)}"
    model = size(recipe.model, vocab_size, recipe.batch.length)
    hardware = choose(recipe.hardware, recipe.model.d_model)
    return ImportPlan(recipe, own, checkpoint, origin, folder, vocab_size, model, hardware)


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's tokenizer. Raises BadInput when it cannot be read or is not of its model's kind."""
    path, family = checkpoint.tokenizer, checkpoint.config["model_type"]
    kind, specials = TOKENIZERS[family]
    tokenizer = tokenizing.load(path, checkpoint.lowercase, specials=specials, prefix_space=checkpoint.prefix_space)
    if (found := tokenizing.kind_of(tokenizer, path)) != kind:
        message = f"holds a {found} tokenizer: of a {family}, only a {kind} one is supported"
        raise BadInput(Problem(message, where=str(path)))
    tokenizing.check_specials(tokenizer, specials, path)
    return tokenizer


def _check_tokenizer(checkpoint: Checkpoint, vocab_size: int) -> None:
    size = tokenizing.vocabulary_size(load_tokenizer(checkpoint))
    if size > vocab_size:
        message = f"has {size:,} tokens, and the model embeds {vocab_size:,}"
        raise BadInput(Problem(message, where=str(checkpoint.tokenizer)))


def _contradictions(recipe: Recipe, own: Recipe) -> Iterator[Problem]:
    """What the recipe says otherwise than the checkpoint."""
    if recipe.model.family != own.model.family:
        yield Problem(f"the checkpoint is a {own.model.family}, not a {recipe.model.family}", key="model.family")
        return
    for section, key, is_so, value in _differing(recipe, own, CLOSED):
        if key not in OPEN.get(section, ()):
            yield Problem(f"the checkpoint has {is_so}, not {value}", key=f"{section}.{key}")
    if recipe.batch.length > own.batch.length:
        yield Problem(f"the checkpoint has positions for {own.batch.length} tokens", key="batch.length")


def _without_effect(recipe: Recipe, own: Recipe) -> Iterator[Problem]:
    """What the recipe says of training, and a seed, on which nothing of a checkpoint depends."""
    if recipe.seed != own.seed:
        hint = "fine-tuning has seeds of its own"
        yield Problem("a model that came ready is the same for every seed: leave it out", key="seed", hint=hint)
    for section, key, *_ in _differing(recipe, own, OF_TRAINING):
        message = "a model that came ready is not trained: this does nothing, leave it out"
        yield Problem(message, key=f"{section}.{key}")


def _differing(recipe: Recipe, own: Recipe, sections: Sequence[str]) -> Iterator[tuple[str, str, Any, Any]]:
    """Section, key, the checkpoint's value and the recipe's, where both have one and it is not the same."""
    said, is_so = recipe.model_dump(mode="json"), own.model_dump(mode="json")
    for section in sections:
        for key, value in said[section].items():
            if key in is_so[section] and value != is_so[section][key]:
                yield section, key, is_so[section][key], value


def _without_a_place(recipe: Recipe) -> Iterator[Problem]:
    for slot, spec in placement(recipe.model).items():
        if get(spec.name).gated:
            message = f"'{spec.name}' is gated, and the checkpoint has no weights for a gate"
            yield Problem(message, key=f"the activation of {slot}")
