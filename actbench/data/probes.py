"""Stand-in tasks for a machine without GLUE, made from held-out text in GLUE's shapes. They are not GLUE.

A passage is a sentence of 6 to 12 words, or one of the equal parts of a longer sentence, as lower-case words
without punctuation: no capital or full stop tells where a sentence began or ended. Each passage or pair is
used once in a task, with one label only, so training examples can be divided further without a leak.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from actbench.config.corpus import MixtureCorpus
from actbench.config.schema import Recipe
from actbench.data.builtin import cached_documents
from actbench.data.keys import keyed_generator
from actbench.data.splitting import split_hash
from actbench.data.tasks import Example, Task, TaskData, digest
from actbench.errors import BadInput, Problem

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("probe_swap", "classification", ("intact", "swapped"), ("accuracy",), stand_in=True),
        Task("probe_order", "classification", ("exchanged", "follows"), ("accuracy",), stand_in=True),
        Task("probe_overlap", "regression", (), ("pearson", "spearman"), stand_in=True),
    )
}
"""The tasks by name: shaped like CoLA, RTE and STS-B."""

HOW = {
    "probe_swap": "a passage as it was, or with two words at most 3 apart exchanged",
    "probe_order": "two passages that follow one another in the text, in their order or exchanged",
    "probe_overlap": "a passage, and the same with some words replaced by those of another; the score is "
    "5 times the share of content words (all but the 100 commonest) in common, as Dice's coefficient",
}

BUILT_IN_FRACTION = 0.05  # of the built-in documents, as the shipped recipes hold out

_WORDS = range(6, 13)  # in a passage
_MAX_CHARACTERS = 4_000_000  # of text read: some 60,000 passages
_DEV_SHARE = 0.2  # of the passages; whole documents, so it may be a little more
_MIN_EXAMPLES = {"train": 500, "dev": 100}  # with fewer a task's score says nothing about the model
_SWAP_DISTANCE = 3
_N_FUNCTION_WORDS = 100

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z])")
_CODE = re.compile(r"[<>=|{}\\@$^~#*_`]|://|\w\(")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

Passage = tuple[str, ...]
Run = list[Passage]  # passages that follow one another without a gap


@dataclass(frozen=True)
class _Text:
    """One split's passages. `function_words` are the training split's commonest words, in both splits."""

    runs: list[Run]
    function_words: frozenset[str]

    @property
    def passages(self) -> list[Passage]:
        """All passages, in the text's order."""
        return [passage for run in self.runs for passage in run]


def build_probes(documents: Iterable[str], seed: int = 0) -> dict[str, TaskData]:
    """The three stand-in tasks, by name, from `documents` that no model was trained on.

    The same documents and seed give the same examples. No document, and no passage that occurs in two, has a
    part in both `train` and `evaluation["dev"]`. 250,000 characters give 1,500 to 3,000 training
    examples a task and a quarter of that for dev; after 4,000,000 nothing more is read.
    Raises BadInput where there is too little text.
    """
    train, dev = _split(_take(documents), seed)
    counts = Counter(word for run in train for passage in run for word in passage)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    function_words = frozenset(ranked[:_N_FUNCTION_WORDS])
    texts = {"train": _Text(train, function_words), "dev": _Text(dev, function_words)}
    return {name: _build(task, texts, seed) for name, task in TASKS.items()}


def _build(task: Task, texts: dict[str, _Text], seed: int) -> TaskData:
    make = _MAKERS[task.name]
    splits = {split: make(text, keyed_generator(task.name, seed, split)) for split, text in texts.items()}
    if any(len(splits[split]) < least for split, least in _MIN_EXAMPLES.items()):
        found = ", ".join(f"{len(examples)} {split}" for split, examples in splits.items())
        needed = ", ".join(f"{least} {split}" for split, least in _MIN_EXAMPLES.items())
        raise BadInput(
            Problem(
                f"too little held-out text for {task.name}: it gives {found} examples, needed: {needed}",
                hint="use a corpus with more text, more documents or a larger held-out fraction",
            )
        )
    facts = {
        "task": task.name,
        "source": "stand-in made from held-out text, not a public benchmark",
        "how": HOW[task.name],
        "seed": seed,
        "subset": False,
        "splits": {
            split: {"rows": len(examples), "examples_sha256": digest(examples)} for split, examples in splits.items()
        },
    }
    return TaskData(task, splits["train"], {"dev": splits["dev"]}, facts)


def _take(documents: Iterable[str]) -> Iterator[str]:
    characters = 0
    for text in documents:
        if characters >= _MAX_CHARACTERS:
            return
        characters += len(text)
        yield text


def _split(documents: Iterable[str], seed: int) -> tuple[list[Run], list[Run]]:
    """The runs of whole documents for training and for evaluation; a passage met before is left out."""
    ranked = sorted(set(documents), key=lambda text: hashlib.sha256(f"{seed}/{text}".encode()).digest())
    parts = [list(_runs(text)) for text in ranked]
    sizes = [sum(map(len, runs)) for runs in parts]
    wanted = _DEV_SHARE * sum(sizes)
    train: list[Run] = []
    dev: list[Run] = []
    n_dev = 0
    for runs, size in zip(parts, sizes, strict=True):
        if n_dev < wanted and n_dev + size <= 1.5 * wanted:  # a document that is too large goes to training
            dev += runs
            n_dev += size
        else:
            train += runs
    seen: set[Passage] = set()
    return _unseen(train, seen), _unseen(dev, seen)


