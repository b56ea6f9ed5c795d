"""The stand-in tasks are reproducible, balanced and free of leaks and give-aways, and never pass for GLUE."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from pydoc_data import topics
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from actbench.config import Recipe, load_recipe
from actbench.data import probes
from actbench.data.glue import TASKS as GLUE
from actbench.data.probes import TASKS, build_probes
from actbench.data.tasks import Example, TaskData
from actbench.errors import BadInput

ARTICLES = Path(__file__).parents[2] / "shared" / "data" / "text" / "wikipedia" / "articles.jsonl.gz"
Source = Callable[[], tuple[str, ...]]
NAMES = ("probe_swap", "probe_order", "probe_overlap")


@cache
def pages() -> tuple[str, ...]:
    """Pages of Python's reference: prose among code."""
    return tuple(text for _, text in sorted(topics.topics.items()))


@cache
def invented(n_documents: int = 40, n_sentences: int = 30) -> tuple[str, ...]:
    """Documents of random sentences, whose text shows nothing but what the tasks do to it."""
    random = np.random.default_rng(0)
    vocabulary = ["".join(chr(97 + c) for c in random.integers(26, size=6)) for _ in range(2000)]

    def sentence() -> str:
        words = random.choice(vocabulary, size=random.integers(8, 30))
        return " ".join(words).capitalize() + "."

    return tuple(" ".join(sentence() for _ in range(n_sentences)) for _ in range(n_documents))


def mixture(part: dict[str, Any]) -> dict[str, Any]:
    """The part, and as much of a file."""
    other = {"source": "files", "files": ["x"]}
    return {"source": "mixture", "parts": [{**one, "weight": 1.0} for one in (other, part)]}


def both_splits(data: TaskData) -> dict[str, list[Example]]:
    return {"train": data.train, **data.evaluation}


def words(examples: list[Example]) -> Counter[str]:
    return Counter(word for e in examples for text in (e.text_a, e.text_b or "") for word in text.split())


def test_names_and_facts_say_that_they_stand_in() -> None:
    built = build_probes(invented())
    assert tuple(built) == NAMES == tuple(TASKS)
    assert not set(TASKS) & set(GLUE)
    for name, data in built.items():
        assert name.startswith("probe_")
        assert data.task.stand_in
        assert data.facts["source"].startswith("stand-in")
        assert "glue" not in json.dumps(data.facts).lower()
        rows = {split: len(examples) for split, examples in both_splits(data).items()}
        assert {split: facts["rows"] for split, facts in data.facts["splits"].items()} == rows


def test_the_same_text_and_seed_give_the_same_examples_in_any_order_of_documents() -> None:
    first, again = build_probes(invented()), build_probes(reversed(invented()))
    assert first == again
    other = build_probes(invented(), seed=1)
    assert all(first[name].train != other[name].train for name in NAMES)


@pytest.mark.parametrize("source", [invented, pages])
@pytest.mark.parametrize("name", ["probe_swap", "probe_order"])
def test_labels_are_balanced(source: Source, name: str) -> None:
    for examples in both_splits(build_probes(source())[name]).values():
        labels = Counter(e.label for e in examples)
        assert set(labels) == {0.0, 1.0}
        assert abs(labels[0.0] - labels[1.0]) <= 1


@pytest.mark.parametrize("source", [invented, pages])
@pytest.mark.parametrize("name", NAMES)
def test_no_passage_is_in_both_splits(source: Source, name: str) -> None:
    def passages(examples: list[Example]) -> set[tuple[str, ...]]:
        """Each text's words, sorted, so that an exchange of two words does not hide a repetition."""
        texts = [e.text_a for e in examples]
        texts += [e.text_b for e in examples if name == "probe_order"]
        return {tuple(sorted(text.split())) for text in texts}

    data = build_probes(source())[name]
    assert not passages(data.train) & passages(data.evaluation["dev"])


def test_no_document_is_in_both_splits() -> None:
    marked = [text.replace(" ", f" doc{chr(97 + i // 26)}{chr(97 + i % 26)} ") for i, text in enumerate(invented())]
    for data in build_probes(marked).values():
        marks = [{w for w in words(rows) if w.startswith("doc")} for rows in both_splits(data).values()]
        assert marks[0] and marks[1] and not marks[0] & marks[1]


@pytest.mark.parametrize("seed", range(5))
def test_one_large_document_does_not_upset_the_division(seed: int) -> None:
    documents = [" ".join(invented()[:20]), *invented()[20:]]
    data = build_probes(documents, seed)["probe_swap"]
    assert 0.2 < len(data.evaluation["dev"]) / (len(data.train) + len(data.evaluation["dev"])) < 0.31


def test_a_text_that_is_given_twice_changes_nothing() -> None:
    assert build_probes([*invented(), *invented()]) == build_probes(invented())


@pytest.mark.parametrize("name", NAMES)
def test_texts_have_no_capitals_or_punctuation(name: str) -> None:
    for examples in both_splits(build_probes(pages())[name]).values():
        for e in examples:
            for text in (e.text_a, e.text_b or ""):
                assert text == text.lower()
                assert not set(text) & set('.,;:!?"()[]=<>_*')


def test_a_swap_exchanges_two_words_at_most_three_apart() -> None:
    originals = {
        tuple(sorted(passage)): passage
        for e in build_probes(invented())["probe_order"].train
        for passage in (e.text_a.split(), (e.text_b or "").split())
    }
    seen = Counter()
    for e in build_probes(invented())["probe_swap"].train:
        passage = e.text_a.split()
        original = originals.get(tuple(sorted(passage)), passage)
        changed = [i for i in range(len(passage)) if passage[i] != original[i]]
        assert len(changed) == (2 if e.label else 0)
        if changed:
            assert changed[1] - changed[0] <= 3
            seen[changed[1] - changed[0]] += 1
    assert set(seen) == {1, 2, 3}


