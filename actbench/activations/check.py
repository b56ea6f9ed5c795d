"""Whether an activation keeps what actbench relies on: a verdict for each promise.

All numbers are fixed ones: the same activation gets the same verdict each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from actbench.activations import check_behaviour, check_numbers, options, registry
from actbench.activations.base import Activation
from actbench.activations.check_subject import Broken, Subject, in_a_line
from actbench.errors import BadInput, Problem

CHECKS: dict[str, Callable[[Subject], str]] = {
    "shape": check_behaviour.shape,
    "rows": check_behaviour.rows,
    "repeatable": check_behaviour.repeatable,
    "state": check_behaviour.state,
    "curve": check_behaviour.curve,
    "gradient": check_numbers.gradient,
    "backward": check_numbers.backward,
    "bf16": partial(check_numbers.low_precision, dtype=torch.bfloat16),
    "fp16": partial(check_numbers.low_precision, dtype=torch.float16),
    "range": check_numbers.far_out,
    "nan": check_numbers.nan,
    "compile": check_numbers.compiled,
}


@dataclass(frozen=True)
class Verdict:
    """What one check found, in a few words with the measured number; a note is neither good nor bad."""

    check: str
    status: Literal["pass", "fail", "note"]
    words: str


def check(name: str, chosen: Mapping[str, Any] | None = None) -> list[Verdict]:
    """All verdicts on the activation `name` when it is made with the options `chosen`.

    Raises BadInput when there is no such activation or it does not take the options.
    """
    cls = registry.get(name)
    checked, flaws = options.check(cls, registry.one_set(name, chosen or {}))
    if flaws:
        raise BadInput([Problem(message, key=f"{name}.{key}", hint=hint) for key, message, hint in flaws])
    subject = Subject(cls, checked)
    made = _verdict("made", check_behaviour.made, subject)
    if made.status == "fail":
        return [made]
    verdicts = [_verdict(key, function, subject) for key, function in CHECKS.items()]
    return [made, *verdicts, *_notes(subject)]


def _verdict(key: str, function: Callable[[Subject], str], subject: Subject) -> Verdict:
    try:
        return Verdict(key, "pass", function(subject))
    except Broken as broken:
        return Verdict(key, "fail", str(broken))
    except Exception as error:  # a user's own code may raise anything
        return Verdict(key, "fail", in_a_line(error))


def _notes(subject: Subject) -> list[Verdict]:
    infinity = _verdict("infinity", check_numbers.infinity, subject)
    return [Verdict("infinity", "note", infinity.words), *_description(subject.cls)]


def _description(cls: type[Activation]) -> list[Verdict]:
    empty = [name for name in ("formula", "source") if not getattr(cls, name)]
    return [Verdict("description", "note", f"no {' and no '.join(empty)}")] if empty else []
