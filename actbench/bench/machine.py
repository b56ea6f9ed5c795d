"""What a benchmark ran on, and whether it had the machine to itself."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import torch

from actbench.config.schema import HardwareSection
from actbench.report.table import markdown
from actbench.store import environment
from actbench.training.hardware import Hardware, choose

IDLE = 0.5  # a load average below this is an idle machine's


def hardware() -> Hardware:
    """What training would choose here: CUDA where there is one, else the CPU."""
    return choose(HardwareSection(device="cuda" if torch.cuda.is_available() else "cpu"))


def facts(command: str) -> dict[str, Any]:
    """JSON data about machine, software and moment."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        **environment(),
        "gpu": device,
        "cores_used": cores_used(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }


def sentence(machine: dict[str, Any], how: str) -> str:
    """Markdown that tells when, where, how and by which command it was measured, from `facts`."""
    device = machine["gpu"] or (
        f"{machine['processor']}, {machine['cores_used']} of {machine['cores']} cores, {machine['threads']} threads"
    )
    versions = f"torch {machine['libraries']['torch']}, Python {machine['python']}, actbench {machine['actbench']}"
    head = f"Measured on {machine['date'][:10]}: {markdown(device)}; {markdown(versions)}; {how}, by"
    return f"{head}\n\n```bash\n{machine['command']}\n```\n"


def cores_used() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def busy(machine: dict[str, Any]) -> str | None:
    """A warning when something else kept the machine busy in the minute before `facts` were taken, or None."""
    load = machine["load_average"]
    if load < IDLE:
        return None
    return f"the load average was {load:.2f} at the start, another process kept the machine busy: trust the ratios less"
