"""How likely a decoder finds a text after another, as lm-evaluation-harness 0.4 defines it.

Tokens: a context and its continuation are encoded as one text and split where the context's own tokens end; spaces at
the end of the context go to the continuation first. What does not fit the model is cut off at the left.

Everything is computed in fp32 on the rows' own lengths, padded at the right, where a causal model does not look: scores
do not depend on the batch size but for rounding. Shapes: B rows, T time, S scored tokens of a batch, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from actbench.data.tokenizer import END_OF_TEXT, load
from actbench.errors import BadInput, Problem, RunFailed
from actbench.evaluation.load import device_of, recipe_of
from actbench.evaluation.load import load as load_model
from actbench.evaluation.zero_shot_plan import needs_a_decoder
from actbench.nn.gpt import Gpt
from actbench.store import Run

PARTS = 4  # logits are taken of so many times D tokens at a time, as in the loss


@dataclass(frozen=True)
class Score:
    """A continuation's log-likelihood in nats, and whether greedy decoding gives it token by token.

    `cut` says that not all of the context fits the model before the continuation, `split` that the continuation alone
    does not: then it is scored in consecutive windows.
    """

    log_likelihood: float
    greedy: bool
    cut: bool = False
    split: bool = False


class Encoded(NamedTuple):
    """A request's tokens."""

    context: list[int]
    continuation: list[int]


class Window(NamedTuple):
    """Tokens that fit the model, of which the last `scored` are scored; their first is only looked at."""

    tokens: tuple[int, ...]
    scored: int


