"""How much memory this process has held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")  # of Linux; not every sandbox tells all of it


def peak_memory_bytes(device: str) -> int:
    """The most memory held so far: on a GPU by torch, else this process's resident set."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):  # ru_maxrss would count what the process held that started this one
            return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
