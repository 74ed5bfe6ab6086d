"""The log as a file that is complete at any moment, at a cost that does not grow with it."""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable
from types import TracebackType

import numpy as np
from chainer import AbstractSerializer, Serializer
from chainer.training import Trainer, extensions

from extensions.packed_log import BLOCK, Entry, pack, unpack
from support.files import write_file

_TIMES_BETWEEN = 100  # pause between two writes, in durations of a write
_LARGEST_LOSS = math.log(1e300)


class LogReport(extensions.LogReport):
    """Chainer's LogReport, for a log of any length and a file that is never half written.

    Chainer's encodes and writes the whole log after each epoch, and again for each snapshot. Here
    each entry is encoded once. The file is one JSON document; growing in place would leave it
    invalid for a moment. So it is replaced as a whole, and only so often that this takes a
    hundredth of the time. It may lack the last epochs if these are very short. Snapshots hold them
    all, and so does the file once the training ends.

    Args:
        postprocess: called with each entry before it is added, to extend it; None for nothing.
    """

    default_name = "LogReport"

    def __init__(self, postprocess: Callable[[Entry], None] | None = None) -> None:
        super().__init__(postprocess=self._complete, log_name=None)
        self._more = postprocess
        self._path = ""
        self._write_at = 0.0  # the earliest, by the monotonic clock
        self._failed = False
        self._begin([])

    def _complete(self, entry: Entry) -> None:
        # Further digits are noise, and would take half of a snapshot's room for the log.
        entry["elapsed_time"] = round(entry["elapsed_time"], 6)
        if self._more is not None:
            self._more(entry)

    def _begin(self, log: list[Entry]) -> None:
        self._log = log
        self._text = bytearray()  # of the entries, as the file has them
        self._n_encoded = 0  # entries in it
        self._n_written = 0  # entries in the file
        self._packed = bytearray()  # full blocks, for snapshots
        self._n_packed = 0  # entries in them

    def initialize(self, trainer: Trainer) -> None:
        """Write the log that a snapshot has restored."""
        self._path = os.path.join(trainer.out, "log")
        self._write()

    def __call__(self, trainer: Trainer) -> None:
        """Accumulate the observation; at the end of an epoch, add its means to the log."""
        super().__call__(trainer)
        if time.monotonic() >= self._write_at:
            self._write()

    def on_error(
        self, trainer: Trainer, exception: Exception, traceback: TracebackType | None
    ) -> None:
        """Note that the training has failed, so the user is told only that."""
        self._failed = True

    def finalize(self) -> None:
        """Write what the file still lacks, even if the training was cut short."""
        with contextlib.suppress(OSError) if self._failed else contextlib.nullcontext():
            self._write()

    def _write(self) -> None:
        if self._n_written == len(self.log):
            return
        started = time.monotonic()
        for entry in self.log[self._n_encoded :]:
            lines = json.dumps(entry, indent=4).replace("\n", "\n    ")
            self._text += f"{',' if self._text else ''}\n    {lines}".encode()
        self._n_encoded = len(self.log)
        write_file(self._path, lambda file: file.write(b"[" + self._text + b"\n]"))
        self._n_written = len(self.log)
        now = time.monotonic()
        self._write_at = now + _TIMES_BETWEEN * (now - started)

    def serialize(self, serializer: AbstractSerializer) -> None:
        """Save or restore the log.

        Raises:
            ValueError: if what is restored is not a log.
        """
        self._trigger.serialize(serializer["_trigger"])
        self._summary.serialize(serializer["_summary"])
        if isinstance(serializer, Serializer):
            serializer("_log", np.frombuffer(self._pack(), np.uint8))
            return
        stored = np.asarray(serializer("_log", None))
        # Version 1.0 kept it as JSON.
        log = json.loads(str(stored)) if stored.dtype.kind == "U" else unpack(stored.tobytes())
        if not isinstance(log, list) or not all(map(_is_entry, log)):
            raise ValueError("its log is not valid")
        self._begin(log)

    def _pack(self) -> bytes:
        end = len(self.log) // BLOCK * BLOCK
        self._packed += pack(self.log[self._n_packed : end])
        self._n_packed = end
        return bytes(self._packed) + pack(self.log[end:])


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and {"epoch", "iteration", "elapsed_time"} <= entry.keys()
        and all(isinstance(value, int | float) for value in entry.values())
        and all(abs(value) < 2**63 for value in entry.values() if isinstance(value, int))
    )


def add_perplexity(entry: dict[str, float]) -> None:
    """Add ``perplexity`` and ``val_perplexity`` to an entry of the log.

    Perplexity is the exponential of the mean loss in nats a token: the number of tokens among which
    the network is undecided, on average. It is left out if it overflows. The names are those of
    Chainer's PTB example.
    """
    for name, loss in (("perplexity", "main/loss"), ("val_perplexity", "validation/main/loss")):
        if entry.get(loss, math.inf) < _LARGEST_LOSS:
            entry[name] = math.exp(entry[loss])
