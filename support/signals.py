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


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Within this context a signal that stops raises SystemExit, so that clean-up code runs."""

    def leave(number: int, frame: FrameType | None) -> None:
        end_if_asked_again()
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in STOPPING}
    handle_stopping(leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
