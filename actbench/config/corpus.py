"""What a recipe may say of its text: built in, in files, on the hub, several of them, or unknown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from actbench.config.section import Positive, PositiveFloat, Section


class BuiltinCorpus(Section):
    """English prose read at run time from Python's own documentation and the dependencies' docstrings."""

    source: Literal["builtin"]


class FilesCorpus(Section):
    """Text: .txt, .txt.gz or .tokens (one document a file), .jsonl (one a line; also packed), .parquet (one a row)."""

    source: Literal["files"]
    files: Annotated[list[str], Field(min_length=1)]  # paths or globs, relative to the working folder
    text_field: str = "text"
    max_tokens: Positive | None = None  # training tokens, with whose last document reading ends


class HubCorpus(Section):
    """A data set of the Hugging Face hub, read with `datasets.load_dataset`."""

    source: Literal["hub"]
    dataset: str
    subset: str | None = None
    split: str = "train"
    revision: str | None = None
    text_field: str = "text"
    streaming: bool = True
    max_documents: Positive | None = None
    max_tokens: Positive | None = None  # training tokens, with whose last document reading ends


PlainCorpus = Annotated[BuiltinCorpus | FilesCorpus | HubCorpus, Field(discriminator="source")]


class BuiltinPart(BuiltinCorpus):
    """The built-in corpus as a part of a mixture."""

    weight: PositiveFloat


class FilesPart(FilesCorpus):
    """Text files as a part of a mixture."""

    weight: PositiveFloat


class HubPart(HubCorpus):
    """A data set of the hub as a part of a mixture."""

    weight: PositiveFloat


MixturePart = Annotated[BuiltinPart | FilesPart | HubPart, Field(discriminator="source")]


class MixtureCorpus(Section):
    """Several corpora. Of all training tokens, each has the share that its weight has of all weights."""

    source: Literal["mixture"]
    parts: Annotated[list[MixturePart], Field(min_length=2)]


class CheckpointCorpus(Section):
    """Of a model that came ready (docs/known-models.md): its text is not known here, and it is not trained."""

    source: Literal["checkpoint"]
    checkpoint: str  # a folder, ID or ID@COMMIT of the Hugging Face hub


Corpus = Annotated[
    BuiltinCorpus | FilesCorpus | HubCorpus | MixtureCorpus | CheckpointCorpus, Field(discriminator="source")
]
