"""Tokenising and packing with `datasets.map`, as Hugging Face's example `run_clm.py` does it."""

from __future__ import annotations

from itertools import chain
from typing import Any

import datasets
from transformers import PreTrainedTokenizerFast

from actbench.bench.peers.gate import Gate
from actbench.bench.peers.orders import PackOrder, Report


def pack(order: PackOrder, gate: Gate) -> Report:
    """Reads the file, tokenises its rows and joins them to sequences, all of it kept on disk by `datasets`."""
    datasets.disable_progress_bars()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(order.tokenizer),
        model_input_names=["input_ids", "attention_mask"],  # as GPT-2's
    )

    def tokenize(rows: dict[str, list[Any]]) -> Any:
        return tokenizer(rows["text"])

    def group_texts(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        joined = {name: list(chain(*rows[name])) for name in rows}
        whole = len(joined["input_ids"]) // order.length * order.length
        grouped = {
            name: [values[start : start + order.length] for start in range(0, whole, order.length)]
            for name, values in joined.items()
        }
        return {**grouped, "labels": grouped["input_ids"].copy()}

    tokens = 0
    for number in range(order.times):
        own = str(order.folder / str(number))
        raw = datasets.load_dataset("json", data_files=str(order.text), split="train", cache_dir=own)
        tokenized = raw.map(tokenize, batched=True, remove_columns=raw.column_names)
        packed = tokenized.map(group_texts, batched=True)
        tokens = len(packed) * order.length
        gate.step_done()
    return Report(tokens=tokens)
