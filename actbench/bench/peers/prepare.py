"""The data, the recipes and the orders that both sides of a comparison share."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from actbench.bench import machine
from actbench.bench.peers.catalogue import Pair
from actbench.bench.peers.orders import FinetuneOrder, Order, PackOrder, PretrainOrder
from actbench.bench.peers.process import Side
from actbench.config.corpus import BuiltinCorpus, PlainCorpus
from actbench.config.finetuning import FinetuneSettings
from actbench.config.schema import (
    BatchSection,
    BertSection,
    BudgetSection,
    CheckpointSection,
    GptSection,
    HardwareSection,
    LoggingSection,
    OptimizerSection,
    Recipe,
    ScheduleSection,
    TokenizerSection,
    ValidationSection,
)
from actbench.data import packing
from actbench.data.glue import load_glue

Say = Callable[[str], None]

BUILTIN = BuiltinCorpus(source="builtin")
NEVER = 10**9  # steps: validation and checkpoints come after the last step only


@dataclass(frozen=True)
class Sizes:
    """How large the work is. Text in bytes of UTF-8, batches in sequences and examples."""

    n_layers: int = 4
    d_model: int = 256
    n_heads: int = 4
    d_ff: int = 1024
    dropout: float = 0.1
    vocabulary: int = 8192
    length: int = 128
    sequences: int = 64
    examples: int = 32
    lr: float = 5e-4  # constant: neither side's way of counting steps for a schedule makes a difference
    pretraining_steps: int = 20  # of the BERT that is fine-tuned
    text_bytes: int = 8_000_000
    corpus: PlainCorpus = BUILTIN

    def recipe(self, family: str, steps: int) -> Recipe:
        """The "bert" or "gpt" of these sizes, trained for so many steps."""
        size: dict[str, Any] = {
            "n_layers": self.n_layers, "d_model": self.d_model, "n_heads": self.n_heads, "d_ff": self.d_ff,
            "dropout": self.dropout,
        }  # fmt: skip
        bert = family == "bert"
        return Recipe(
            name=f"bench-{family}",
            model=BertSection(family="bert", **size) if bert else GptSection(family="gpt", layout="gpt2", **size),
            corpus=self.corpus,
            tokenizer=TokenizerSection(kind="wordpiece" if bert else "byte_bpe", vocab_size=self.vocabulary),
            batch=BatchSection(sequences=self.sequences, length=self.length),
            budget=BudgetSection(steps=steps),
            optimizer=OptimizerSection(lr=self.lr),
            schedule=ScheduleSection(kind="constant", warmup_fraction=0.0),
            hardware=HardwareSection(device="cuda" if machine.hardware().device == "cuda" else "cpu"),
            validation=ValidationSection(sequences=self.sequences, every_steps=NEVER),
            checkpoint=CheckpointSection(every_steps=NEVER),
            logging=LoggingSection(every_steps=1),
        )


@dataclass(frozen=True)
class Job:
    """What the two sides of a pair are told, and how much a step of theirs is, in the pair's unit."""

    ours: Order
    theirs: Order
    amount: float


class Workshop:
    """Makes the orders; what several comparisons need is made once, when the first one asks for it."""

    def __init__(self, folder: Path, sizes: Sizes, glue: Path | None, environment: dict[str, str], say: Say):
        self.folder, self.sizes, self.glue = folder, sizes, glue
        self.environment, self.say = environment, say

    def job(self, pair: Pair, steps: int) -> Job:
        """The orders for so many steps of a pair.

        Raises BadInput where the data cannot be used, SideFailed where pre-training fails.
        """
        make = {"pretrain": self._pretraining, "finetune": self._finetuning, "pack": self._packing}[pair.kind]
        order, amount = make(pair, steps)
        ours, theirs = (order.model_copy(update={"folder": self._new_folder()}) for _ in range(2))
        return Job(ours, theirs, amount)

    def _pretraining(self, pair: Pair, steps: int) -> tuple[Order, float]:
        self._tokens(pair.subject)  # packed here, if they are not yet, and not in the time of one side
        recipe = self.sizes.recipe(pair.subject, steps)
        order = PretrainOrder(folder=self.folder, recipe=recipe, bf16_and_compile=pair.compiles)
        return order, recipe.tokens_per_step

    def _finetuning(self, pair: Pair, steps: int) -> tuple[Order, float]:
        assert self.glue is not None
        size = self.sizes.examples
        # actbench's protocol takes others to choose the epoch with: half of all leaves it enough.
        available = len(load_glue(pair.subject, self.glue).train) // 2 // size * size
        train_size = max(size, min(steps * size, available))
        hardware = machine.hardware()
        settings = FinetuneSettings(
            train_size=train_size,
            epochs=-(-steps * size // train_size),
            batch_size=size,
            length=self.sizes.length,
            patience=None,
            compile="always" if hardware.compiled and hardware.device == "cpu" else "never",  # as a longer run would be
        )
        order = FinetuneOrder(
            folder=self.folder,
            parent=self._pretrained,
            glue=self.glue,
            task=pair.subject,
            settings=settings,
            padding=pair.padding,
        )
        return order, size

    def _packing(self, pair: Pair, steps: int) -> tuple[Order, float]:
        tokenizer = self._tokens("gpt").tokenizer_file.resolve()
        text, size = self._text
        length = self.sizes.length
        return PackOrder(folder=self.folder, text=text, tokenizer=tokenizer, length=length, times=steps), size / 1e6

    def _tokens(self, family: str) -> packing.TokenData:
        recipe = self.sizes.recipe(family, 1)
        return packing.prepare(recipe.corpus, recipe.tokenizer, recipe.validation.fraction, self.say)

    @cached_property
    def _pretrained(self) -> Path:
        """A BERT to fine-tune, trained for a moment: its speed is what counts, and that both sides start from it."""
        self.say(f"pre-training a BERT to fine-tune, {self.sizes.pretraining_steps} steps")
        self._tokens("bert")
        order = PretrainOrder(folder=self._new_folder(), recipe=self.sizes.recipe("bert", self.sizes.pretraining_steps))
        with Side("actbench-pretrain", order, self.environment) as side:
            side.first_step()
            run = side.finish().run
        assert run is not None
        return run

    @cached_property
    def _text(self) -> tuple[Path, int]:
        """A file of the corpus' documents, as many as the sizes say or as there are, and the bytes of their text."""
        path, size = self.folder / "text.jsonl", 0
        with path.open("w", encoding="utf-8") as file:
            for document in packing.open_source(self.sizes.corpus, self.say).read():
                file.write(json.dumps({"text": document}) + "\n")
                size += len(document.encode())
                if size >= self.sizes.text_bytes:
                    break
        return path, size

    def _new_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))
