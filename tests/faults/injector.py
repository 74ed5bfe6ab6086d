"""A storage that fails once: the n-th of the calls for files of a folder ends in an error.

Or in the death of the process.

What Python offers of the operating system is replaced, in a forked child; the project knows nothing
of it. EINTR is not among the errors, for Python repeats what a signal has interrupted.
"""

import builtins
import errno
import functools
import io
import os
import signal
import tempfile
from collections.abc import Callable

ERRORS = {
    "list": ["EIO", "ESTALE", "EMFILE", "EACCES"],
    "open": ["EIO", "ESTALE", "EMFILE", "EACCES"],
    "read": ["EIO", "ESTALE"],
    "create": ["EIO", "ENOSPC", "EROFS", "EMFILE"],
    "write": ["EIO", "ENOSPC", "EDQUOT"],
    "sync": ["EIO", "ENOSPC"],
    "rename": ["EIO", "ENOSPC", "EACCES", "ESTALE"],
    "remove": ["EIO", "EACCES", "EBUSY"],
    "make": ["EIO", "ENOSPC", "EACCES"],
}


class Storage:
    """Counts calls, and fails one of them.

    Args:
        fail_at: number of the call that fails, from 1; 0 for none.
        error: the name of its ``errno``, or ``SIGKILL``.

    After the command has ended, :meth:`calls` gives the operations that it asked for.
    """

    def __init__(self, fail_at: int = 0, error: str = "EIO") -> None:
        self._fail_at = fail_at
        self._error = error
        self._calls = tempfile.TemporaryFile()  # noqa: SIM115 - shared with the child

    def calls(self) -> list[tuple[str, str]]:
        """Each operation, a key of ``ERRORS``, and what it was for."""
        self._calls.seek(0)
        words = [line.split("\0") for line in self._calls.read().decode().split("\n")[:-1]]
        return [(operation, path) for operation, path in words]

    def install(self) -> None:
        """Take the place of the operating system for the current folder; called in the child."""
        self._folder = os.getcwd() + os.sep
        tempfile.tempdir = self._folder + "temporary"
        for operation, names in {
            "list": ["listdir", "scandir"],
            "rename": ["replace", "rename", "link"],
            "remove": ["remove", "unlink", "rmdir"],
            "make": ["mkdir"],
            "sync": ["fsync"],
        }.items():
            for name in names:
                setattr(os, name, self._failing(getattr(os, name), operation))
        os.open = self._failing(os.open, lambda path, flags, *_: _operation(flags))
        builtins.open = io.open = self._open

    def _failing(self, function: Callable, operation: str | Callable) -> Callable:
        @functools.wraps(function)
        def call(path=".", *arguments, **options):
            if self._is_ours(path):
                named = operation(path, *arguments) if callable(operation) else operation
                self.strike(named, path)
            return function(path, *arguments, **options)

        return call

    def _is_ours(self, path: object) -> bool:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        return (os.path.abspath(os.fsdecode(path)) + os.sep).startswith(self._folder)

    def strike(
        self, operation: str, path: object, before: Callable[[], object] = lambda: None
    ) -> None:
        """Note a call; if it is to fail, do what comes before that, and raise an OSError."""
        os.write(self._calls.fileno(), f"{operation}\0{path}\n".encode())
        self._fail_at -= 1
        if self._fail_at == 0:
            before()
            if self._error == "SIGKILL":
                os.kill(os.getpid(), signal.SIGKILL)
            number = getattr(errno, self._error)
            raise OSError(
                number,
                os.strerror(number),
                *([path] if operation not in ("read", "write", "sync") else []),
            )

    def _open(
        self, file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *rest, **more
    ):
        if not self._is_ours(file):
            return _original_open(file, mode, buffering, encoding, errors, newline, *rest, **more)
        writes = not mode.startswith("r")
        self.strike("create" if writes else "open", file)
        raw = _File(self, file, mode.replace("b", "").replace("t", ""), *rest, **more)
        if not buffering:
            return raw
        kind = io.BufferedReader
        if "+" in mode or writes:
            kind = io.BufferedRandom if "+" in mode else io.BufferedWriter
        return kind(raw) if "b" in mode else io.TextIOWrapper(kind(raw), encoding, errors, newline)


_original_open = open


def _operation(flags: int) -> str:
    return "create" if flags & os.O_CREAT else "open"


class _File(io.FileIO):
    def __init__(self, storage, *arguments, **options):
        super().__init__(*arguments, **options)
        self.storage = storage

    def readinto(self, buffer):
        self.storage.strike("read", self.name)
        return super().readinto(buffer)

    def readall(self):
        self.storage.strike("read", self.name)
        return super().readall()

    def read(self, size=-1):
        self.storage.strike("read", self.name)
        return super().read(size)

    def write(self, data):
        half = bytes(data)[: len(data) // 2]
        self.storage.strike("write", self.name, before=lambda: super(_File, self).write(half))
        return super().write(data)
