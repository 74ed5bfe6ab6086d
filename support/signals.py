"""How a command ends when a signal stops it early.

This is imported first and imports nothing slow: the other imports take most of a second.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

_Handler = Callable[[int, FrameType | None], object]


def _existing(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


# Sent by a closing terminal, by Ctrl-C, by kill, and at the end of the allowed CPU time.
STOPPING = _existing("SIGHUP", "SIGINT", "SIGTERM", "SIGXCPU")
# Sent by batch systems some time before the end, to ask for a save.
SAVING = _existing("SIGUSR1", "SIGUSR2")  # Windows has neither

_TOGETHER = 0.5  # seconds

# The first signal that asked to stop. An exception alone would be lost in a finalizer, where Python
# prints it and goes on.
asked_to_stop: int | None = None


def handle_stopping(handler: _Handler) -> None:
    """Call the handler on signals that stop, except those ignored already, as under ``nohup``."""
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def end_on_signals() -> None:
    """From now on a signal that stops ends the process at once, with code 128 + its number.

    Signals that ask to save are ignored, here and in child processes: there is nothing to save.
    """
    handle_stopping(lambda number, frame: os._exit(128 + number))
    for number in SAVING:
        signal.signal(number, signal.SIG_IGN)


def end_if_asked_again() -> None:
    """Call this after a first signal: a second SIGINT or SIGTERM then ends the process at once.

    Signals within half a second of the first are ignored. So are SIGHUP and SIGXCPU, which shells
    and systems repeat on their own.
    """
    asked = time.monotonic()

    def again(number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM) and time.monotonic() - asked > _TOGETHER:
            os._exit(128 + number)

    handle_stopping(again)


def leave_if_asked() -> None:
    """Raise SystemExit if a signal within :func:`in_order` has asked for it."""
    if asked_to_stop is not None:
        sys.exit(128 + asked_to_stop)


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Within this context a signal that stops raises SystemExit, so that clean-up code runs.

    If that was lost, :func:`leave_if_asked` raises it again, at the latest when the context ends.
    """
    global asked_to_stop
    asked_to_stop = None

    def leave(number: int, frame: FrameType | None) -> None:
        global asked_to_stop
        asked_to_stop = number
        end_if_asked_again()
        leave_if_asked()

    before = {number: signal.getsignal(number) for number in STOPPING}
    handle_stopping(leave)
    try:
        yield
        leave_if_asked()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
