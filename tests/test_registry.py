"""Options are checked as strictly as recipes are; code that is not actbench's has a hash."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from actbench.activations import Activation, clashes, code_hash, create, distribution, option_problems, registry
from actbench.activations.options import check
from actbench.errors import BadInput


class Taker(Activation):
    """Takes one option of each kind."""

    def __init__(
        self,
        whole: Annotated[int, Field(ge=1)] = 3,
        real: float = 0.5,
        yes: bool = False,
        word: Literal["rms", "l2"] = "rms",
        pair: tuple[int, int] = (5, 4),
        many: list[float] | None = None,
        nested: tuple[tuple[float, ...], ...] = (),
        either: Literal["layer", "channel"] | int = "layer",
        free: dict[str, Any] | None = None,
        width: int | None = None,
    ):
        super().__init__()
        self.width = width

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        return x


def said(options: dict[str, Any]) -> list[str]:
    return [f"{key}: {message}" for key, message, _ in check(Taker, options)[1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"whole": "3"}, "whole: input should be a valid integer, not '3'"),
        ({"whole": 3.0}, "whole: input should be a valid integer, not 3.0"),
        ({"whole": True}, "whole: input should be a valid integer, not True"),
        ({"whole": 0}, "whole: input should be greater than or equal to 1, not 0"),
        ({"real": True}, "real: input should be a valid number, not True"),
        ({"real": "0.5"}, "real: input should be a valid number, not '0.5'"),
        ({"yes": 1}, "yes: input should be a valid boolean, not 1"),
        ({"yes": "on"}, "yes: input should be a valid boolean, not 'on'"),
        ({"word": "l1"}, "word: input should be 'rms' or 'l2', not 'l1'"),
        ({"pair": ["5", 4]}, "pair: input should be a valid integer, not '5'"),
        ({"pair": 5}, "pair: input should be a list, not 5"),
        ({"many": [1, "2"]}, "many: input should be a valid number, not '2'"),
        ({"either": "both"}, "either: input should be 'layer' or 'channel', or a valid integer, not 'both'"),
        ({"width": 4}, "width: unknown option"),
        ({"real": torch.ones(())}, "name: options are text, numbers, true, false, lists and mappings"),
    ],
)
def test_options_are_as_strict_as_recipes(options: dict[str, Any], message: str) -> None:
    found = said(options)
    assert len(found) == 1 and found[0].startswith(message)


def test_lists_stand_for_tuples_and_whole_numbers_for_floats() -> None:
    given_ = {"real": 2, "pair": [3, 2], "many": (1, 2.5), "nested": [[1], [2.5]], "either": 4, "free": {"a": 1}}
    checked, flaws = check(Taker, given_)
    assert flaws == []
    assert checked == {
        "real": 2.0, "pair": (3, 2), "many": [1.0, 2.5], "nested": ((1.0,), (2.5,)), "either": 4, "free": {"a": 1},
    }  # fmt: skip
    assert isinstance(checked["real"], float) and isinstance(checked["nested"][0][0], float)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False), max_size=5))
def test_coefficients_arrive_to_the_last_bit(values: list[float]) -> None:
    assert check(Taker, {"many": values})[0]["many"] == values


def test_every_wrong_option_is_told_once() -> None:
    assert [text.split(":")[0] for text in said({"whole": "3", "either": "both", "nope": 1})] == [
        "whole",
        "either",
        "nope",
    ]


def test_a_width_is_told_to_those_who_ask() -> None:
    assert create("gelu", width=6) is not None
    assert create("swish_beta", width=6, sharing="channel").beta.shape == (6,)
    with pytest.raises(BadInput, match="4 groups do not divide a width of 6"):
        create("swish_beta", width=6, sharing=4)


def test_a_class_whose_options_cannot_be_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(
        "from __future__ import annotations\nfrom actbench.activations import Activation\n"
        "class Odd(Activation):\n    def __init__(self, a: Missing = 1): super().__init__()\n"
    )
    [(key, message, _)] = option_problems(f"{file}:Odd", {})
    assert key == "name" and "Odd does not work: NameError" in message


def test_the_code_behind_a_users_file_has_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    code = "from actbench.activations import Activation\nclass Mine(Activation):\n    def compute(self, x): return x\n"
    hashes = []
    for text in (code, code + "# changed\n"):
        file.write_text(text)
        hashes.append(code_hash(f"{file}:Mine"))
        assert hashes[-1] == hashlib.sha256(text.encode()).hexdigest()
    assert hashes[0] != hashes[1]
    assert code_hash("gelu") is None
    monkeypatch.setitem(registry._registered, "taker", Taker)
    assert code_hash("taker") == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    with pytest.raises(BadInput, match="no such file"):
        code_hash(str(tmp_path / "other.py:Mine"))


def test_built_in_activations_come_from_no_other_distribution() -> None:
    assert distribution("gelu") is None and clashes() == {}


def test_checking_options_draws_no_random_number() -> None:
    before = torch.get_rng_state(), random.getstate()
    assert option_problems("poly_norm", json.loads('{"order": 2}')) == []
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
