"""When a training ends: after its epochs, or when it is asked to."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import chainer_compat

from chainer.training import Trainer

from training.processes import here


class Stop:
    """Trainer's stop trigger: true after ``n_epochs`` sweeps, or once a signal has arrived.

    Chainer's IntervalTrigger would train a finished run that is resumed for as long again.

    Args:
        n_epochs (int): sweeps over the training data.

    Attributes:
        signal (int or None): number of the signal that arrived at this process.
    """

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs
        self.signal: int | None = None

    def __call__(self, trainer: Trainer) -> bool:
        """Whether the trainer is to stop before its next update."""
        return self.any_signal() is not None or trainer.updater.epoch >= self.n_epochs

    def any_signal(self) -> int | None:
        """Number of the signal that has arrived, at any of the processes."""
        return here.highest(self.signal or 0) or None

    def get_training_length(self) -> tuple[int, str]:
        """For progress bars: how long the training is, and in which unit."""
        return self.n_epochs, "epoch"

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within this context SIGINT and SIGTERM stop the trainer after the update it is at.

        A second signal ends the process at once.
        """
        numbers = signal.SIGINT, signal.SIGTERM
        before = [signal.signal(number, self._arrived) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
