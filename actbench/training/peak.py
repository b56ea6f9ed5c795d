"""How fast this machine multiplies matrices at best: what a model's FLOPs are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from actbench.training.hardware import now

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SMALLEST, LARGEST = 256, 16384
LONGEST = 0.5  # seconds of one product: no larger one is tried
AT_A_SIZE = 0.4  # seconds of products of one size, of which the fastest counts


@dataclass(frozen=True)
class Peak:
    """FLOP/s of matrix products in the step's precision; `size` n of n x n matrices, None where it was not measured."""

    flops: float
    size: int | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON data."""
        return {"tflops": self.flops / 1e12, "measured_at": self.size}

    def sentence(self) -> str:
        """Where the peak comes from."""
        rate = f"{self.flops / 1e12:.4g} TFLOP/s"
        if self.size is None:
            return f"{rate}, as stated"
        return f"{rate}, measured here with {self.size} x {self.size} matrices"


def measured_peak(precision: str, device: str) -> Peak:
    """The fastest product of two square matrices, over sizes and repetitions, with the threads that torch has now."""
    best, size = Peak(0.0), SMALLEST
    while size <= LARGEST:
        try:
            seconds = _fastest(size, DTYPES[precision], device)
        except RuntimeError:  # no memory is left for so large ones
            if not best.flops:
                raise
            break
        best = max(best, Peak(2 * size**3 / seconds, size), key=lambda peak: peak.flops)
        size *= 2
        if 2 * size**3 / best.flops > LONGEST:
            break
    return best


def _fastest(size: int, dtype: torch.dtype, device: str) -> float:
    """Seconds of the fastest product of this size."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    torch.mm(a, b, out=out)  # the first call prepares
    fastest, end = float("inf"), now(device) + AT_A_SIZE
    while (begun := now(device)) < end:
        torch.mm(a, b, out=out)
        fastest = min(fastest, now(device) - begun)
    return fastest
