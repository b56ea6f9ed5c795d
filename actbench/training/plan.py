"""What a pre-training run will be, known before it starts; importing this does not import Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actbench.config import Recipe
from actbench.config.own_files import code_hashes
from actbench.config.placement import in_short
from actbench.data.batches import Batch, Sequences, TrainingStream, fixed_batches
from actbench.data.mixture import Mixed
from actbench.data.packing import TokenData
from actbench.data.prepared import ValidationSet, prepare_recipe
from actbench.data.sequences import cut, sequences_for
from actbench.errors import BadInput, Problem
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
    sets: dict[str, Sequences] = field(default_factory=dict)  # other texts to validate on, by name
    set_facts: dict[str, Any] = field(default_factory=dict)

    def validation_batches(self, limit: int | None = None, name: str | None = None) -> Iterator[Batch]:
        """The sequences that the run validates on, held out or of a named set, or the first `limit` of them."""
        size = self.recipe.batch.sequences // self.recipe.batch.accumulate
        sequences = self.validation if name is None else self.sets[name]
        return fixed_batches(sequences, size, limit or self.recipe.validation.sequences)

    def mixture(self, steps: int) -> dict[str, Any] | None:
        """How often each part of a mixture, by its number, is read in so many steps; None where there is no mixture."""
        order = self.stream.order
        if not isinstance(order, Mixed):
            return None
        taken = order.taken(steps * self.recipe.batch.sequences)
        parts = zip(self.tokens.facts["parts"], taken, order.lengths, strict=True)
        return {
            str(number): {"weight": part["weight"], "sequences": n, "epochs": n / length}
            for number, (part, n, length) in enumerate(parts)
        }

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
            **({"mixture": self.mixture(steps)} if steps and "parts" in self.tokens.facts else {}),
            **({"validation_sets": self.set_facts} if self.set_facts else {}),
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
    prepared = prepare_recipe(recipe, say)
    tokens = prepared.corpus
    identity: dict[str, Any] = {
        "kind": "pretrain",
        "recipe": recipe.identity(),
        "data": tokens.hash,
        "code": code_hashes(recipe),
    }
    if prepared.sets:  # what is recorded depends on them, though training does not
        identity["validation_sets"] = {name: one.facts["hash"] for name, one in prepared.sets.items()}
    folder = runs / f"{recipe.name}-{in_short(recipe.model)}-s{recipe.seed}-{identity_hash(identity)}"
    model = size(recipe.model, int(tokens.facts["vocabulary_size"]), recipe.batch.length)
    sequences = sequences_for(recipe, tokens)
    size_of_batch = recipe.batch.sequences // recipe.batch.accumulate
    stream = TrainingStream(sequences.train, size_of_batch, recipe.seed, sequences.order)
    sets = {name: _set(recipe, tokens, name, one) for name, one in prepared.sets.items()}
    facts = {name: one.facts for name, one in prepared.sets.items()}
    return Plan(recipe, tokens, folder, model, hardware, stream, sequences.validation, sets, facts)


def _set(recipe: Recipe, tokens: TokenData, name: str, text: ValidationSet) -> Sequences:
    sequences = cut(recipe, tokens.tokenizer_file, text.tokens)
    if len(sequences) == 0:
        raise BadInput(Problem("the text is shorter than one sequence", key=f"validation.sets.{name}"))
    return sequences
