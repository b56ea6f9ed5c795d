"""A published model's files: in a folder, or of the Hugging Face hub, fixed to the commit that its revision names.

Taken are config.json, the weights (model.safetensors, or else pytorch_model.bin, of which nothing but tensors is
loaded), the tokenizer, and README.md, whose first lines may name a licence.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actbench.data.hub import TIMEOUT_S, unusable
from actbench.data.tokenizer import MERGES
from actbench.errors import BadInput, Problem
from actbench.store.atomic import sha256

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json")  # the first; beside vocab.json its merges
OTHERS = ("config.json", "tokenizer_config.json", "README.md")
HINT = "give the hub's ID, as in bert-base-uncased or ORG/NAME, or a folder"

_ID = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license:[ \t]*(\S+)[ \t]*\n(?:.*\n)*?---")


@dataclass(frozen=True)
class Checkpoint:
    """`reference` leads to it again: the folder as it was given, or ID@COMMIT; `commit` is None of a folder."""

    reference: str
    folder: Path
    commit: str | None

    @property
    def name(self) -> str:
        """The last word of its name, as a recipe may be called."""
        last = Path(self.reference.partition("@")[0] if self.commit else self.folder.resolve()).name
        return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("._-")[:60] or "model"

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json. Raises BadInput when it is missing or damaged."""
        return _object(self.folder / "config.json")

    @property
    def weights(self) -> Path:
        """The file with the weights. Raises BadInput when there is none."""
        return self._first(WEIGHTS, "no weights")

    @property
    def tokenizer(self) -> Path:
        """tokenizer.json, vocab.txt or vocab.json. Raises BadInput when there is none."""
        return self._first(TOKENIZERS, "no tokenizer")

    @property
    def lowercase(self) -> bool:
        """Whether a vocab.txt is of lower-cased words, which it does not say itself."""
        return bool(self._tokenizer_config.get("do_lower_case", True))

    @property
    def prefix_space(self) -> bool:
        """Whether a text begins as if after a space, which a vocab.json does not say itself."""
        return bool(self._tokenizer_config.get("add_prefix_space", False))

    @property
    def _tokenizer_config(self) -> dict[str, Any]:
        path = self.folder / "tokenizer_config.json"
        return _object(path) if path.is_file() else {}

    @property
    def licence(self) -> str | None:
        """What README.md says at its head."""
        path = self.folder / "README.md"
        found = _LICENCE.match(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
        return found[1].strip("'\"") if found else None

    def facts(self) -> dict[str, Any]:
        """JSON data: where it is from, its licence, and the sha256 of every file that is used."""
        used = [self.folder / "config.json", self.weights, self.tokenizer, self.folder / "tokenizer_config.json"]
        if self.tokenizer.name == "vocab.json":
            used += [self.folder / name for name in MERGES]
        hashes = {path.name: sha256(path) for path in used if path.is_file()}
        return {"from": f"hf:{self.reference}", "commit": self.commit, "licence": self.licence, "sha256": hashes}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the weights by its name. Raises BadInput when the file does not load."""
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.weights
        try:
            if path.suffix == ".safetensors":
                return dict(load_file(path))
            found = torch.load(path, map_location="cpu", weights_only=True)
        except (SafetensorError, OSError) as error:
            raise BadInput(Problem(f"the weights do not load: {error}", where=str(path))) from None
        except Exception as error:  # torch's and pickle's, of a damaged file and of one with code in it
            first = str(error).strip().partition("\n")[0]
            raise BadInput(Problem(f"the weights do not load as tensors alone: {first[:200]}", str(path))) from None
        if not isinstance(found, dict) or not all(isinstance(one, torch.Tensor) for one in found.values()):
            raise BadInput(Problem("holds something other than named tensors", where=str(path)))
        return found

    def _first(self, names: tuple[str, ...], message: str) -> Path:
        for name in names:
            if (self.folder / name).is_file():
                return self.folder / name
        raise BadInput(Problem(message, where=self.reference, hint=f"looked for {', '.join(names)}"))


def open_checkpoint(reference: str) -> Checkpoint:
    """The checkpoint in a folder, or the hub's ID or ID@REVISION; its files are downloaded once.

    Raises BadInput when it cannot be found, or the hub not be reached and no copy of an earlier time is there.
    """
    folder = Path(reference).expanduser()
    if folder.is_dir():
        return Checkpoint(reference, folder, None)
    match = _ID.fullmatch(reference)
    if match is None or reference.startswith("."):
        raise BadInput(Problem("no such folder", where=reference, hint=HINT))
    try:
        return _from_hub(match["name"], match["revision"])
    except BadInput:
        raise
    except Exception as error:  # the client raises its own errors, its HTTP library's and the system's, by version
        raise unusable(error, reference, match["revision"], "", HINT) from error


def _from_hub(name: str, revision: str | None) -> Checkpoint:
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.constants import HF_HUB_OFFLINE as OFFLINE
    from huggingface_hub.errors import EntryNotFoundError

    if not OFFLINE:
        HfApi().model_info(
            name, revision=revision, timeout=TIMEOUT_S
        )  # fails at once; a download tries again and again
    small = [*OTHERS, *TOKENIZERS, *MERGES]
    folder = Path(snapshot_download(name, revision=revision, allow_patterns=small, local_files_only=OFFLINE))
    for file in WEIGHTS:
        with contextlib.suppress(EntryNotFoundError):
            hf_hub_download(name, file, revision=folder.name, local_files_only=OFFLINE)
            break
    return Checkpoint(f"{name}@{folder.name}", folder, folder.name)


def _object(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(Problem("no such file", where=str(path), hint="a checkpoint has a config.json")) from None
    except (OSError, ValueError) as error:
        raise BadInput(Problem(f"not JSON: {error}", where=str(path))) from None
    if not isinstance(data, dict):
        raise BadInput(Problem("not a JSON object", where=str(path)))
    return data
