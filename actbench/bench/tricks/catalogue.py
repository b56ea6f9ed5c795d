"""The tricks by name: what each does, what stands in its place, and how equal the losses are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from actbench.bench.tricks import plain
from actbench.config.moe import MoeSection
from actbench.config.schema import ActivationSpec, BertSection, GptSection
from actbench.errors import BadInput, Problem, nearest
from actbench.nn.attention import Attention
from actbench.nn.bert import Bert
from actbench.nn.dropout import Dropout
from actbench.nn.experts import MixtureOfExperts
from actbench.nn.gpt import Gpt
from actbench.nn.linear import Linear
from actbench.nn.loss import CrossEntropy, CrossEntropyPart
from actbench.training.hardware import Hardware, compile_blocks

MODELS = ("bert", "gpt")
EXPERTS, TOP_K = 16, 4  # of the mixtures; a token's experts are together as wide as the feed-forward block was


@dataclass(frozen=True)
class Plain:
    """What is done the plain way within a step; by default nothing is.

    `modules` tells which class stands in for which; `optimizer` changes AdamW once it is made.
    """

    modules: Mapping[type[nn.Module], type[nn.Module]] = field(default_factory=dict)
    compile: Callable[[Bert | Gpt], None] = compile_blocks
    optimizer: Callable[[torch.optim.Optimizer], None] = lambda _: None
    precision: str | None = None


@dataclass(frozen=True)
class Processes:
    """Two programs of bench/peers/side.py, for what a process settles once: with the trick, and without."""

    with_it: str
    without: str


@dataclass(frozen=True)
class Trick:
    """A trick of the training step.

    what, instead: the trick and its plain form, in words.
    tolerance: the largest relative difference between losses with and without it; 0: they agree to the last bit.
    models: those that have it; of what does not depend on the model, one.
    other_masks: without it dropout drops other elements, or a step has others to drop from.
    changes: of the model, where it is a trick for some models only.
    needs: "compiler"; "cpu", where other devices have nothing of the kind; "bf16", where it is the faster precision.
    """

    name: str
    what: str
    instead: str
    without: Plain | Processes
    tolerance: float
    other_masks: bool = False
    models: tuple[str, ...] = MODELS
    dropout: float | None = None
    activation: str | None = None
    experts: bool = False
    needs: tuple[str, ...] = ()

    def changed(self, section: BertSection | GptSection) -> BertSection | GptSection:
        """The model that it is measured in."""
        changes: dict[str, object] = {}
        if self.dropout is not None:
            changes["dropout"] = self.dropout
        if self.activation is not None:
            changes["activation"] = ActivationSpec(name=self.activation)
        if self.experts:
            moe = MoeSection(experts=EXPERTS, top_k=TOP_K, d_expert=section.d_ff // TOP_K)
            changes |= {"d_ff": moe.d_expert, "moe": moe, "layout": "llama"}
        return section.model_copy(update=changes)

    @property
    def label(self) -> str:
        """Its name, and in which model it is measured where that is not the usual one."""
        experts = f"{TOP_K} of {EXPERTS} experts" if self.experts else ""
        changes = [self.activation or "", "" if self.dropout is None else f"dropout {self.dropout:g}", experts]
        named = ", ".join(filter(None, changes))
        return f"{self.name} ({named})" if named else self.name


TRICKS: tuple[Trick, ...] = (
    Trick(
        "loss-by-parts",
        "the loss and its gradient a few rows of logits at a time",
        "F.cross_entropy on all logits",
        Plain({CrossEntropy: plain.WholeLogits, CrossEntropyPart: plain.WholeLogitsPart}),
        tolerance=1e-5,
    ),
    Trick(
        "masked-only",
        "BERT's last block works at masked positions only",
        "at all positions",
        Plain({Bert: plain.WholeLastBlock}),
        tolerance=1e-5,
        other_masks=True,
        models=("bert",),
    ),
    Trick(
        "dropout-by-hash",
        "dropout's masks are computed by hashing",
        "F.dropout",
        Plain({Dropout: plain.TorchDropout}),
        tolerance=0.0,
        other_masks=True,
    ),
    Trick(
        "no-masks-kept",
        "compiled code works dropout's masks out anew in the backward pass",
        "they are kept for it",
        Plain({Dropout: plain.KeptMask}),
        tolerance=0.0,
        needs=("compiler",),
    ),
    Trick(
        "bias-after",
        "biases are added after the matrix product",
        "nn.Linear",
        Plain({Linear: nn.Linear}),
        tolerance=1e-5,
    ),
    Trick(
        "attention-written-out",
        "attention as its plain formula, for training on a CPU",
        "F.scaled_dot_product_attention",
        Plain({Attention: plain.TorchAttention}),
        tolerance=1e-5,
        dropout=0.0,
        needs=("cpu",),
    ),
    Trick(
        "causal-by-row",
        "compiled code masks each row of a GPT's attention weights by itself, in one loop with all else",
        "one mask for all sequences and heads",
        Plain({Attention: plain.OneCausalMask}),
        tolerance=0.0,
        models=("gpt",),
        needs=("compiler",),
    ),
    Trick(
        "compiled-blocks",
        "each block and the loss are compiled",
        "an operation at a time",
        Plain(compile=plain.nothing_compiled),
        tolerance=1e-4,
        needs=("compiler",),
    ),
    Trick(
        "contraction",
        "a multiplication and an addition in one instruction",
        "the compiler's default: two",
        Plain(compile=plain.default_compiler),
        tolerance=1e-4,
        activation="raf",
        needs=("compiler", "cpu"),
    ),
    Trick(
        "experts-sorted",
        "rows are sorted by expert, and an expert multiplies its own in place",
        "a loop over experts, each gathering and adding up its tokens, which cannot be compiled",
        Plain({MixtureOfExperts: plain.LoopOverExperts}),
        tolerance=1e-4,
        models=("gpt",),
        experts=True,
    ),
    Trick(
        "bf16",
        "matrix products in bf16 where that is faster",
        "in fp32",
        Plain(precision="fp32"),
        tolerance=2e-2,
        needs=("bf16",),
    ),
    Trick(
        "fused-adamw",
        "AdamW in one pass over each parameter",
        "a loop of single operations",
        Plain(optimizer=plain.parameter_by_parameter),
        tolerance=1e-5,
    ),
    Trick(
        "freed-memory-kept",
        "freed memory is kept",
        "glibc's own settings",
        Processes("step-memory-kept", "step-memory-returned"),
        tolerance=0.0,
        needs=("cpu",),
    ),
    Trick(
        "gradients-let-go",
        "gradients end with their step",
        "Lightning holds them through the next forward pass",
        Processes("step-quiet-trainer", "step-gradients-held"),
        tolerance=0.0,
        models=("gpt",),
    ),
    Trick(
        "quiet-trainer",
        "Lightning's Trainer without what actbench does itself",
        "the Trainer as it is by default",
        Processes("step-quiet-trainer", "step-default-trainer"),
        tolerance=0.0,
        models=("gpt",),
    ),
)

NAMES = tuple(trick.name for trick in TRICKS)


def chosen(names: Sequence[str], models: str, width: int) -> tuple[tuple[Trick, ...], tuple[str, ...]]:
    """Those tricks, all of them for no names, and the models of a list such as "bert,gpt".

    Raises BadInput naming every unknown one, and a width that the heads cannot share.
    """
    families = tuple(dict.fromkeys(word.strip() for word in models.split(",")))
    problems = [Problem(f"unknown trick '{name}'", hint=nearest(name, NAMES)) for name in names if name not in NAMES]
    problems += [Problem(f"unknown '{f}'", "--models", hint=nearest(f, MODELS)) for f in families if f not in MODELS]
    if width % 8:
        problems.append(Problem(f"{width} is no multiple of 8", "--width", hint=f"{width // 8 * 8}"))
    tricks = tuple(trick for trick in TRICKS if not names or trick.name in names)
    if not problems and not any(model in trick.models for trick in tricks for model in families):
        problems.append(
            Problem(f"{tricks[0].name} is for {tricks[0].models[0]} alone", "--models", hint=tricks[0].models[0])
        )
    if problems:
        raise BadInput(problems)
    return tricks, families


def missing(trick: Trick, hardware: Hardware) -> str | None:
    """Why training does not do it here, or None."""
    if "compiler" in trick.needs and not hardware.compiled:
        return "no compiler found"
    if "cpu" in trick.needs and hardware.device != "cpu":
        return f"nothing of the kind is done on {hardware.device}"
    if "bf16" in trick.needs and hardware.precision != "bf16":
        return "fp32 is faster on this processor"
    return None
