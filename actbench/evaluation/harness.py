"""actbench's decoders as a model of lm-evaluation-harness 0.4 (extra `eval`), and its tasks scored with them."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.evaluator import evaluate
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.tasks import TaskManager
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from actbench.data.tokenizer import END_OF_TEXT
from actbench.errors import BadInput, Problem, RunFailed, nearest
from actbench.evaluation.scoring import Encoded, Scorer
from actbench.evaluation.zero_shot_plan import LOCAL, HarnessTask
from actbench.store import Run, identity_hash

SHARES = ("acc", "acc_norm", "exact_match", "f1", "mcc", "acc_bytes")  # the first that a task measures heads it
RESAMPLES = 100  # for standard errors of what is no mean over items
MOST_GENERATED = 256  # tokens, unless the task says


@register_model("actbench")
class ActbenchLM(TemplateLM):
    """A finished decoder. Importing this module registers it: model="actbench", model_args="run=runs/NAME".

    How texts become tokens is the harness' own code; their log-likelihoods are actbench's.
    """

    def __init__(
        self, run: str | Path | None = None, batch_size: int | str = 32, scorer: Scorer | None = None, **_: Any
    ):
        """Of a run's folder, or of a scorer that is there already. Raises BadInput for a run that is no decoder."""
        super().__init__()
        self.scorer = scorer or Scorer(Run(Path(run or "")), int(batch_size))

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text, and stands for an empty context."""
        return self.scorer.end_of_text

    @property
    def max_length(self) -> int:
        """The most tokens it looks back at."""
        return self.scorer.length

    @property
    def tokenizer_name(self) -> str:
        """What stands for the tokenizer in caches of requests: its content."""
        return identity_hash({"tokenizer": self.scorer.tokenizer.to_str()})

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """A text's tokens, without special ones."""
        return self.scorer.tokens(string)

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        scores = self.scorer.score_tokens([Encoded(context, continuation) for _, context, continuation in requests])
        return [(score.log_likelihood, score.greedy) for score in scores]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of whole texts, in nats, each token scored once with as much context as fits."""
        return [self._rolling(*request.args) for request in requests]

    def _rolling(self, text: str) -> float:
        windows = get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.max_length, 1)
        scores = self.scorer.score_tokens([Encoded(*make_disjoint_window(window)) for window in windows])
        return sum(score.log_likelihood for score in scores)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """What greedy decoding says. Raises BadInput for a task that samples."""
        return [self._generated(*request.args) for request in requests]

    def _generated(self, context: str, settings: dict[str, Any]) -> str:
        settings = normalize_gen_kwargs(settings, MOST_GENERATED)
        if settings["do_sample"]:
            raise BadInput("only greedy generation is computed here, and the task asks for samples")
        until = handle_stop_sequences(settings["until"], END_OF_TEXT)
        return self.scorer.generate([context], until, settings["max_gen_toks"])[0]


@cache
def manager() -> TaskManager:
    """The harness' own tasks, found among its files, which takes seconds."""
    return TaskManager()


def check_name(name: str) -> None:
    """Raises BadInput for a task that the harness does not have, with the nearest."""
    known = manager().all_tasks
    if name not in known:
        hint = nearest(name, [*LOCAL, *known])  # where none is near, it names them all: there are thousands
        hint = hint if hint.startswith("did") else f"here: {', '.join(LOCAL)}; in the harness: lm_eval ls tasks"
        raise BadInput(Problem(f"unknown task '{name}', to lm-evaluation-harness too", "--tasks", hint=hint))


def measure(task: HarnessTask, scorer: Scorer) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What came out, what the task is, and what its data is, as JSON data.

    Raises BadInput for a task whose data set cannot be had, RunFailed for one that measures no share of right answers.
    """
    try:
        loaded = manager().load([task.name])
    except Exception as error:  # every data set's loader raises its own
        message = f"the task's data set cannot be had: {type(error).__name__}: {str(error).splitlines()[0]}"
        hint = "lm-evaluation-harness reads it from the Hugging Face hub, which needs a network"
        hint += "; --data DIR reads files instead" if task.name in LOCAL else ""
        raise BadInput(Problem(message, task.name, hint=hint)) from error
    return run_loaded(task.name, loaded, scorer, task.limit)


def run_loaded(
    name: str, loaded: Any, scorer: Scorer, limit: int | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The same of tasks that the harness' TaskManager has loaded under `name`, with no examples shown.

    Raises BadInput for a group without a mean of its tasks, and for tasks that the harness does not run with a model of
    texts, or not without being told that they are safe.
    """
    if name not in loaded["tasks"] and not getattr(loaded["groups"].get(name), "has_aggregation", False):
        message = f"a set of {len(loaded['tasks'])} tasks, of which the harness takes no mean"
        raise BadInput(Problem(message, name, hint=f"name those you want, as in {','.join(list(loaded['tasks'])[:6])}"))
    for own in loaded["tasks"].values():
        own.set_config(key="num_fewshot", value=0)
    os.environ["DISABLE_MULTIPROC"] = "1"  # the harness would fork processes to resample, beside torch's threads
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = evaluate(ActbenchLM(scorer=scorer), loaded, limit=limit, bootstrap_iters=RESAMPLES)
    except ValueError as error:
        raise BadInput(Problem(str(error), name)) from error
    values = {key.removesuffix(",none"): value for key, value in found["results"].get(name, {}).items()}
    measured = {key: float(v) for key, v in values.items() if isinstance(v, int | float) and "_stderr" not in key}
    measured.pop("sample_len", None)
    scores = {key: value for key, value in measured.items() if key.partition(",")[0] in SHARES}
    headline = next((key for share in SHARES for key in scores if key.partition(",")[0] == share), None)
    if headline is None:
        raise RunFailed(f"{name} measures no share of right answers but {', '.join(measured) or 'nothing of its own'}")
    perplexity = {"perplexity": measured["perplexity"]} if "perplexity" in measured else {}
    errors = {metric: values.get(_error_of(metric)) for metric in scores}
    counts = found["n-samples"].values()
    items, of = (sum(count[key] for count in counts) for key in ("effective", "original"))
    hashes = [[sample["doc_hash"], sample["prompt_hash"]] for own in found["samples"].values() for sample in own]
    results = {
        "scores": scores,
        **perplexity,
        "standard_errors": {metric: error if isinstance(error, float) else None for metric, error in errors.items()},
        "items": items,
        "headline": {"metric": headline, "value": scores[headline]},
    }
    about = {"name": name, "kind": "harness", "metrics": list(scores), "headline": headline}
    facts = {
        "source": "lm-evaluation-harness",
        "versions": {key: found["versions"].get(key) for key in loaded["tasks"]},
        "shots": 0,
        "items": items,
        "of": of,
        "subset": items < of,
        "items_sha256": identity_hash({"items": hashes}),
    }
    return results, about, facts


def _error_of(metric: str) -> str:
    name, comma, kind = metric.partition(",")
    return f"{name}_stderr{comma}{kind}"
