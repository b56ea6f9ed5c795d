"""What may be said of a fine-tuning, by its options or by a study's follow-up."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from actbench.config.section import Fraction, NonNegativeFloat, Positive, PositiveFloat, Section
from actbench.config.tuning import FULL, TuneMode

OF_COEFFICIENTS = ("activation_lr", "activation_weight_decay")  # settings that matter where coefficients learn


class FinetuneSettings(Section):
    """How a pre-trained BERT is fine-tuned on one task. Epochs, batch, rates and patience are RAFT's in low data.

    `length` is an upper bound: a model pre-trained on shorter sequences has no positions beyond those.
    """

    train_size: Positive | None = None  # None: all of the training set
    tune: TuneMode = FULL  # what moves: a mode of config/tuning.py
    # What chooses the epoch. raft: a part of the training set. official: the development set that is reported on.
    protocol: Literal["raft", "official"] = "raft"
    keep_weights: bool = False  # has no influence on the run's result or identity
    epochs: Positive = 20
    batch_size: Positive = 32
    length: Annotated[int, Field(ge=8)] = 128
    lr: PositiveFloat = 5e-5
    activation_lr: PositiveFloat | None = None  # None: lr times the activation's own multiplier, mostly 1
    weight_decay: NonNegativeFloat = 0.1
    activation_weight_decay: NonNegativeFloat | None = None  # None: the activation's own, mostly 0
    warmup_fraction: Fraction = 0.0
    patience: Positive | None = 10  # epochs without a better score on the selection set; None: never stop early
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "always", "never"] = "auto"  # auto: on a CPU, for long runs of wide models


class SquadSettings(FinetuneSettings):
    """How a pre-trained BERT is fine-tuned on SQuAD: rates and epochs are RAFT's, windows and answers BERT's.

    A text longer than a window of `length` tokens is read in several, each `doc_stride` tokens further on, or half of
    what a window holds of the text where that is less. Without `epochs` there are 20 in low data, else 10.
    """

    length: Annotated[int, Field(ge=16)] = 384
    lr: PositiveFloat = 1e-4
    activation_lr: PositiveFloat | None = 5e-4
    max_query_length: Positive = 64  # tokens of a question, and never more than half of a window
    doc_stride: Positive = 128
    n_best_size: Positive = 20  # starts, and ends, of each window that may make an answer
    max_answer_length: Positive = 30  # tokens

    @model_validator(mode="before")
    @classmethod
    def _fewer_epochs_of_all_data(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "epochs" in data:
            return data
        return {**data, "epochs": 20 if data.get("train_size") else 10}
