"""What a run was made with: machine, Python and the versions of the libraries that compute."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from actbench import __version__

LIBRARIES = ("torch", "lightning", "tokenizers", "datasets", "numpy", "scipy", "safetensors")


def environment() -> dict[str, Any]:
    """JSON data about the machine and the software, for a run's record."""
    from importlib import metadata  # here, because it takes a while and only new runs need it

    return {
        "actbench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        **_gpu(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def _gpu() -> dict[str, Any]:
    """The GPU that this process would use; nothing where there is none."""
    import torch

    return {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
