"""When a training ends: after its epochs, or on a signal."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from chainer.training import Trainer

from support import signals
from support.processes import here
from support.signals import SAVING, STOPPING, end_if_asked_again, handle_stopping

_SAVE = 1  # a request to all processes; a stop is 128 + the signal's number


class Stop:
    """Trainer's stop trigger: true after ``n_epochs`` epochs, or once a signal has arrived.

    Chainer's IntervalTrigger would train a resumed finished run for as long again.

    Args:
        n_epochs (int): epochs of the whole training.

    Attributes:
        signal (int or None): number of the signal that stops this process.
    """

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs
        self.signal: int | None = None
        self._save = False

    def __call__(self, trainer: Trainer) -> bool:
        """Whether the trainer should stop before its next update. Save first if that was asked."""
        asked = self._asked()
        if asked == _SAVE:
            self._save = False
            trainer.get_extension("snapshot")(trainer)
        return asked > _SAVE or trainer.updater.epoch >= self.n_epochs

    def _asked(self) -> int:
        return here.highest(128 + self.signal if self.signal else int(self._save))

    def any_signal(self) -> int | None:
        """Number of the signal that stops any of the processes."""
        asked = self._asked()
        return asked - 128 if asked > _SAVE else None

    def get_training_length(self) -> tuple[int, str]:
        """Length of the training and its unit, for progress bars."""
        return self.n_epochs, "epoch"

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within this context signals stop or save the trainer after the current update.

        After one that stops, a second one ends the process at once.
        """
        before = {number: signal.getsignal(number) for number in STOPPING + SAVING}
        handle_stopping(self._stop)
        self.signal = signals.asked_to_stop
        for number in SAVING:
            signal.signal(number, self._request_save)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        end_if_asked_again()

    def _request_save(self, number: int, frame: FrameType | None) -> None:
        self._save = True
