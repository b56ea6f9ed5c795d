"""Which slot of a model holds which activation, and how its coefficients learn there: overrides in order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from actbench.config import layers
from actbench.config.activation import ActivationOptimizer, ActivationSpec, Selector
from actbench.errors import BadInput, Problem, nearest

if TYPE_CHECKING:
    from actbench.config.schema import BertSection, GptSection, OptimizerSection

LAYER = "layers."
EXPERT = ".expert."  # a layer's slot, where each of its experts has coefficients of its own
POOLER = "pooler"
POOLER_DEFAULT = ActivationSpec(name="tanh")  # BERT's


def slot_names(family: str, n_layers: int) -> list[str]:
    """Every slot of a model: its layers', then a BERT's pooler."""
    return [*(f"{LAYER}{i}" for i in range(n_layers)), *([POOLER] if family == "bert" else [])]


def placement(model: BertSection | GptSection) -> dict[str, ActivationSpec]:
    """The activation of every slot, in the model's order. Raises BadInput when an override names no slot."""
    slots = slot_names(model.family, model.n_layers)
    placed = {slot: POOLER_DEFAULT if slot == POOLER else model.activation for slot in slots}
    for override in model.activation_overrides:
        placed.update(dict.fromkeys(chosen(override, slots), override.spec))
    return placed


def expert_slot(slot: str, expert: int) -> str:
    """The slot of one expert's own coefficients: "layers.0.expert.3"."""
    return f"{slot}{EXPERT}{expert}"


def recipe_slot(slot: str) -> str:
    """The slot as a recipe names it: an expert's is its layer's."""
    return slot.partition(EXPERT)[0]


def learning(section: OptimizerSection, slots: Sequence[str]) -> dict[str, ActivationOptimizer]:
    """How the coefficients of every slot learn. Raises BadInput when an override names no slot."""
    learnt = dict.fromkeys(slots, section.activation)
    for override in section.activation_overrides:
        learnt.update({slot: override.over(learnt[slot]) for slot in chosen(override, slots)})
    return learnt


def chosen(selector: Selector, slots: Sequence[str]) -> list[str]:
    """The slots that a selector means. Raises BadInput, its key "layers" or "slot", when the model lacks one."""
    n_layers = sum(slot.startswith(LAYER) for slot in slots)
    there = f"the model has layers 0-{n_layers - 1}"
    if selector.layers is not None:
        ranges = layers.spans(selector.layers)
        if ranges[-1][1] >= n_layers:
            raise BadInput(Problem(f"there is no layer {ranges[-1][1]}", key="layers", hint=there))
        return [f"{LAYER}{i}" for first, last in ranges for i in range(first, last + 1)]
    slot = selector.slot or ""
    if slot in slots:
        return [slot]
    if slot == POOLER:
        raise BadInput(Problem("only a BERT has a pooler", key="slot", hint=there))
    hint = there if slot.startswith(LAYER) else nearest(slot, [*slots[:1], *slots[n_layers:]])
    raise BadInput(Problem(f"there is no slot '{slot}'", key="slot", hint=hint))


def spelled(slots: Iterable[str]) -> str:
    """Slots in few words: "layers 0,4-6, pooler"."""
    names = list(dict.fromkeys(map(recipe_slot, slots)))
    numbers = [int(name.removeprefix(LAYER)) for name in names if name.startswith(LAYER)]
    words = [f"layer{'s' * (len(numbers) > 1)} {layers.text((n, n) for n in numbers)}"] if numbers else []
    return ", ".join([*words, *(name for name in names if not name.startswith(LAYER))])


def short_name(activation: str) -> str:
    """A user's own "path/to/mine.py:MyAct" reads as "MyAct"."""
    return activation.rpartition(":")[2]


def named_in(label: str) -> str:
    """The activation that a report's label, as in "raf (tune=bitfit)" or "mine #1a2b", begins with."""
    return re.split(r" [(#]", label, maxsplit=1)[0]


def in_short(model: BertSection | GptSection) -> str:
    """The layers' activations in a word, for a run's name: "gelu", "gelu+raf", or "mixed" from four on."""
    names = dict.fromkeys(short_name(spec.name) for slot, spec in placement(model).items() if slot != POOLER)
    return "+".join(names).lower() if len(names) <= 3 else "mixed"
