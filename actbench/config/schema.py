"""What a recipe may say. One class a section; every key is the word a reader of the papers expects.

All sections are frozen and refuse unknown keys. Units stand in the key where they are not obvious.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from actbench.activations import canonical, has_coefficients
from actbench.config.activation import (
    ActivationOptimizer,
    ActivationOptimizerOverride,
    ActivationOverride,
    ActivationSpec,
)
from actbench.config.corpus import CheckpointCorpus, Corpus, PlainCorpus
from actbench.config.moe import MoeSection
from actbench.config.placement import learning, placement, short_name, slot_names
from actbench.config.section import MOST_LAYERS, Fraction, NonNegativeFloat, Positive, PositiveFloat, Section, Several


class ModelSection(Section):
    """What BERT- and GPT-style models have in common. `d_ff` is the width of a feed-forward block with GELU."""

    n_layers: Annotated[int, Field(gt=0, le=MOST_LAYERS)]
    d_model: Positive
    n_heads: Positive
    d_ff: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    activation: ActivationSpec = ActivationSpec(name="gelu")  # of every feed-forward block
    activation_overrides: Several[ActivationOverride] = ()  # and what differs; the last word on a slot counts
    # The width at which a block has as many parameters, or costs as many FLOPs, as with GELU at d_ff; fixed: d_ff.
    ffn_width: Literal["matched", "matched_flops", "fixed"] = "matched"
    init_std: PositiveFloat | Literal["small"] = 0.02  # small: sqrt(2 / (5 d_model)), as PolyCom's code

    @model_validator(mode="after")
    def _heads_divide_width(self) -> ModelSection:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model ({self.d_model}) must be a multiple of n_heads ({self.n_heads})")
        return self


class BertSection(ModelSection):
    """A BERT-style encoder trained on masked tokens (Devlin et al. 2019). Its pooler's activation is tanh."""

    family: Literal["bert"]
    norm_placement: Literal["post", "deepnet", "pre"] = "post"  # deepnet: post with x * (2N)^(1/4) + f(x)
    norm_eps: PositiveFloat = 1e-12
    mask_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    # Of the weights into the blocks: as all others, so that a pair starts from the same; a number; or as RAFT's code
    # released them, 0.0073 before a raf and 0.0208 before all else.
    ffn_in_std: PositiveFloat | Literal["matched", "as_released"] = "matched"
    head_gelu: Literal["erf", "tanh"] = "erf"  # of the masked-language-model head: exact, or the tanh formula


class GptSection(ModelSection):
    """A GPT-style decoder: `gpt2` (learned positions, LayerNorm, biases) or `llama` (RoPE, RMSNorm, no biases)."""

    family: Literal["gpt"]
    layout: Literal["gpt2", "llama"] = "llama"
    n_kv_heads: Positive | None = None  # heads of keys and values, each shared by some of the queries' (GQA); None: all
    qk_norm: bool = False  # RMSNorm of all queries, and of all keys, before they are split into heads, as OLMoE
    moe: MoeSection | None = None  # None: dense. Its d_expert takes the place of d_ff
    norm_eps: PositiveFloat = 1e-5
    rope_theta: PositiveFloat = 10000.0
    tie_embeddings: bool = True
    # scaled: attention's and feed-forward's last layers are divided by sqrt(2 n_layers), as GPT-2; same: not, as OLMoE.
    init_outputs: Literal["scaled", "same"] = "scaled"

    @model_validator(mode="before")
    @classmethod
    def _experts_have_the_width(cls, data: Any) -> Any:
        moe = data.get("moe") if isinstance(data, dict) else None
        width = moe.get("d_expert") if isinstance(moe, dict) else getattr(moe, "d_expert", None)
        if width is None:
            return data
        if data.get("d_ff") not in (None, width):
            raise ValueError("with moe, the width is moe.d_expert: leave d_ff out (null takes one back)")
        return {**data, "d_ff": width}

    @model_validator(mode="after")
    def _heads_are_shared_evenly(self) -> GptSection:
        if self.n_heads % (self.n_kv_heads or 1):
            raise ValueError(f"n_heads ({self.n_heads}) must be a multiple of n_kv_heads ({self.n_kv_heads})")
        return self

    @model_validator(mode="after")
    def _llama_alone(self) -> GptSection:
        said = {
            "n_kv_heads": self.n_kv_heads is not None,
            "qk_norm": self.qk_norm,
            "moe": self.moe is not None,
            "rope_theta": self.rope_theta != GptSection.model_fields["rope_theta"].default,
        }
        given = [key for key, there in said.items() if there]
        if self.layout == "gpt2" and given:
            raise ValueError(f"{' and '.join(given)}: only with layout llama")
        return self

    @model_validator(mode="after")
    def _rotary_needs_pairs(self) -> GptSection:
        if self.layout == "llama" and self.d_model // self.n_heads % 2:
            raise ValueError(f"rotary positions need an even head width, not {self.d_model // self.n_heads}")
        return self


Model = Annotated[BertSection | GptSection, Field(discriminator="family")]


SetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")]