def _unseen(runs: list[Run], seen: set[Passage]) -> list[Run]:
    """`runs` without the passages in `seen`, broken where one is taken out; adds all to `seen`."""
    kept: list[Run] = []
    for run in runs:
        part: Run = []
        for passage in run:
            if passage in seen:
                kept.append(part)
                part = []
            else:
                seen.add(passage)
                part.append(passage)
        kept.append(part)
    return [run for run in kept if run]


def _runs(text: str) -> Iterator[Run]:
    """The passages of each paragraph, in runs that are broken where a sentence is no prose or too short."""
    for paragraph in re.split(r"\n\s*\n", text):
        run: Run = []
        for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
            if passages := _passages(sentence):
                run += passages
            elif run:
                yield run
                run = []
        if run:
            yield run


def _passages(sentence: str) -> list[Passage]:
    """A sentence in equal parts of 6 to 12 words; none for what is no prose or too short."""
    words = [word.lower() for word in _WORD.findall(sentence)]
    prose = sentence.endswith((".", "!", "?", '"', ")")) and not _CODE.search(sentence)
    if not prose or len(words) < _WORDS.start or sum(word.isalpha() for word in words) < 0.8 * len(words):
        return []
    n_parts = -(-len(words) // (_WORDS.stop - 1))
    cuts = [len(words) * i // n_parts for i in range(n_parts + 1)]
    parts = [tuple(words[start:end]) for start, end in pairwise(cuts)]
    return parts if all(len(set(part)) > len(part) // 2 for part in parts) else []


def _swap(text: _Text, random: np.random.Generator) -> list[Example]:
    labels = _balanced(len(text.passages), random)
    return [
        Example(" ".join(_swapped(passage, random) if label else passage), None, float(label))
        for passage, label in zip(text.passages, labels, strict=True)
    ]


def _swapped(passage: Passage, random: np.random.Generator) -> Sequence[str]:
    """`passage` with two different words, at most 3 apart, in each other's place."""
    pairs = [
        (i, j)
        for i in range(len(passage))
        for j in range(i + 1, min(i + _SWAP_DISTANCE + 1, len(passage)))
        if passage[i] != passage[j]
    ]
    i, j = pairs[random.integers(len(pairs))]
    words = list(passage)
    words[i], words[j] = words[j], words[i]
    return words


def _order(text: _Text, random: np.random.Generator) -> list[Example]:
    pairs = [(" ".join(a), " ".join(b)) for run in text.runs for a, b in pairwise(run)]
    labels = _balanced(len(pairs), random)
    return [
        Example(a, b, 1.0) if follows else Example(b, a, 0.0) for (a, b), follows in zip(pairs, labels, strict=True)
    ]


def _balanced(n: int, random: np.random.Generator) -> np.ndarray:
    """`n` labels 0 and 1 in random order, as many of each."""
    return random.permutation(np.arange(n) % 2)


def _overlap(text: _Text, random: np.random.Generator) -> list[Example]:
    """Pairs with scores spread over 0 to 5, STS-B's scale, of two texts that are equally long."""
    passages = text.passages
    n = len(passages)
    kept_shares = (random.permutation(n) + 0.5) / max(n, 1)
    ring = random.permutation(n)  # each takes words from the next in the ring, never from itself
    examples = []
    for here, there, share in zip(ring, np.roll(ring, -1), kept_shares, strict=True):
        own = passages[here]
        other = np.resize(passages[there], len(own))  # repeated where it is shorter
        mixed = tuple(np.where(random.random(len(own)) < share, own, other).tolist())
        contents = [set(words) - text.function_words for words in (own, mixed)]
        if len(contents[0]) > 1:  # otherwise there is next to nothing to have in common
            common = 2 * len(contents[0] & contents[1]) / (len(contents[0]) + len(contents[1]))
            examples.append(Example(" ".join(own), " ".join(mixed), 5 * common))
    return examples


_MAKERS: dict[str, Callable[[_Text, np.random.Generator], list[Example]]] = {
    "probe_swap": _swap,
    "probe_order": _order,
    "probe_overlap": _overlap,
}


@lru_cache(maxsize=2)
def built_in_probes(fraction: float) -> dict[str, TaskData]:
    """The three tasks from the built-in corpus's documents that a run holds out which holds out `fraction` of them."""
    share = min(fraction, BUILT_IN_FRACTION)
    return build_probes(text for text in cached_documents(lambda _: None) if split_hash(text) < share)


def probes_for(recipe: Recipe) -> dict[str, TaskData]:
    """The three tasks from built-in text that a model trained by this recipe has not seen."""
    corpus = recipe.corpus
    read = corpus.parts if isinstance(corpus, MixtureCorpus) else [corpus]
    seen = any(part.source == "builtin" for part in read)
    return built_in_probes(recipe.validation.fraction if seen else BUILT_IN_FRACTION)
