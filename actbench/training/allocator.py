"""Keeps memory that was freed for the next step, instead of giving it back to the system and asking for it anew.

A training step frees its large tensors, and glibc hands each back to the kernel at once. The next step then gets them
as pages that are not there yet, and the first touch of each is a page fault: up to half of a step on a CPU.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_NEVER = 2**31 - 1
_LARGEST = 1 << 30


def keep_freed_memory() -> None:
    """Changes this process alone. Does nothing where glibc is not."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _NEVER)
