"""What a training shows while it runs: a table, and on a terminal a progress bar below it."""

import datetime
import shutil
import sys
import time
from collections.abc import Mapping, Sequence

from chainer.training import Extension, Trainer, extensions

from support.command_line import ERASE, progress_bar
from support.output import write_codes

_SECONDS_BETWEEN = 0.1
_LONGEST = 1e13  # seconds, somewhat less than timedelta can hold
_HEADINGS = {
    "main/loss": "loss",
    "validation/main/loss": "val loss",
    "main/accuracy": "acc",
    "validation/main/accuracy": "val acc",
    "perplexity": "ppl",
    "val_perplexity": "val ppl",
    "boundary_accuracy": "bound",
    "free_run": "free",
    "elapsed_time": "time",
}
_LEAST, _MOST = 6, 10  # characters of a number: 1.2e-5 has as many as 0.0012, and 0.00123457 has 10


class _Table:
    """Standard output; for a file or a pipe without the codes with which Chainer erases its bar."""

    def write(self, text: str) -> None:
        if sys.stdout.isatty():
            write_codes(text)
        else:
            sys.stdout.write(text.replace(ERASE, ""))

    def flush(self) -> None:
        sys.stdout.flush()


def print_report(entries: Sequence[str]) -> extensions.PrintReport:
    """Chainer's PrintReport on standard output, without control characters if that is not a
    terminal, and with a table that fits if the terminal is too narrow."""
    report = extensions.PrintReport(entries, out=_Table())
    columns = shutil.get_terminal_size().columns
    # Each row ends with the two spaces that separate columns.
    width = sum(max(10, len(entry)) + 2 for entry in entries)
    if width <= columns or not sys.stdout.isatty():
        return report
    return NarrowReport(entries, columns)


class NarrowReport(extensions.PrintReport):
    """A PrintReport with short headings, and as many digits as fit.

    Args:
        entries (list of str): names of values in the log.
        columns (int): width of the terminal in characters.
    """

    def __init__(self, entries: Sequence[str], columns: int) -> None:
        super().__init__(entries, out=_Table())
        headings = [_HEADINGS.get(entry, entry) for entry in entries]
        least = [max(len(heading), _LEAST) for heading in headings]
        # A line that fills the last column wraps on some terminals.
        more = max(columns - 1 - sum(least) - (len(least) - 1), 0) // len(least)
        self._widths = [width + min(more, _MOST - _LEAST) for width in least]
        self._header = self._row(headings)

    def _row(self, cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        return " ".join(padded).rstrip() + "\n"

    def _print(self, observation: Mapping[str, float]) -> None:
        cells = [
            _fitting(observation[entry], width) if entry in observation else ""
            for entry, width in zip(self._entries, self._widths, strict=True)
        ]
        self._out.write(self._row(cells))
        self._out.flush()


def _fitting(value: float, width: int) -> str:
    """The number with at most six digits, as in Chainer's report, or as many as fit."""
    texts = [f"{value:.{digits}g}" for digits in range(6, 0, -1)]
    return next((text for text in texts if len(text) <= width), texts[-1])


class ProgressBar(Extension):
    """One line with epoch, iteration, tokens a second and the time left, for terminals.

    Chainer's bar takes four lines and shows no tokens.
    """

    priority = -300

    def __init__(self) -> None:
        self._started = 0.0, 0.0  # time and epoch, once a run has begun
        self._shown_at = 0.0

    @staticmethod
    def trigger(trainer: Trainer) -> bool:  # type: ignore[override]
        """Every iteration. Chainer's triggers would add their state to snapshots."""
        return True

    def initialize(self, trainer: Trainer) -> None:
        """Remember where this run of the command began."""
        self._started = time.monotonic(), trainer.updater.epoch_detail

    def __call__(self, trainer: Trainer) -> None:
        """Draw the bar, unless it was drawn a moment ago."""
        now = time.monotonic()
        if now - self._shown_at < _SECONDS_BETWEEN:
            return
        self._shown_at = now
        started_at, started_epoch = self._started
        epoch = trainer.updater.epoch_detail
        n_epochs, _ = trainer.stop_trigger.get_training_length()
        # At a high epoch a short update may not change the float at all.
        epochs_per_second = max(epoch - started_epoch, 1e-12) / (now - started_at)
        tokens = epochs_per_second * len(trainer.updater.get_iterator("main").dataset)
        seconds = max(n_epochs - epoch, 0) / epochs_per_second
        left = datetime.timedelta(seconds=round(min(seconds, _LONGEST)))
        text = (
            f"epoch {epoch:.2f}/{n_epochs}, iteration {trainer.updater.iteration}, "
            f"{tokens:,.0f} tokens/s, {left} left"
        )
        write_codes(progress_bar(epoch / n_epochs, text))

    def finalize(self) -> None:
        """Remove the bar."""
        write_codes(ERASE)
