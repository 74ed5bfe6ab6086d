"""How a command ends that a signal stops before it can end in its own way.

Imported first, and imports nothing slow: what comes after takes most of a second.
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


# Sent by a terminal that closes, by Ctrl-C, by whoever wants the end, and where the time is spent.
STOPPING = _existing("SIGHUP", "SIGINT", "SIGTERM", "SIGXCPU")
# Sent by batch systems some time before the end: what there is had better be saved.
SAVING = _existing("SIGUSR1", "SIGUSR2")  # Windows has neither

_TOGETHER = 0.5  # seconds


def handle_stopping(handler: _Handler) -> None:
    """Call the handler on signals that stop, but for those that were ignored, as by ``nohup``."""
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def end_on_signals() -> None:
    """From now on a signal that stops ends the process at once, with code 128 + its number.

    Those that ask to save are ignored, here and in processes that are started: there is nothing.
    """
    handle_stopping(lambda number, frame: os._exit(128 + number))
    for number in SAVING:
        signal.signal(number, signal.SIG_IGN)


def end_if_asked_again() -> None:
    """Call this when a signal has come: a second SIGINT or SIGTERM then ends the process at once.

    Of several that come together all but the first are ignored. So are SIGHUP and SIGXCPU, which
    shells and systems repeat without anybody's doing.
    """
    asked = time.monotonic()

    def again(number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM) and time.monotonic() - asked > _TOGETHER:
            os._exit(128 + number)

    handle_stopping(again)


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Within this context a signal that stops raises SystemExit, so that all is cleared away."""

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
