"""What a pre-training run will be, known before it starts; importing this does not import Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actbench.config import Recipe
from actbench.config.own_files import code_hashes
from actbench.config.placement import in_short
from actbench.data.batches import Batch, Sequences, TrainingStream, fixed_batches
from actbench.data.packing import TokenData, prepare
from actbench.data.sequences import sequences_for
from actbench.nn.size import size
from actbench.nn.width import widths
from actbench.store import identity_hash
from actbench.training.hardware import Hardware, choose
from actbench.training.loggers import check_installed

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """A run that could start: its recipe, its tokens, its folder, how large it is and what it will run on."""

    recipe: Recipe
    tokens: TokenData
    folder: Path
    model: dict[str, Any]
    hardware: Hardware
    stream: TrainingStream
    validation: Sequences

    def validation_batches(self, limit: int | None = None) -> Iterator[Batch]:
        """The held-out sequences that the run validates on, or the first `limit` of them."""
        size = self.recipe.batch.sequences // self.recipe.batch.accumulate
        return fixed_batches(self.validation, size, limit or self.recipe.validation.sequences)

    def facts(self) -> dict[str, Any]:
        """What `--dry-run` shows, as JSON data."""
        steps = self.recipe.total_steps
        splits = self.tokens.facts["splits"]
        return {
            **self.model,
            "steps": steps,
            "tokens": steps * self.recipe.tokens_per_step if steps else None,
            "training_tokens_available": splits["train"]["tokens"],
            "held_out_tokens": splits["validation"]["tokens"],
            "vocabulary": self.vocab_size,
            "hardware": self.hardware.facts(),
        }

    @property
    def vocab_size(self) -> int:
        """Size of the tokenizer's vocabulary."""
        return int(self.tokens.facts["vocabulary_size"])


def plan(recipe: Recipe, runs: Path, say: Say) -> Plan:
    """Prepares the tokens and works out all that is known before training. Raises BadInput where it cannot run."""
    hardware = choose(recipe.hardware, recipe.model.d_model)
    check_installed(recipe.logging)
    widths(recipe.model)  # tells of an activation that does not fit before the tokens take their time
    tokens = prepare(recipe.corpus, recipe.tokenizer, recipe.validation.fraction, say)
    identity = {"kind": "pretrain", "recipe": recipe.identity(), "data": tokens.hash, "code": code_hashes(recipe)}
    folder = runs / f"{recipe.name}-{in_short(recipe.model)}-s{recipe.seed}-{identity_hash(identity)}"
    model = size(recipe.model, int(tokens.facts["vocabulary_size"]), recipe.batch.length)
    sequences = sequences_for(recipe, tokens)
    stream = TrainingStream(sequences.train, recipe.batch.sequences // recipe.batch.accumulate, recipe.seed)
    return Plan(recipe, tokens, folder, model, hardware, stream, sequences.validation)
