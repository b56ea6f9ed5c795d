"""Lightning's Trainer with nothing on that we do ourselves: logging, checkpoints, progress, validation."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning.pytorch as pl

from actbench.training.hardware import Hardware


def quiet_trainer(hardware: Hardware, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """A Trainer on this hardware, with these callbacks and no others; `options` say how long it trains."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    return pl.Trainer(
        accelerator=hardware.device,
        devices=1,
        precision=hardware.lightning_precision,
        callbacks=list(callbacks),
        min_epochs=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
