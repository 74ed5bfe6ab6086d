"""Ids that stay in their file, however many there are, as long as nobody changes it."""

import contextlib
import faulthandler
import io
import os
import weakref
from typing import Any

import numpy as np

from support.command_line import CommandError


class FileChanged(CommandError):
    """A file of data is no longer what it was."""


class MappedIds(np.memmap):
    """Ids that stay in their file; reading them fails once somebody has changed it.

    If a file becomes shorter than its map, reading on ends the process with SIGBUS, and new ids may
    not be in the vocabulary. So each read checks the file first, which takes some microseconds.
    """

    _watch: "Watch"

    def __array_finalize__(self, array: Any) -> None:
        super().__array_finalize__(array)
        self._watch = getattr(array, "_watch", None)  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> Any:
        """A slice is a part of the map; any other index reads from it now.

        Raises:
            FileChanged: if the file is not what it was when it was opened.
        """
        if isinstance(index, slice):
            return super().__getitem__(index)
        self._watch.check()
        return self.view(np.ndarray)[index]


def map_ids(
    file: io.BufferedReader, watch: "Watch", dtype: np.dtype, offset: int, length: int
) -> MappedIds:
    """Map ``length`` ids of an open file, from ``offset`` bytes on.

    Args:
        watch: of the file, made before the file was checked.
    """
    faulthandler.enable(2)  # a failing disk ends in SIGBUS too: not without a message
    mapped = MappedIds(file, dtype, "r", offset, (length,))
    mapped._watch = watch
    return mapped


class Watch:
    """Sees when an open file is changed. Renaming or removing it is no change."""

    def __init__(self, file: io.BufferedReader, path: str) -> None:
        self.path = path
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._before = self._state()

    def check(self) -> None:
        """Raise FileChanged if it has changed, or can no longer be checked."""
        with contextlib.suppress(OSError):
            if self._state() == self._before:
                return
        raise FileChanged(f"{self.path} is no longer what it was when it was opened")

    def _state(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns
