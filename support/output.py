"""Standard output and standard error that never fail, even when nothing can be written.

What a network writes, and what a file is called, comes from outside. A terminal obeys the control
characters in it, and some of these set the clipboard, so a terminal gets them escaped.
"""

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

_CONTROLS = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f]")  # C0, DEL and C1, but no tab or line end


class Output(io.FileIO):
    """An open descriptor; what cannot be written to it is lost.

    Attributes:
        failure (OSError or None): the first error.
    """

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write some of the data, or lose all of it; return how many bytes are dealt with."""
        try:
            written = super().write(data)
            if written is None:  # nobody reads, and the descriptor does not block
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        except OSError as error:
            self.failure = self.failure or error
            return len(data)
        return written


class _Terminal(io.TextIOWrapper):
    """Text for a terminal, with control characters escaped as Python writes them."""

    write_codes = io.TextIOWrapper.write

    def write(self, text: str) -> int:
        return self.write_codes(_CONTROLS.sub(lambda code: ascii(code[0])[1:-1], text))


def write_codes(text: str) -> None:
    """Write to standard output at once, with the control characters: they are our own."""
    getattr(sys.stdout, "write_codes", sys.stdout.write)(text)
    sys.stdout.flush()


@contextlib.contextmanager
def tolerant_output() -> Iterator[Output | None]:
    """Within this context printing never raises an error, not even when Python exits.

    Yields:
        Output or None: where standard output goes; None if that is not a file, as in a notebook.
    """
    before = sys.stdout, sys.stderr
    stdout, _ = [_replace(name) for name in ("stdout", "stderr")]
    try:
        yield stdout
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def is_lost() -> bool:
    """Whether earlier output could not be written, so printing more is pointless."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, Output) and raw.failure is not None


def _replace(name: str) -> Output | None:
    stream = getattr(sys, name)
    if stream is None:  # the command was started with it closed
        setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - as long as we run
        return None
    try:
        output = Output(stream.fileno(), "w", closefd=False)
    except (AttributeError, OSError):
        return None
    text = (_Terminal if stream.isatty() else io.TextIOWrapper)(
        io.BufferedWriter(output),
        encoding=stream.encoding,
        errors="backslashreplace",  # file names can hold any bytes
        line_buffering=stream.line_buffering or stream.write_through,
    )
    setattr(sys, name, text)
    return output
