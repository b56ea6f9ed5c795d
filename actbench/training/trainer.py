"""Lightning's Trainer with nothing on that we do ourselves: logging, checkpoints, progress, validation."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning.pytorch as pl

from actbench.training.hardware import Hardware
from actbench.training.world import ALONE, World


def quiet_trainer(hardware: Hardware, *callbacks: pl.Callback, world: World = ALONE, **options: Any) -> pl.Trainer:
    """A Trainer on this hardware, with these callbacks and no others; `options` say how long it trains.

    It trains in this process alone, unless `world` has several, and the options a strategy.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    spread: dict[str, Any] = {"devices": 1}
    if world.size > 1:
        spread = {"devices": hardware.devices, "num_nodes": hardware.nodes, "plugins": [world.environment]}
    trainer = pl.Trainer(
        accelerator=hardware.device,
        precision=hardware.lightning_precision,
        callbacks=list(callbacks),
        min_epochs=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **spread,
        **options,
    )
    if world.size > 1:
        # Between processes Lightning tells of SIGTERM from within its handler, where a collective may never return, and
        # asks before each batch, which waits for the GPU. The recorder does both at the end of a step.
        trainer._signal_connector.register_signal_handlers = lambda: None
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None
    return trainer
