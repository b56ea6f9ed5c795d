"""A signal ends what can be interrupted, whatever catches exceptions within."""

from __future__ import annotations

import contextlib
import signal

import pytest

from actbench.errors import Interrupted
from actbench.training.signals import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_goes_past_those_who_catch_every_error(number: signal.Signals) -> None:
    """As those do who read from a hub, and tell of any error as one of the connection."""
    former, after = signal.getsignal(number), []
    with pytest.raises(Interrupted, match="stopped here") as caught, interruptible("stopped here"):
        with contextlib.suppress(Exception):
            signal.raise_signal(number)
        after.append("went on")
    assert caught.value.exit_code == 128 + number and not after
    assert signal.getsignal(number) is former


def test_a_signal_that_is_ignored_stays_so() -> None:
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible("stopped"):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)
