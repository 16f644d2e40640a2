"""Ctrl-C as a wish."""

from __future__ import annotations

import os
import signal

import pytest

from narrowcast.cli import interruption, signals


@pytest.fixture
def caught():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("caught")
def test_the_first_is_noticed_and_the_next_ends_the_process():
    signal.signal(signal.SIGINT, signals.end)
    with interruption.noticed() as pressed:
        assert not pressed()
        os.kill(os.getpid(), signal.SIGINT)
        assert pressed()
        assert signal.getsignal(signal.SIGINT) is signals.end
    assert signal.getsignal(signal.SIGINT) is signals.end


@pytest.mark.usefixtures("caught")
def test_signals_that_are_ignored_stay_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruption.noticed() as pressed:
        os.kill(os.getpid(), signal.SIGINT)
        assert not pressed()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
