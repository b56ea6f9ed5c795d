"""BERT's masking (Devlin et al. 2019, section 3.1): a pure function of the keys its caller gives.

Shapes: T sequence length, M masked positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Masking:
    """How to mask: a fixed number of positions a sequence; 80 % become [MASK], 10 % a random token, 10 % stay."""

    fraction: float
    mask_id: int
    vocab_size: int

    def count(self, content_length: int) -> int:
        """Positions masked in a sequence of that many tokens, at least one."""
        return max(1, round(self.fraction * content_length))

    def apply(self, content: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (T,) -> tokens with masks in place (T,) and the masked positions (M,), ascending."""
        positions = np.sort(generator.permutation(len(content))[: self.count(len(content))])
        fate = generator.random(len(positions))
        replaced = np.where(fate < 0.8, self.mask_id, generator.integers(0, self.vocab_size, len(positions)))
        masked = content.copy()
        masked[positions] = np.where(fate < 0.9, replaced, content[positions])
        return masked, positions
