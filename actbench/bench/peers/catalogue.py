"""The comparisons by name: which work, against whom, and how many times faster actbench should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from actbench.errors import BadInput, Problem, nearest

TRAINER = "Hugging Face Trainer"
HF = ("transformers", "accelerate")


@dataclass(frozen=True)
class Pair:
    """actbench and one peer at the same work.

    subject: what is trained or worked on: "bert" or "gpt", one of GLUE's tasks, or "text".
    unit: what the rates count.
    packages: what the peer needs.
    """

    name: str
    peer: str
    target: float
    unit: Literal["tokens", "examples", "MB"]
    kind: Literal["pretrain", "finetune", "pack"]
    subject: str
    program: str
    packages: tuple[str, ...] = HF
    compiles: bool = False
    padding: Literal["max_length", "longest"] = "longest"

    @property
    def label(self) -> str:
        """Tells it from every other pair."""
        return f"{self.name}, {self.peer}"


_FP32, _BF16 = f"{TRAINER}, fp32", f"{TRAINER}, bf16 and torch.compile"
_PADDED, _PER_BATCH = f"{TRAINER}, padded to 128", f"{TRAINER}, padded per batch"
_PLAIN = "plain loop, bf16 and torch.compile"

PAIRS: tuple[Pair, ...] = (
    Pair("bert-hf-fp32", _FP32, 6.0, "tokens", "pretrain", "bert", "hf-pretrain"),
    Pair("bert-hf-bf16", _BF16, 4.0, "tokens", "pretrain", "bert", "hf-pretrain", compiles=True),
    Pair("gpt-hf-fp32", _FP32, 4.0, "tokens", "pretrain", "gpt", "hf-pretrain"),
    Pair("gpt-hf-bf16", _BF16, 2.5, "tokens", "pretrain", "gpt", "hf-pretrain", compiles=True),
    Pair("gpt-loop", _PLAIN, 1.5, "tokens", "pretrain", "gpt", "loop-pretrain", packages=(), compiles=True),
    Pair("glue-cola", _PADDED, 4.0, "examples", "finetune", "cola", "hf-finetune", padding="max_length"),
    Pair("glue-cola", _PER_BATCH, 2.0, "examples", "finetune", "cola", "hf-finetune"),
    Pair("glue-rte", _PADDED, 4.0, "examples", "finetune", "rte", "hf-finetune", padding="max_length"),
    Pair("glue-rte", _PER_BATCH, 2.0, "examples", "finetune", "rte", "hf-finetune"),
    Pair("tokenising", "datasets.map", 3.0, "MB", "pack", "text", "datasets-pack", packages=("datasets", *HF[:1])),
)

NAMES = tuple(dict.fromkeys(pair.name for pair in PAIRS))


def chosen(names: Sequence[str]) -> tuple[Pair, ...]:
    """The pairs of those comparisons, all of them for no names. Raises BadInput naming every unknown one."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise BadInput([Problem(f"unknown comparison '{name}'", hint=nearest(name, NAMES)) for name in unknown])
    return tuple(pair for pair in PAIRS if not names or pair.name in names)


def missing(pair: Pair, *, glue: bool, compiler: bool) -> str | None:
    """Why the pair cannot be measured here, or None. `glue`: whether its data was given."""
    absent = [package for package in pair.packages if find_spec(package) is None]
    if absent:
        are = "is" if len(absent) == 1 else "are"
        return f"{' and '.join(absent)} {are} not installed: pip install {' '.join(absent)}"
    if pair.compiles and not compiler:
        return "no compiler found"
    if pair.kind == "finetune" and not glue:
        return "no data: give --glue DIR, a folder with GLUE's TSV files"
    return None
