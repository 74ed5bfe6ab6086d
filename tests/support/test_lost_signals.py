"""A signal that is not lost, wherever Python is when it arrives."""

import os
import signal
import sys

import pytest

from support import signals
from support.signals import in_order
from training.stop import Stop


class Signalled:
    """A signal arrives while Python runs the finalizer, where an exception is printed and lost."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def lost(monkeypatch):
    """The exceptions that finalizers have raised."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda about: found.append(about.exc_type))
    yield found
    signals.asked_to_stop = None


def test_in_a_finalizer_ends_the_command_all_the_same(lost):
    with pytest.raises(SystemExit) as end, in_order():
        Signalled()
        assert lost == [SystemExit]
    assert end.value.code == 128 + signal.SIGTERM


def test_in_a_finalizer_stops_the_training_that_begins_then(lost):
    stop = Stop(10)
    with pytest.raises(SystemExit), in_order():
        Signalled()
        with stop.on_signals():
            assert stop.any_signal() == signal.SIGTERM
    assert lost == [SystemExit]


def test_of_an_earlier_command_is_forgotten():
    signals.asked_to_stop = signal.SIGTERM
    with in_order():
        assert signals.asked_to_stop is None
