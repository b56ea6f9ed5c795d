"""A run's memory is its own process's, whatever started it, and is told where the system says little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from actbench.training import memory

CHILD = "from actbench.training.memory import peak_memory_bytes; print(peak_memory_bytes('cpu'))"
PARENT = f"""
import subprocess, sys
held = bytearray(400_000_000)
print(subprocess.run([sys.executable, "-c", {CHILD!r}], capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.skipif(not memory.STATUS.exists(), reason="only Linux tells it")
def test_what_a_larger_process_starts_tells_its_own_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 300_000_000


def test_a_system_that_does_not_tell_the_peak_is_asked_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmRSS:\t5 kB\n")
    for status in (tmp_path / "status", tmp_path / "absent"):
        monkeypatch.setattr(memory, "STATUS", status)
        assert memory.peak_memory_bytes("cpu") > 1_000_000
