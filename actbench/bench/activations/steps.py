"""A whole training step of a small model with an activation, beside the same step with GELU."""

from __future__ import annotations

from actbench import activations
from actbench.bench.activations.alone import has_target
from actbench.bench.activations.cells import STEP_LIMITS, Cell
from actbench.bench.alternate import alternate
from actbench.bench.training_step import TrainingStep, random_batch
from actbench.config.schema import ActivationSpec, BertSection, GptSection
from actbench.training.hardware import Hardware

LENGTH, VOCABULARY = 128, 8192
MODELS: dict[str, BertSection | GptSection] = {
    "bert": BertSection(family="bert", n_layers=4, d_model=256, n_heads=8, d_ff=1024),
    "gpt": GptSection(family="gpt", n_layers=4, d_model=256, n_heads=8, d_ff=1024),
}
DEFAULT = ("raf", "poly_relu", "poly_norm")


def measure(family: str, name: str, *, sequences: int, hardware: Hardware, rounds: int) -> Cell:
    """A step of "bert" or "gpt" with the activation `name` in every feed-forward block, as a ratio to GELU's."""
    section = MODELS[family]
    batch = random_batch(section, sequences, LENGTH, VOCABULARY, hardware.device)
    baseline, candidate = (
        TrainingStep(section.model_copy(update={"activation": ActivationSpec(name=each)}), batch, VOCABULARY, hardware)
        for each in ("gelu", name)
    )
    comparison = alternate(baseline, candidate, rounds=rounds, device=hardware.device)
    mode = "compiled" if hardware.compiled else "eager"
    activation = activations.create(name, width=section.d_ff)
    limits = STEP_LIMITS.get(mode) if has_target(activation) else None
    shape = (sequences, LENGTH)
    return Cell(f"{family} step", name, "gelu", shape, hardware.precision, mode, activation.gated, limits, comparison)
