"""From documents to tokens: in this process, or shard by shard in several; the tokens are the same."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
from tokenizers import Tokenizer

from actbench.data import tokenizer as tokenizing
from actbench.data.documents import Part
from actbench.data.shards import COUNTS, Shard
from actbench.data.words import encoder
from actbench.errors import RunFailed
from actbench.store.atomic import flush, write_json

BATCH_CHARACTERS = 1 << 20
PIECE_CHARACTERS = 1 << 18
AHEAD = 2  # shards that wait for each process


def token_type(tokenizer: Tokenizer) -> np.dtype:
    """The smallest type that holds every token."""
    return np.dtype(np.uint16 if tokenizing.vocabulary_size(tokenizer) <= 1 << 16 else np.uint32)


class Packer:
    """Writes documents as tokens. Byte-level BPE has the end-of-text token after each; WordPiece nothing between.

    Without `ends` nothing stands between them.
    """

    def __init__(self, tokenizer: Tokenizer, *, ends: bool = True):
        tokenizer.encode_special_tokens = True  # "<|endoftext|>" in a text is text
        separator = tokenizing.special_tokens(tokenizer).end_of_text if ends else None
        self.dtype = token_type(tokenizer)
        self._end = b"" if separator is None else np.array(separator, self.dtype).tobytes()
        self._encode = encoder(tokenizer, self.dtype)

    def chunks(self, parts: Iterable[Part]) -> Iterator[tuple[bytes, list[int]]]:
        """Tokens, of about a million characters at a time, and how many each document has that ends among them."""
        begun = 0  # bytes of the document that has not ended
        for batch in batches(pieces(parts, self._encode.cut)):
            found, ended = [], []
            for own, piece in zip(self._encode([piece.text for piece in batch]), batch, strict=True):
                data = own + self._end if piece.ends else own
                found.append(data)
                begun += len(data)
                if piece.ends:
                    ended.append(begun // self.dtype.itemsize)
                    begun = 0
            yield b"".join(found), ended

    def shard(self, shard: Shard) -> None:
        """Writes a shard's tokens, and each document's numbers of tokens and characters, unless they are there."""
        if shard.path("tokens.json").exists():
            return
        characters, tokens = array("Q"), array("Q")
        with shard.path("tokens").open("wb") as file:
            for chunk, ended in self.chunks(_counted(shard.parts(), characters)):
                file.write(chunk)
                tokens.extend(ended)
        counts = np.empty(len(tokens), COUNTS)
        counts["tokens"], counts["characters"] = tokens, characters
        counts.tofile(shard.path("counts"))
        flush(shard.path("tokens"))
        flush(shard.path("counts"))
        write_json(shard.path("tokens.json"), {"tokens": sum(tokens)})


def tokenised(shards: Iterable[Shard], tokenizer: Tokenizer, jobs: int) -> Iterator[Shard]:
    """The shards in order, each once its tokens are written, by so many processes; 1: by this one.

    Raises RunFailed when one of them dies.
    """
    if jobs == 1:
        packer = Packer(tokenizer)
        for shard in shards:
            packer.shard(shard)
            yield shard
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would share the tokenizer's threads, which it does not have
    waiting: deque[tuple[Shard, Future[None]]] = deque()
    with ProcessPoolExecutor(jobs, spawn, _begin, (tokenizer.to_str(),)) as pool:
        try:
            for shard in shards:
                waiting.append((shard, pool.submit(_pack, shard)))
                if len(waiting) > AHEAD * jobs:
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        except BrokenProcessPool:
            hint = "perhaps the memory did not suffice: fewer --jobs; the same command goes on from finished shards"
            raise RunFailed(f"a process that tokenises was killed ({hint})") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _next(waiting: deque[tuple[Shard, Future[None]]]) -> Shard:
    shard, done = waiting.popleft()
    done.result()
    return shard


_packer: Packer


def _begin(tokenizer: str) -> None:
    """Readies a process that tokenises; it ends when the one that started it does, however that ended."""
    global _packer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started it is told too, and says what to do
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are as many as are wanted
    _packer = Packer(Tokenizer.from_str(tokenizer))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _pack(shard: Shard) -> None:
    _packer.shard(shard)


def _counted(parts: Iterable[Part], characters: array[int]) -> Iterator[Part]:
    """The same parts; `characters` gets each document's number of them."""
    count = 0
    for part in parts:
        count += len(part.text)
        if part.ends:
            characters.append(count)
            count = 0
        yield part


def batches(pieces: Iterable[Part]) -> Iterator[list[Part]]:
    """Pieces by the million characters."""
    batch: list[Part] = []
    characters = 0
    for piece in pieces:
        batch.append(piece)
        characters += len(piece.text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def pieces(parts: Iterable[Part], cut: re.Pattern[str]) -> Iterator[Part]:
    """The documents parted anew, where it leaves the tokens as they are: a long piece would need much memory."""
    text, seen = "", 0
    for part in parts:
        text += part.text
        while found := cut.search(text, max(PIECE_CHARACTERS, seen)):
            yield Part(text[: found.start()], False)
            text, seen = text[found.start() :], 0
        seen = len(text) - 1  # of which the cut may still need to see what follows
        if part.ends:
            yield Part(text, True)
            text, seen = "", 0