class Scorer:
    """A finished decoder and its tokenizer, on one device. `length` is the most tokens it looks back at."""

    def __init__(self, run: Run, batch_size: int):
        """Raises BadInput for a run that is no finished decoder."""
        model, recipe = load_model(run), recipe_of(run)
        if not isinstance(model, Gpt):
            raise BadInput(needs_a_decoder(run))
        self.device = device_of(recipe)
        self.model = model.to(self.device).eval()
        self.tokenizer: Tokenizer = load(run.folder / "tokenizer.json")
        self.tokenizer.encode_special_tokens = True  # as in training: "<|endoftext|>" in a text is text
        end = self.tokenizer.token_to_id(END_OF_TEXT)
        if end is None:
            hint = "zero-shot evaluation is for decoders with tokenizer.kind: byte_bpe"
            raise BadInput(Problem(f"the tokenizer of {run.id} has no {END_OF_TEXT}", hint=hint))
        self.end_of_text = end
        self.length, self.batch_size = recipe.batch.length, batch_size

    def score(self, texts: Iterable[tuple[str, str]]) -> list[Score]:
        """The score of each continuation after its context. Raises BadInput where no token is left to score."""
        return self.score_tokens([self.encode(*pair) for pair in texts])

    def encode(self, context: str, continuation: str) -> Encoded:
        """A request's tokens: an empty context is the end of another text. Raises BadInput as `score` does."""
        spaces = len(context) - len(context.rstrip())
        if spaces:
            context, continuation = context[:-spaces], context[-spaces:] + continuation
        if not context:
            return Encoded([self.end_of_text], self.tokens(continuation))
        whole, before = self.tokens(context + continuation), self.tokens(context)
        if len(whole) <= len(before):
            raise BadInput(Problem(f"no token of {continuation!r} is left after {context[-40:]!r}"))
        return Encoded(before, whole[len(before) :])

    def tokens(self, text: str) -> list[int]:
        """A text's tokens, without special ones."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def score_tokens(self, requests: Sequence[Encoded]) -> list[Score]:
        """The score of each request. Windows whose inputs are the same, as those of one-token answers, share a row.

        Raises RunFailed where a log-likelihood is not a number.
        """
        windows = [list(windows_of(request, self.length)) for request in requests]
        rows: dict[tuple[int, ...], list[tuple[int, Window]]] = {}
        for number, own in enumerate(windows):
            for window in own:
                rows.setdefault(window.tokens[:-1], []).append((number, window))
        nats, greedy = [0.0] * len(requests), [True] * len(requests)
        order = sorted(rows, key=lambda row: (-len(row), row))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            wanted = [(place, window) for place, row in enumerate(batch) for _, window in rows[row]]
            numbers = [number for row in batch for number, _ in rows[row]]
            for number, (log_likelihood, same) in zip(numbers, self._scores(batch, wanted), strict=True):
                nats[number] += log_likelihood
                greedy[number] &= same
        if not all(map(math.isfinite, nats)):
            raise RunFailed("a log-likelihood is not a number")
        return [
            Score(nats[i], greedy[i], cut=sum(map(len, request)) > self.length + 1, split=len(windows[i]) > 1)
            for i, request in enumerate(requests)
        ]

    @torch.no_grad()
    def _scores(
        self, rows: Sequence[tuple[int, ...]], wanted: Sequence[tuple[int, Window]]
    ) -> list[tuple[float, bool]]:
        """Of each wanted window of a row: its summed log-likelihood, and whether all its tokens are the likeliest."""
        hidden = self._hidden(rows)
        places = [
            (row, len(window.tokens) - 1 - window.scored + i) for row, window in wanted for i in range(window.scored)
        ]
        row, time = torch.tensor(places, device=self.device).unbind(1)
        targets = torch.tensor([token for _, w in wanted for token in w.tokens[-w.scored :]], device=self.device)
        size = PARTS * hidden.shape[-1]
        scored = [
            self._next(hidden[r, t], target)
            for r, t, target in zip(row.split(size), time.split(size), targets.split(size), strict=True)
        ]
        sizes = [window.scored for _, window in wanted]
        nats = torch.cat([part for part, _ in scored]).double().cpu().split(sizes)
        likeliest = torch.cat([part for _, part in scored]).cpu().split(sizes)
        return [(float(own.sum()), bool(same.all())) for own, same in zip(nats, likeliest, strict=True)]

    def _next(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(S, D) and (S,) -> log-likelihoods (S,) in fp32, and whether no token is likelier (S,)."""
        logits = self.model.head.logits(hidden).float()
        own = logits.gather(-1, targets[:, None])[:, 0]
        return own - logits.logsumexp(-1), logits.argmax(-1) == targets

    def _hidden(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Hidden states (B, T, D) of rows padded at the right to the longest."""
        longest = max(map(len, rows))
        padded = torch.tensor([[*row, *[self.end_of_text] * (longest - len(row))] for row in rows], device=self.device)
        with torch.compiler.set_stance("force_eager"):
            return self.model.encode(padded)

    @torch.no_grad()
    def generate(self, contexts: Sequence[str], until: Sequence[str], most: int) -> list[str]:
        """What greedy decoding adds to each context: up to a text of `until`, the end of the text, or `most` tokens."""
        rows = [self.tokens(context) or [self.end_of_text] for context in contexts]
        begun = [len(row) for row in rows]
        open_rows = list(range(len(rows)))
        said = [""] * len(rows)
        for _ in range(most):
            if not open_rows:
                break
            inputs = [rows[i][-self.length :] for i in open_rows]
            last = torch.tensor([len(row) - 1 for row in inputs], device=self.device)
            hidden = self._hidden(inputs)[torch.arange(len(inputs), device=self.device), last]
            likeliest = self.model.head.logits(hidden).argmax(-1).tolist()
            for i, token in zip(tuple(open_rows), likeliest, strict=True):
                if token != self.end_of_text:
                    rows[i].append(token)
                    said[i] = self.tokenizer.decode(rows[i][begun[i] :])
                if token == self.end_of_text or any(stop in said[i] for stop in until):
                    open_rows.remove(i)
        return [before(text, until) for text in said]


def windows_of(request: Encoded, length: int) -> Iterator[Window]:
    """The request's tokens in windows of at most length + 1, every token of the continuation scored once.

    One window, where the continuation fits; its context is cut off at the left. Otherwise consecutive ones, the first
    with one token of context, the last as long as the others (lm-evaluation-harness' rolling windows).
    """
    context, continuation = request
    if len(continuation) <= length:
        yield Window(tuple((context + continuation)[-(length + 1) :]), len(continuation))
        return
    whole = [context[-1], *continuation]
    for done in range(0, len(continuation), length):
        scored = min(length, len(continuation) - done)
        yield Window(tuple(whole[done + scored - length : done + scored + 1]), scored)


def before(text: str, until: Sequence[str]) -> str:
    """The text up to the first of the stops."""
    for stop in until:
        text = text.split(stop)[0]
    return text
