"""Random numbers as functions: a generator for each purpose, keyed by what it is for."""

from __future__ import annotations

import hashlib

import numpy as np


def keyed_generator(*key: object) -> np.random.Generator:
    """A generator that depends on `key` alone: the same key gives the same numbers, in any process, at any time."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, "<u8")))
