"""Log-likelihoods of continuations, and the metrics that are made of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import request_files as files
import torch
from hypothesis import given
from hypothesis import strategies as st

from actbench.data.blimp import load_blimp
from actbench.data.requests import Item, Request, RequestTask, load_requests
from actbench.errors import BadInput, RunFailed
from actbench.evaluation.scoring import Encoded, Score, Scorer, windows_of
from actbench.evaluation.zero_shot import score_items
from actbench.evaluation.zero_shot_metrics import results
from actbench.store import Run


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[RequestTask]:
    folder = tmp_path_factory.mktemp("tasks")
    files.choices(files.last_words(files.pairs(folder)))
    return [load_requests("pick", folder, None), load_requests("lambada", folder, None), load_blimp(folder, None)]


def texts(tasks: list[RequestTask]) -> list[tuple[str, str]]:
    return [(r.context, r.continuation) for task in tasks for item in task.items for r in item.requests]


def by_hand(scorer: Scorer, context: str, continuation: str) -> tuple[float, bool]:
    """One sequence alone, its logits in full, for a continuation that fits."""
    encoded = scorer.encode(context, continuation)
    whole = torch.tensor([*encoded.context, *encoded.continuation][-(scorer.length + 1) :])
    with torch.no_grad():
        logits = scorer.model.logits(whole[None, :-1])[0, -len(encoded.continuation) :].double()
    wanted = whole[-len(encoded.continuation) :]
    own = logits.log_softmax(-1).gather(-1, wanted[:, None]).sum()
    return float(own), bool((logits.argmax(-1) == wanted).all())


def test_a_score_is_the_sum_of_what_the_model_says_of_each_token(decoder: Run, tasks: list[RequestTask]) -> None:
    scorer = Scorer(decoder, 5)
    scores = scorer.score(texts(tasks))
    assert sum(score.split for score in scores) == 1 and sum(score.cut for score in scores) > 2
    for pair, score in zip(texts(tasks), scores, strict=True):
        if not score.split:
            expected, same = by_hand(scorer, *pair)
            assert score.log_likelihood == pytest.approx(expected, rel=1e-5) and score.greedy is same


def test_scores_do_not_depend_on_the_batch_size(decoder: Run, tasks: list[RequestTask]) -> None:
    alone = Scorer(decoder, 1).score(texts(tasks))
    for size in (3, 64):
        together = Scorer(decoder, size).score(texts(tasks))
        for a, b in zip(alone, together, strict=True):
            assert a.log_likelihood == pytest.approx(b.log_likelihood, rel=1e-6)
            assert (a.greedy, a.cut, a.split) == (b.greedy, b.cut, b.split)


def test_greedy_means_the_likeliest_token_every_time(decoder: Run) -> None:
    scorer, row = Scorer(decoder, 4), [5, 6, 7]
    for _ in range(3):
        with torch.no_grad():
            row.append(int(scorer.model.logits(torch.tensor([row]))[0, -1].argmax()))
    context, likeliest = row[:3], row[3:]
    wrong = [token + 1 for token in likeliest]
    asked = [likeliest, [*likeliest[:2], wrong[2]], [wrong[0], *likeliest[1:]], likeliest[:1]]
    scores = scorer.score_tokens([Encoded(context, tokens) for tokens in asked])
    assert [score.greedy for score in scores] == [True, False, False, True]


def test_spaces_at_the_end_of_a_context_belong_to_what_follows(decoder: Run) -> None:
    scorer = Scorer(decoder, 4)
    assert scorer.encode("the river  ", "stone") == scorer.encode("the river", "  stone")
    assert scorer.encode("", "the river") == Encoded([scorer.end_of_text], scorer.tokens("the river"))
    assert scorer.encode("  ", "the") == Encoded([scorer.end_of_text], scorer.tokens("  the"))
    whole = scorer.encode("the river", " stone")
    assert [*whole.context, *whole.continuation] == scorer.tokens("the river stone")


def test_equal_inputs_share_a_row(decoder: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, rows = Scorer(decoder, 8), []
    hidden = scorer._hidden
    monkeypatch.setattr(scorer, "_hidden", lambda given: rows.extend(given) or hidden(given))
    one, other = Encoded([5, 6, 7], [8]), Encoded([5, 6, 7], [9])
    longer = Encoded([5, 6], [7, 8])
    together = scorer.score_tokens([one, other, longer])
    assert rows == [(5, 6, 7)]
    apart = [scorer.score_tokens([request])[0] for request in (one, other, longer)]
    for shared, alone in zip(together, apart, strict=True):  # a product of other rows may round otherwise
        assert shared.log_likelihood == pytest.approx(alone.log_likelihood, rel=1e-6)
        assert replace(shared, log_likelihood=0.0) == replace(alone, log_likelihood=0.0)


def test_a_tokenizer_without_an_end_of_text_is_refused(decoder: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actbench.evaluation.scoring.END_OF_TEXT", "[END]")
    with pytest.raises(BadInput, match="byte_bpe"):
        Scorer(decoder, 1)


def test_a_likelihood_that_is_not_a_number_fails(decoder: Run) -> None:
    scorer = Scorer(decoder, 8)
    with torch.no_grad():
        scorer.model.tokens.weight[5] = math.nan
    with pytest.raises(RunFailed, match="not a number"):
        scorer.score_tokens([Encoded([5], [6])])


def test_generation_is_greedy_and_stops(decoder: Run) -> None:
    scorer = Scorer(decoder, 2)
    row = scorer.tokens("The old river")
    for _ in range(40):  # beyond what the model looks back at
        with torch.no_grad():
            row.append(int(scorer.model.logits(torch.tensor([row[-scorer.length :]]))[0, -1].argmax()))
    expected = scorer.tokenizer.decode(row[len(scorer.tokens("The old river")) :])
    both = scorer.generate(["The old river", "a"], [], 40)
    assert both[0] == expected and len(both) == 2
    stop = expected[6:9]
    assert scorer.generate(["The old river"], [stop], 40) == [expected[: expected.index(stop)]]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_windows_score_every_token_once(context: int, continuation: int, length: int) -> None:
    request = Encoded(list(range(context)), list(range(100, 100 + continuation)))
    windows = list(windows_of(request, length))
    assert [token for window in windows for token in window.tokens[-window.scored :]] == request.continuation
    assert all(len(window.tokens) <= length + 1 and window.scored < len(window.tokens) for window in windows)
    whole = [*request.context, *request.continuation]
    joined = {tuple(whole[i : i + len(w.tokens)]) for w in windows for i in range(len(whole))}
    assert all(window.tokens in joined for window in windows), "a window is a part of the text as it stands"
    if continuation > length:
        assert all(len(window.tokens) == length + 1 for window in windows), "with all the context there is room for"


def task_of(kind: Any, *items: Item) -> RequestTask:
    return RequestTask("made up", kind, items, "acc", {})


def item(gold: int, *continuations: str, group: str = "") -> Item:
    return Item("0", tuple(Request("q", text) for text in continuations), gold, group)


def likely(*values: float) -> list[Score]:
    return [Score(value, greedy=value > -1) for value in values]


def test_choices_are_judged_plain_by_characters_and_by_bytes() -> None:
    task = task_of("choice", item(0, " ab", " abcdef"), item(1, " ab", " abcdef"), item(0, " éé", " abc"))
    found = results(task, [likely(-2.0, -5.0), likely(-2.0, -5.0), likely(-3.0, -3.3)])
    assert found["scores"] == {"acc": 2 / 3, "acc_norm": 1 / 3, "acc_bytes": 2 / 3}
    expected = math.sqrt(2 / 3 * 1 / 3 * 3 / 2 / 3)  # of shares: sqrt(p (1 - p) / (n - 1))
    short = results(task_of("choice", item(1, " a", " aaa")), [likely(-1.0, -2.6)])
    assert short["scores"] == {"acc": 0.0, "acc_norm": 1.0, "acc_bytes": 1.0}, "the space before an answer is no part"
    assert found["standard_errors"] == pytest.approx(dict.fromkeys(("acc", "acc_norm", "acc_bytes"), expected))


def test_last_words_are_right_when_greedy() -> None:
    found = results(task_of("last word", item(0, " a"), item(0, " b")), [likely(-0.5), likely(-3.5)])
    assert found["scores"] == {"acc": 0.5} and found["perplexity"] == pytest.approx(math.exp(2.0))


def test_pairs_are_averaged_over_paradigms() -> None:
    items = [item(0, "a", "b", group="one") for _ in range(4)] + [item(0, "a", "b", group="two") for _ in range(2)]
    scores = [likely(-1, -2), likely(-1, -2), likely(-1, -2), likely(-2, -1), likely(-2, -1), likely(-1, -2)]
    found = results(task_of("pairs", *items), scores)
    assert found["scores"] == {"acc": pytest.approx((0.75 + 0.5) / 2)}
    assert found["paradigms"]["one"] == {"acc": 0.75, "standard_error": pytest.approx(0.25), "items": 4}
    assert found["standard_errors"]["acc"] == pytest.approx(math.hypot(0.25, 0.5) / 2)


def test_a_single_item_has_no_standard_error() -> None:
    found = results(task_of("choice", item(0, " a", " b")), [likely(-1, -2)])
    assert found["standard_errors"]["acc"] is None


def test_items_keep_their_requests_together(decoder: Run, tasks: list[RequestTask]) -> None:
    scores = score_items(tasks[0], Scorer(decoder, 7))
    assert [len(own) for own in scores] == [len(item.requests) for item in tasks[0].items]
