"""The corpus `hub`: a data set of the Hugging Face hub, fixed to the commit its revision names."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from actbench.config.schema import HubCorpus
from actbench.data import cache
from actbench.data.documents import Source, text_of, whole
from actbench.errors import BadInput, Problem

TIMEOUT_S = 10.0
_COMMIT = re.compile(r"[0-9a-f]{40}$")
_NO_CONNECTION = {
    "OfflineModeIsEnabled",
    "LocalEntryNotFoundError",
    "ConnectionError",
    "ConnectError",
    "TimeoutException",
    "TimeoutError",
}
_INSTEAD = "check the name and the connection, or use corpus.source: files or builtin"
_OFFLINE = "HF_HUB_OFFLINE=1 reads a downloaded copy, if there is one"


def hub_source(corpus: HubCorpus, say: Callable[[str], None]) -> Source:
    """The documents of a hub data set, at the commit which the hub says the revision is.

    Raises BadInput when the data set cannot be found or reached and no earlier answer is remembered.
    """
    commit = _commit(corpus, say)
    key = corpus.model_dump(mode="json", exclude={"streaming"}) | {"revision": commit}
    facts = key | {"revision_asked": corpus.revision}
    return Source(corpus.dataset, key, facts, lambda: whole(_read(corpus, commit)))


def _commit(corpus: HubCorpus, say: Callable[[str], None]) -> str:
    if corpus.revision and _COMMIT.match(corpus.revision):
        return corpus.revision
    from huggingface_hub.errors import HfHubHTTPError

    asked = hashlib.sha256(json.dumps([corpus.dataset, corpus.revision]).encode()).hexdigest()[:32]
    note = cache.root() / "hub" / asked
    try:
        commit = _ask(corpus, corpus.revision)
    except Exception as error:
        # The client raises its own errors, its HTTP library's and the system's, by version.
        if isinstance(error, HfHubHTTPError) or not note.is_file():
            raise _unusable(corpus, error) from error
        commit = note.read_text(encoding="ascii")
        say(f"{corpus.dataset}: the hub cannot be reached, using commit {commit[:12]} of an earlier run")
        return commit
    if commit is None:
        raise BadInput(Problem("the hub names no commit", corpus.dataset, "corpus.revision"))
    cache.write_note(note, commit)
    return str(commit)


def _read(corpus: HubCorpus, commit: str) -> Iterator[str]:
    try:
        for number, row in enumerate(itertools.islice(_rows(corpus, commit), corpus.max_documents), start=1):
            document = text_of(row, corpus.text_field, f"{corpus.dataset}: row {number}")
            if document is not None:
                yield document
    except BadInput:
        raise
    except Exception as error:
        # As above; a data set's own reader may raise anything besides.
        raise _unusable(corpus, error) from error


def _rows(corpus: HubCorpus, commit: str) -> Iterable[dict[str, Any]]:
    """The split's rows: streamed, or from the copy that `datasets` keeps (all there is when offline)."""
    import datasets

    offline = bool(datasets.config.HF_HUB_OFFLINE)
    if not offline:
        _ask(corpus, commit)  # fails at once where `datasets` would try again for half a minute
    builder = datasets.load_dataset_builder(corpus.dataset, corpus.subset, revision=commit)
    if builder.hash != commit:  # without a connection `datasets` takes the newest copy it has, of any commit
        what = f"the copy on this machine is not of commit {commit[:12]}"
        raise BadInput(Problem(what, corpus.dataset, "corpus.revision", "connect once to read it"))
    rows: Iterable[dict[str, Any]]
    if corpus.streaming and not offline:
        rows = builder.as_streaming_dataset(split=corpus.split)
    else:
        builder.download_and_prepare()
        rows = builder.as_dataset(split=corpus.split)
    return rows


def _ask(corpus: HubCorpus, revision: str | None) -> str | None:
    """The commit that a revision is, from the hub."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(corpus.dataset, revision=revision, timeout=TIMEOUT_S).sha


def _unusable(corpus: HubCorpus, error: Exception) -> BadInput:
    return unusable(error, corpus.dataset, corpus.revision, "corpus.dataset", _INSTEAD)


def unusable(error: Exception, where: str, revision: str | None, key: str, hint: str) -> BadInput:
    """One message for all that can go wrong between here and what the hub holds; `hint` is what to do instead."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"RepositoryNotFoundError", "DatasetNotFoundError"}:
        what = "not found on the hub, or private"
    elif "RevisionNotFoundError" in names:
        what = f"no revision '{revision}' on the hub"
    elif names & _NO_CONNECTION:
        what, hint = "the hub cannot be reached: offline", f"{_OFFLINE}; or {hint}"
    else:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = f"cannot be read: {first_line[:300]}"
    return BadInput(Problem(what, where, key, hint))
