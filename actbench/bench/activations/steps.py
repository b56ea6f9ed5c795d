"""A whole training step of a small model with an activation, beside the same step with GELU.

Forward, backward, clipping and AdamW, in the precision and with the compiler that training would choose.
"""

from __future__ import annotations

from actbench import activations
from actbench.bench import loop
from actbench.bench.activations.alone import has_target
from actbench.bench.activations.cells import STEP_LIMITS, Cell
from actbench.bench.alternate import Work, alternate
from actbench.config.schema import ActivationSpec, BertSection, GptSection, OptimizerSection
from actbench.data.batches import Batch
from actbench.nn.build import build
from actbench.training.hardware import Hardware, compile_blocks
from actbench.training.optimizer import make_optimizer

LENGTH, VOCABULARY = 128, 8192
MODELS: dict[str, BertSection | GptSection] = {
    "bert": BertSection(family="bert", n_layers=4, d_model=256, n_heads=8, d_ff=1024),
    "gpt": GptSection(family="gpt", n_layers=4, d_model=256, n_heads=8, d_ff=1024),
}
DEFAULT = ("raf", "poly_relu", "poly_norm")


def measure(family: str, name: str, *, sequences: int, hardware: Hardware, rounds: int) -> Cell:
    """A step of "bert" or "gpt" with the activation `name` in every feed-forward block, as a ratio to GELU's."""
    section = MODELS[family]
    batch = loop.random_batch(section, VOCABULARY, sequences, LENGTH)
    baseline, candidate = (
        training_step(section.model_copy(update={"activation": ActivationSpec(name=each)}), batch, hardware)
        for each in ("gelu", name)
    )
    comparison = alternate(baseline, candidate, rounds=rounds, device=hardware.device)
    mode = "compiled" if hardware.compiled else "eager"
    activation = activations.create(name, width=section.d_ff)
    limits = STEP_LIMITS.get(mode) if has_target(activation) else None
    shape = (sequences, LENGTH)
    return Cell(f"{family} step", name, "gelu", shape, hardware.precision, mode, activation.gated, limits, comparison)


def training_step(section: BertSection | GptSection, batch: Batch, hardware: Hardware) -> Work:
    """A new model, and the work of training it by one more step on the same batch."""
    model = build(section, VOCABULARY, LENGTH, seed=0).to(hardware.device)
    settings = OptimizerSection()
    optimizer = make_optimizer(model, settings)
    if hardware.compiled:
        compile_blocks(model)
    return loop.training_step(model, optimizer, batch, hardware, settings.clip_norm)
