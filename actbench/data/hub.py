"""Data sets of the Hugging Face hub: the corpus `hub`, fixed to the commit its revision names, and tasks' examples."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

from actbench.config.corpus import HubCorpus
from actbench.data import cache
from actbench.data.documents import Part, Source, text_of
from actbench.errors import BadInput, Problem, RunFailed

TIMEOUT_S = 10.0
STATE_EVERY = 1000  # rows: to ask the stream where it is takes longer than to read a row
_COMMIT = re.compile(r"[0-9a-f]{40}$")
_NO_CONNECTION = {
    "OfflineModeIsEnabled",
    "LocalEntryNotFoundError",
    "ConnectionError",
    "ConnectError",
    "TimeoutException",
    "TimeoutError",
}
# What reading raises midway, once the libraries have tried again as often as they do.
_LOST = _NO_CONNECTION | {"TransportError", "ClientError", "HfHubHTTPError", "IncompleteRead", "FSTimeoutError"}
_INSTEAD = "check the name and the connection, or use corpus.source: files or builtin"
_OFFLINE = "HF_HUB_OFFLINE=1 reads a downloaded copy, if there is one"


class Unreachable(BadInput):
    """The hub cannot be reached: what else would be asked of it can be left unasked."""


def hub_source(corpus: HubCorpus, say: Callable[[str], None]) -> Source:
    """The documents of a hub data set, at the commit which the hub says the revision is.

    Raises BadInput when the data set cannot be found or reached and no earlier answer is remembered.
    """
    commit = _commit(corpus, say)
    key = corpus.model_dump(mode="json", exclude={"streaming", "max_tokens", "weight"}) | {"revision": commit}
    facts = key | {"revision_asked": corpus.revision}
    return Source(corpus.dataset, key, facts, partial(_parts, corpus, commit))


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


def load_splits(dataset: str, *subset: str, hint: str) -> Any:
    """All splits of a data set, a DatasetDict; without a connection from the copy that `datasets` keeps.

    Raises Unreachable when there is neither, BadInput when it cannot be read for another reason; `hint` is what to do.
    """
    import datasets

    connected = not datasets.config.HF_HUB_OFFLINE and _answers(dataset)
    try:
        with contextlib.nullcontext() if connected else _offline():
            return datasets.load_dataset(dataset, *subset)
    except Exception as error:  # as in _commit
        if connected:
            raise unusable(error, dataset, None, "", hint) from error
        what = "the hub cannot be reached, and there is no copy on this machine"
        if not _names(error) & _NO_CONNECTION:
            what = f"the hub cannot be reached, and the copy on this machine will not do: {_first_line(error)}"
        raise Unreachable(Problem(what, dataset, hint=hint)) from error


@lru_cache
def _answers(dataset: str) -> bool:
    """Whether the hub says anything of a data set, if only that it has none of the name."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(dataset, timeout=TIMEOUT_S)
    except Exception as error:  # as in _commit
        return isinstance(error, HfHubHTTPError)
    return True


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Has `datasets` read its copies alone; without a connection it would try again, loudly, for half a minute."""
    import datasets

    was, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = was


def _parts(corpus: HubCorpus, commit: str, place: Any = None) -> Iterator[Part]:
    """The documents. A place is the rows read so far, a state of the stream, and the rows read since that one.

    A state counts in a way of its own where it was streamed, so that reading a copy begins anew, and leaves out rows.
    Raises BadInput when the data set cannot be read, RunFailed when the connection is lost on the way.
    """
    done, state, since, way = (*(place or (0, None, 0)), None)[:4]  # what an older version began lacks the way
    try:
        rows, streamed = _rows(corpus, commit)
        if state is not None and streamed == way:
            rows.load_state_dict(state)
        else:
            state, since = None, done
        last = None if corpus.max_documents is None else since + corpus.max_documents - done
        for row in itertools.islice(rows, since, last):
            done, since = done + 1, since + 1
            if since == STATE_EVERY:
                state, since = rows.state_dict(), 0
            document = text_of(row, corpus.text_field, f"{corpus.dataset}: row {done}")
            if document is not None:
                yield Part(document, True, (done, state, since, streamed))
    except BadInput:
        raise
    except Exception as error:
        # As above; a data set's own reader may raise anything besides.
        if done and _names(error) & _LOST:
            what = f"the connection was lost after {done:,} rows: {_first_line(error)}"
            raise RunFailed(f"{corpus.dataset}: {what} (the same command goes on from there)") from error
        raise _unusable(corpus, error) from error


def _rows(corpus: HubCorpus, commit: str) -> tuple[Any, bool]:
    """The split's rows, an IterableDataset, and whether they are streamed.

    Otherwise they are from the copy that `datasets` keeps, which is all there is offline.
    """
    import datasets

    offline = bool(datasets.config.HF_HUB_OFFLINE)
    if not offline:
        _ask(corpus, commit)  # fails at once where `datasets` would try again for half a minute
    builder = datasets.load_dataset_builder(corpus.dataset, corpus.subset, revision=commit)
    if builder.hash != commit:  # without a connection `datasets` takes the newest copy it has, of any commit
        what = f"the copy on this machine is not of commit {commit[:12]}"
        raise BadInput(Problem(what, corpus.dataset, "corpus.revision", "connect once to read it"))
    if corpus.streaming and not offline:
        return builder.as_streaming_dataset(split=corpus.split), True
    builder.download_and_prepare()
    return builder.as_dataset(split=corpus.split).to_iterable_dataset(), False


def _ask(corpus: HubCorpus, revision: str | None) -> str | None:
    """The commit that a revision is, from the hub."""
    from huggingface_hub import HfApi

    return HfApi().dataset_info(corpus.dataset, revision=revision, timeout=TIMEOUT_S).sha


def _unusable(corpus: HubCorpus, error: Exception) -> BadInput:
    return unusable(error, corpus.dataset, corpus.revision, "corpus.dataset", _INSTEAD)


def unusable(error: Exception, where: str, revision: str | None, key: str, hint: str) -> BadInput:
    """One message for all that can go wrong between here and what the hub holds; `hint` is what to do instead.

    Unreachable where there is no connection.
    """
    names = _names(error)
    if names & {"RepositoryNotFoundError", "DatasetNotFoundError"}:
        what = "not found on the hub, or private"
    elif "RevisionNotFoundError" in names:
        what = f"no revision '{revision}' on the hub"
    elif names & _NO_CONNECTION:
        return Unreachable(Problem("the hub cannot be reached: offline", where, key, f"{_OFFLINE}; or {hint}"))
    else:
        what = f"cannot be read: {_first_line(error)}"
    return BadInput(Problem(what, where, key, hint))


def _names(error: Exception) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