class TokenizerSection(Section):
    """A tokenizer trained on the training split, or read from `file` (tokenizer.json, vocab.txt or encoder.json).

    A file brings its own vocabulary: `vocab_size` is that of a trained one.
    """

    kind: Literal["wordpiece", "byte_bpe"] = "byte_bpe"
    vocab_size: Annotated[int, Field(ge=300)] = 8192
    lowercase: bool = True  # wordpiece only, as bert-*-uncased
    file: str | None = None

    @model_validator(mode="after")
    def _words_alone_are_lowered(self) -> TokenizerSection:
        trained = self.file is None and self.kind != "wordpiece"
        if not self.lowercase and (trained or str(self.file).endswith(".json")):
            raise ValueError("lowercase: only with kind wordpiece, trained or from a vocab.txt")
        return self

    @model_serializer(mode="wrap")
    def _what_counts(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the size that a file leaves unused, so that what is written can be read again."""
        data = dict(write(self))
        if self.file is not None:
            data.pop("vocab_size", None)
        return data


class BatchSection(Section):
    """An optimiser step sees `sequences` of `length` tokens, in `accumulate` parts of equal size."""

    sequences: Positive = 64
    length: Annotated[int, Field(ge=8)] = 128
    accumulate: Positive = 1
    separate_documents: bool = False  # a token attends to its own document's alone; GPT only

    @model_validator(mode="after")
    def _parts_are_equal(self) -> BatchSection:
        if self.sequences % self.accumulate:
            raise ValueError(f"sequences ({self.sequences}) must be a multiple of accumulate ({self.accumulate})")
        return self


class BudgetSection(Section):
    """When training ends: after so many steps, tokens or minutes. Exactly one is given; of a ready model, none."""

    steps: Positive | None = None
    tokens: Positive | None = None
    minutes: PositiveFloat | None = None

    @property
    def given(self) -> list[str]:
        """Which of them."""
        return [key for key in ("steps", "tokens", "minutes") if getattr(self, key) is not None]


class OptimizerSection(Section):
    """AdamW (Loshchilov & Hutter 2019)."""

    lr: PositiveFloat = 1e-3
    betas: Annotated[tuple[Fraction, Fraction], Strict(False)] = (0.9, 0.98)  # a YAML list
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.01
    clip_norm: PositiveFloat | None = 1.0
    activation: ActivationOptimizer = ActivationOptimizer()  # of every slot
    activation_overrides: Several[ActivationOptimizerOverride] = ()  # and what differs; the last word counts


class ScheduleSection(Section):
    """The learning rate over training: linear warm-up, then `kind` down to `final_fraction` of the peak."""

    kind: Literal["linear", "cosine", "constant"] = "linear"
    warmup_fraction: Fraction = 0.01
    final_fraction: Fraction = 0.0


def _files(said: Any) -> Any:
    """A list of files stands for a corpus of them."""
    return {"source": "files", "files": said} if isinstance(said, list) else said


class ValidationSection(Section):
    """Held-out documents, chosen by a hash of their text, and how often and on how much of them to validate.

    `sets` are other texts by name, each a list of files or a corpus, validated at the same steps on as many sequences.
    """

    fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    sequences: Positive = 512
    every_steps: Positive = 100
    sets: dict[SetName, Annotated[PlainCorpus, BeforeValidator(_files)]] = Field(default_factory=dict)


class CheckpointSection(Section):
    """How often the whole training state is saved, so that `--resume` can go on from it."""

    every_steps: Positive = 500


class HardwareSection(Section):
    """What to compute with. `auto` looks at the machine: bf16 only where it is faster, a compiler only where one is.

    Over how many devices a run is spread, and what is computed twice to save memory, leaves its result as it is but for
    the order in which sums are rounded, as the number of threads does: it is no part of the run's identity.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "always", "never"] = "auto"
    strategy: Literal["single", "ddp", "fsdp"] = "single"  # each process has all of the model, or its part of it
    devices: Positive = 1  # processes a node, each with a GPU or its share of the cores
    nodes: Positive = 1
    checkpoint_activations: bool = False  # keep each block's input alone, and compute the rest anew when needed
    peak_tflops: PositiveFloat | Literal["measured"] | None = None  # of one device: with it the summary has an MFU

    @model_validator(mode="after")
    def _several_need_a_strategy(self) -> HardwareSection:
        if self.strategy == "single" and self.processes > 1:
            raise ValueError(f"{self.processes} processes need a strategy: ddp or fsdp")
        return self

    @property
    def processes(self) -> int:
        """How many train the run together."""
        return self.devices * self.nodes


# What stands in a recipe for data: in an identity, hashes of what it leads to are in its place.
WHERE_DATA_IS: dict[str, Any] = {
    "corpus": {"files": True, "checkpoint": True, "parts": {"__all__": {"files"}}},
    "tokenizer": {"file"},
    "validation": {"sets"},
}
SPREAD = ("strategy", "devices", "nodes", "checkpoint_activations", "peak_tflops")  # of hardware: how, not what


class LoggingSection(Section):
    """What is written while training. Has no influence on the run's result or identity.

    metrics.jsonl always is; each other tool gets the same in a folder of its name, in the run's.
    """

    every_steps: Positive = 10
    ranks: bool = False  # of the feed-forward blocks' matrices, before training and at every validation
    tensorboard: bool = False
    trackio: bool = False
    wandb: bool = False  # offline
    mlflow: bool = False


class Recipe(Section):
    """One pre-training run, completely: model, data, budget, optimiser and activation."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,60}$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    model: Model
    corpus: Corpus
    tokenizer: TokenizerSection
    batch: BatchSection
    budget: BudgetSection
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    validation: ValidationSection = ValidationSection()
    checkpoint: CheckpointSection = CheckpointSection()
    hardware: HardwareSection = HardwareSection()
    logging: LoggingSection = LoggingSection()

    @field_validator("budget")
    @classmethod
    def _exactly_one(cls, budget: BudgetSection, info: ValidationInfo) -> BudgetSection:
        wanted = 0 if isinstance(info.data.get("corpus"), CheckpointCorpus) else 1
        if len(budget.given) != wanted:
            given = f"(given: {', '.join(budget.given) or 'none'}; null takes one back)"
            rule = "give exactly one of steps, tokens, minutes" if wanted else "a model that came ready has no budget"
            raise ValueError(f"{rule} {given}")
        return budget

    @model_validator(mode="after")
    def _coefficients_learn_in_time(self) -> Recipe:
        for own in (self.optimizer.activation, *self.optimizer.activation_overrides):
            if own.unfreeze_after and self.total_steps and own.unfreeze_after >= self.total_steps:
                raise ValueError(
                    f"optimizer: unfreeze_after {own.unfreeze_after} leaves none of {self.total_steps} steps to learn"
                )
        return self

    @model_validator(mode="after")
    def _processes_share_equally(self) -> Recipe:
        at_once, processes = self.batch.sequences // self.batch.accumulate, self.hardware.processes
        if at_once % processes:
            shared = f"{at_once} sequences (batch.sequences / accumulate)"
            raise ValueError(f"hardware: {processes} processes cannot share {shared} equally")
        return self

    @model_validator(mode="after")
    def _documents_can_be_told_apart(self) -> Recipe:
        if self.batch.separate_documents and self.model.family != "gpt":
            raise ValueError("batch.separate_documents needs a GPT: between a BERT's documents stands no token")
        return self

    @property
    def tokens_per_step(self) -> int:
        """Tokens in one optimiser step."""
        return self.batch.sequences * self.batch.length

    @property
    def total_steps(self) -> int | None:
        """Optimiser steps in the budget, or None when the budget is a time, or there is none."""
        if self.budget.tokens is not None:
            return max(1, self.budget.tokens // self.tokens_per_step)
        return self.budget.steps

    @property
    def looks_ahead(self) -> bool:
        """Whether a micro-batch's loss depends on the others of its step, which are passed through once more before."""
        moe = self.model.moe if isinstance(self.model, GptSection) else None
        over_all = moe is not None and moe.load_balance > 0 and moe.load_balance_over == "step"
        return over_all and self.batch.accumulate > 1

    def identity(self) -> dict[str, Any]:
        """All that decides the run's result, as JSON data: not its name, logging, how its work is spread, or defaults.

        A key that a later version adds therefore changes no identity. Paths are left out: the hashes of the text, the
        tokenizer and the activation's code stand for what they lead to. Activations and how they learn are given slot
        by slot, however the recipe says it. So do the hashes of validation sets, which decide what is recorded.
        """
        without: dict[str, Any] = {
            "name": True,
            "logging": True,
            "hardware": set(SPREAD),
            **WHERE_DATA_IS,
        }
        data = self.model_dump(mode="json", exclude_defaults=True, exclude=without)
        if not data.get("hardware"):
            data.pop("hardware", None)
        slots = slot_names(self.model.family, self.model.n_layers)
        placed = placement(self.model)
        named = {
            slot: {**canonical(spec.name, spec.options), "name": short_name(spec.name)} for slot, spec in placed.items()
        }
        learnt = {
            slot: own.model_dump(mode="json", exclude_defaults=True)
            for slot, own in learning(self.optimizer, slots).items()
        }
        for section, by_slot in (("model", named), ("optimizer", learnt)):
            said = data.setdefault(section, {})
            said.pop("activation_overrides", None)
            said["activation"] = by_slot
        model = data["model"]
        moe = self.model.moe if isinstance(self.model, GptSection) else None
        if moe:
            # Of one micro-batch nothing is said by it, and "micro_batch" was the default once.
            model["moe"].pop("load_balance_over", None)
            if self.batch.accumulate > 1 and moe.load_balance_over == "step":
                model["moe"]["load_balance_over"] = "step"
        if model.get("n_kv_heads") == self.model.n_heads:
            del model["n_kv_heads"]
        apart = "activation_sharing" in model.get("moe", {})
        if apart and not any(has_coefficients(spec.name, spec.options) for spec in placed.values()):
            del model["moe"]["activation_sharing"]  # of nothing
        return data
