"""The log as a file that is whole at any moment."""

import json
import os
from collections.abc import Callable

import chainer_compat

from chainer import AbstractSerializer
from chainer.training import Trainer, extensions

from support.files import write_file


class LogReport(extensions.LogReport):
    """Chainer's LogReport, but a crash leaves the log of the epoch before, not half a file.

    Args:
        postprocess: called with each entry before it is added, to add to it; None for nothing.
    """

    default_name = "LogReport"

    def __init__(self, postprocess: Callable[[dict[str, float]], None] | None = None) -> None:
        super().__init__(postprocess=postprocess, log_name=None)

    def initialize(self, trainer: Trainer) -> None:
        """Write the log that a snapshot has brought along."""
        if self.log:
            self._write(trainer)

    def serialize(self, serializer: AbstractSerializer) -> None:
        """Save or restore the log.

        Raises:
            ValueError: if what is restored is no log.
        """
        super().serialize(serializer)
        if not isinstance(self.log, list) or not all(map(_is_entry, self.log)):
            raise ValueError("its log is none")

    def __call__(self, trainer: Trainer) -> None:
        """Accumulate the observation; at the end of an epoch, add its means to the log."""
        n_entries = len(self.log)
        super().__call__(trainer)
        if len(self.log) > n_entries:
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        text = json.dumps(self.log, indent=4)
        write_file(os.path.join(trainer.out, "log"), lambda file: file.write(text.encode()))


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and {"epoch", "iteration", "elapsed_time"} <= entry.keys()
        and all(isinstance(value, int | float) for value in entry.values())
    )