def test_order_pairs_follow_one_another_in_the_text() -> None:
    text = " ".join(" ".join(invented()).lower().replace(".", "").split())
    for e in build_probes(["\n\n".join([d]) for d in invented()])["probe_order"].train:
        first, second = (e.text_a, e.text_b) if e.label else (e.text_b, e.text_a)
        assert f"{first} {second}" in text


def test_a_gap_in_the_text_breaks_a_pair() -> None:
    broken = [text.replace(". ", ". Too short. ") for text in invented()]
    sentences = [s.lower().split() for text in invented() for s in text[:-1].split(". ")]
    lasts, firsts = {tuple(s[-6:]) for s in sentences}, {tuple(s[:6]) for s in sentences}
    for e in build_probes(broken)["probe_order"].train:
        first, second = (e.text_a, e.text_b) if e.label else (e.text_b, e.text_a)
        ends, begins = tuple(first.split()[-6:]), tuple((second or "").split()[:6])
        assert not (ends in lasts and begins in firsts)


def test_overlap_is_the_share_of_words_in_common() -> None:
    data = build_probes(invented())["probe_overlap"]
    counts = words([Example(e.text_a, e.text_b, 0) for e in build_probes(invented())["probe_order"].train])
    scores = np.array([e.label for e in data.train])
    assert scores.min() >= 0 and scores.max() == 5
    assert np.all(np.histogram(scores, bins=5, range=(0, 5))[0] > 0.1 * len(scores))
    assert len(counts) > 1000  # so that the 100 commonest words are a small part of any passage
    estimates = [len(set(e.text_a.split()) & set((e.text_b or "").split())) / len(e.text_a.split()) for e in data.train]
    assert np.corrcoef(estimates, scores)[0, 1] > 0.97
    assert all(len(e.text_a.split()) == len((e.text_b or "").split()) for e in data.train)
    identical = [e.label for e in data.train if e.text_a == e.text_b]
    assert identical and set(identical) == {5.0}


@pytest.mark.parametrize("name", ["probe_swap", "probe_order"])
def test_single_words_and_lengths_give_nothing_away(name: str) -> None:
    """Each text's bag of words, first and last word and length tell no more than chance about the label."""

    def features(example: Example) -> str:
        found = []
        for side, text in (("a", example.text_a), ("b", example.text_b or "")):
            if passage := text.split():
                found += [f"{side}:{w}" for w in passage]
                found += [f"{side}^{passage[0]}", f"{side}${passage[-1]}", f"{side}#{len(passage)}"]
        return " ".join(found)

    data = build_probes(invented(80, 40))[name]
    vectorizer = CountVectorizer(token_pattern=r"\S+", lowercase=False)
    train, dev = data.train, data.evaluation["dev"]
    model = LogisticRegression(C=0.1, max_iter=200)
    model.fit(vectorizer.fit_transform(map(features, train)), [e.label for e in train])
    accuracy = model.score(vectorizer.transform(map(features, dev)), [e.label for e in dev])
    assert abs(accuracy - 0.5) < 4 * 0.5 / np.sqrt(len(dev))


@pytest.mark.parametrize(
    "line",
    [
        "A Heading Of Noticeable Length That Goes On Without Any Full Stop",
        "while noticeable < limit: total += step and so on and on forever and ever.",
        "See noticeable(limit) for what is done with it and for what is not.",
        "Noticeable 1 2 3 4 5 6 7 8 9 10 11 12 13.",
        "Noticeable no no no no no no no no no no no.",
    ],
)
def test_what_is_no_prose_is_left_out(line: str) -> None:
    documents = [f"{text}\n\n{line}" for text in invented()]
    assert "noticeable" not in words(build_probes(documents)["probe_swap"].train)


@pytest.mark.parametrize("documents", [(), ("One short text.",), invented()[:5], (" ".join(invented()),)])
def test_too_little_text_or_one_document_is_refused(documents: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match=r"too little held-out text for probe_swap: .*needed: 500 train, 100 dev"):
        build_probes(documents)


@pytest.mark.skipif(not ARTICLES.is_file(), reason=f"needs {ARTICLES}")
def test_250_000_characters_are_enough() -> None:
    with gzip.open(ARTICLES, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"][:10_000] for line, _ in zip(lines, range(26), strict=False)]
    assert sum(map(len, texts)) < 260_000
    for data in build_probes(texts).values():
        assert len(data.train) >= 1500
        assert len(data.evaluation["dev"]) >= 400


@pytest.mark.parametrize(
    ("corpus", "fraction"),
    [
        ({"source": "builtin"}, 0.01),
        ({"source": "files", "files": ["x"]}, probes.BUILT_IN_FRACTION),
        (mixture({"source": "builtin"}), 0.01),
        (mixture({"source": "hub", "dataset": "x"}), probes.BUILT_IN_FRACTION),
    ],
)
def test_no_text_that_a_model_was_trained_on_is_asked_about(
    monkeypatch: pytest.MonkeyPatch, tiny_recipe: Callable[..., Path], corpus: dict[str, Any], fraction: float
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(probes, "built_in_probes", asked.append)
    recipe = load_recipe(tiny_recipe("bert", validation={"fraction": 0.01})).model_dump(mode="json")
    probes.probes_for(Recipe.model_validate({**recipe, "corpus": corpus}))
    assert asked == [fraction]
