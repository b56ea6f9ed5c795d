"""The process that packs a text: `python -m actbench.bench.growth.packer TEXT TOKENIZER`; prints one JSON object.

TOKENIZER is a file, or the size of the vocabulary to learn from the text. Torch is imported at the end only, so that
the memory is that of packing.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from actbench.bench.peers.gate import peak_bytes
from actbench.config.corpus import FilesCorpus
from actbench.config.schema import TokenizerSection
from actbench.data import packing
from actbench.training.allocator import keep_freed_memory

HELD_OUT = 0.05
LENGTH, SEQUENCES, BATCHES = 128, 16, 50  # of the batches that are made of the tokens


def main() -> None:
    """Packs and measures."""
    keep_freed_memory()
    text, tokenizer = sys.argv[1:]
    print(json.dumps(pack(Path(text), tokenizer)))


def pack(text: Path, tokenizer: str) -> dict[str, Any]:
    """Reads, tokenises and packs the text with a cache that has none of it, as every command does that needs tokens."""
    corpus = FilesCorpus(source="files", files=[str(text)])
    learnt = {"vocab_size": int(tokenizer)} if tokenizer.isdecimal() else {"file": tokenizer}
    section = TokenizerSection.model_validate({"kind": "byte_bpe", **learnt})
    before, began = peak_bytes(), time.perf_counter()
    tokens = packing.prepare(corpus, section, HELD_OUT, lambda _: None)
    seconds, after = time.perf_counter() - began, peak_bytes()
    first, others = batch_seconds(tokens)
    return {
        "tokenizer": str(tokens.tokenizer_file),
        "tokens": len(tokens.train) + len(tokens.validation),
        "seconds": seconds,
        "peak_bytes": after,
        "bytes_before": before,
        "first_batch_seconds": first,
        "batch_seconds": others,
    }


def batch_seconds(tokens: packing.TokenData) -> tuple[float, float]:
    """Seconds to make the first batch, which orders the whole epoch, and the mean of those after it."""
    from actbench.data.batches import CausalSequences, TrainingStream

    stream = TrainingStream(CausalSequences(tokens.train, LENGTH), SEQUENCES, seed=0)
    marks = [time.perf_counter()]
    for _ in zip(range(1 + BATCHES), stream, strict=False):
        marks.append(time.perf_counter())
    return marks[1] - marks[0], (marks[-1] - marks[1]) / BATCHES


if __name__ == "__main__":
    main()
