"""What a training shows while it runs: a table, and on a terminal a progress bar below it."""

import datetime
import sys
import time
from collections.abc import Sequence

import chainer_compat

from chainer.training import Extension, Trainer, extensions

from support.command_line import ERASE, progress_bar

_SECONDS_BETWEEN = 0.1
_LONGEST = 1e13  # seconds, somewhat less than timedelta can hold


class _WithoutControlCharacters:
    """Standard output for a file or a pipe: Chainer's erasing of the bar is not for them."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text.replace(ERASE, ""))

    def flush(self) -> None:
        sys.stdout.flush()


def print_report(entries: Sequence[str]) -> extensions.PrintReport:
    """Chainer's PrintReport on standard output, free of control characters if that is a file."""
    out = sys.stdout if sys.stdout.isatty() else _WithoutControlCharacters()
    return extensions.PrintReport(entries, out=out)


class ProgressBar(Extension):
    """One line with epoch, iteration, tokens a second and the time left, for terminals.

    Chainer's bar takes four lines and knows no tokens.
    """

    priority = -300

    def __init__(self) -> None:
        self._started = 0.0, 0.0  # time and epoch, once a run has begun
        self._shown_at = 0.0

    @staticmethod
    def trigger(trainer: Trainer) -> bool:  # type: ignore[override]
        """Every iteration. A trigger of Chainer's would leave its mark in snapshots."""
        return True

    def initialize(self, trainer: Trainer) -> None:
        """Remember where this run of the command began."""
        self._started = time.monotonic(), trainer.updater.epoch_detail

    def __call__(self, trainer: Trainer) -> None:
        """Draw the bar, if it was not drawn a moment ago."""
        now = time.monotonic()
        if now - self._shown_at < _SECONDS_BETWEEN:
            return
        self._shown_at = now
        started_at, started_epoch = self._started
        epoch = trainer.updater.epoch_detail
        n_epochs, _ = trainer.stop_trigger.get_training_length()
        # At a high epoch an update of few tokens is too small a step for a float.
        epochs_per_second = max(epoch - started_epoch, 1e-12) / (now - started_at)
        tokens = epochs_per_second * len(trainer.updater.get_iterator("main").dataset)
        seconds = max(n_epochs - epoch, 0) / epochs_per_second
        left = datetime.timedelta(seconds=round(min(seconds, _LONGEST)))
        text = (
            f"epoch {epoch:.2f}/{n_epochs}, iteration {trainer.updater.iteration}, "
            f"{tokens:,.0f} tokens/s, {left} left"
        )
        sys.stdout.write(progress_bar(epoch / n_epochs, text))
        sys.stdout.flush()

    def finalize(self) -> None:
        """Take the bar away."""
        sys.stdout.write(ERASE)
        sys.stdout.flush()
