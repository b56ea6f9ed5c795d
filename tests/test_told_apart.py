"""What tells rows of a study, its tasks and their logs apart."""

import re
from pathlib import Path

import pytest

from actbench.study.file import load_study
from actbench.study.follow_ups import AnalyzeFollowUp, EvaluateFollowUp, LabelsFollowUp, ZeroShotFollowUp, titles
from actbench.study.launchers.local import log_name
from actbench.study.tasks import Task
from actbench.study.told_apart import told_apart

STUDIES = Path(__file__).parents[1] / "recipes" / "studies"
MOST_COLUMNS = 45  # of a title, in a table of 100


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ([{"a": "a=1"}], [""]),
        ([{"a": "a=1", "b": "b=1"}, {"a": "a=1", "b": "b=2"}], ["b=1", "b=2"]),
        ([{}, {"a": "a=1"}, {"b": "b=2"}], ["", "a=1", "b=2"]),
        ([{"a": "a=1", "b": "b=1"}, {"a": "a=2", "b": "b=2"}], ["a=1", "a=2"]),
        ([{"a": "a=1"}, {"a": "a=1"}, {"a": "a=2"}], ["a=1", "a=1", "a=2"]),
    ],
)
def test_the_fewest_words_are_said_that_tell_most_apart(facts, said):
    assert told_apart(facts) == said


@pytest.fixture
def of_raft_text():
    """RAFT's study on text, of which many follow-ups are of one kind."""
    jobs = load_study(STUDIES / "raft-text.yaml").jobs
    return titles(one for job in jobs for one in job.follow_ups)


def test_follow_ups_of_one_kind_are_told_by_what_differs(of_raft_text):
    assert list(of_raft_text.values()) == [
        "finetune glue fixed-activation",
        "finetune glue bitfit+activation",
        "finetune glue (stsb, qnli, sst2)",
        "finetune glue (mnli, cola)",
        "finetune glue (mrpc, qqp, rte, wnli)",
        "finetune squad train=100",
        "finetune squad train=300",
        "finetune squad fixed-activation train=100",
        "finetune squad fixed-activation train=300",
        "finetune squad bitfit+activation train=100",
        "finetune squad bitfit+activation train=300",
        "finetune glue bitfit",
    ]
    assert max(map(len, of_raft_text.values())) <= MOST_COLUMNS


def test_a_title_tells_texts_rates_and_numbers():
    probes = [LabelsFollowUp(finetune="probes", seeds=[0], settings={"lr": lr}) for lr in (5e-5, 1e-3)]
    texts = [EvaluateFollowUp(eval="perplexity", corpus=corpus) for corpus in (None, "over/there/news.txt")]
    limits = [ZeroShotFollowUp(eval="zero-shot", tasks=["arc_easy"], limit=limit) for limit in (None, 10)]
    looks = [AnalyzeFollowUp(analyze="activity", sequences=n) for n in (8, 16)]
    assert list(titles([*probes, *probes, *texts, *limits, *looks]).values()) == [
        "finetune probes lr=5e-05",
        "finetune probes lr=0.001",
        "eval perplexity",
        "eval perplexity corpus=news.txt",
        "eval zero-shot",
        "eval zero-shot limit=10",
        "analyze activity sequences=8",
        "analyze activity sequences=16",
    ]


def test_what_no_short_word_tells_apart_is_numbered():
    texts = [EvaluateFollowUp(eval="perplexity", corpus=f"{'far/' * 9}{'a' * 40}{n}.txt") for n in (1, 2)]
    assert list(titles(texts).values()) == ["eval perplexity #1", "eval perplexity #2"]


def test_every_task_has_a_log_of_its_own_that_is_typed_without_quotes(of_raft_text):
    names = [log_name(Task(f"{title} raft-bert-mini-raf-s0-1a2b3c4d", ())) for title in of_raft_text.values()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_.,+=-]+", name) for name in names)
    assert "finetune-glue-mnli-cola-raft-bert-mini-raf-s0-1a2b3c4d.log" in names
    odd = [log_name(Task(f"eval perplexity corpus=a{sign}b.txt run", ())) for sign in ";/_"]
    assert len(set(odd)) == 3 and all(name.startswith("eval-perplexity-corpus=a_b.txt-run") for name in odd)
