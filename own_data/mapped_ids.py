"""Ids that stay in their file, however many there are, for as long as nobody changes it."""

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
    """Ids that stay in their file, and are no longer given once somebody has changed it.

    Where a file has become shorter than its map, the system ends whoever reads on with SIGBUS, and
    new ids may be none of the vocabulary. So the file is looked at before each read, which takes
    some millionths of a second.

    Attributes:
        n_vocab (int or None): set for ids that nobody has looked at: none given is as large.
    """

    n_vocab: int | None
    _watch: "Watch"

    def __array_finalize__(self, array: Any) -> None:
        super().__array_finalize__(array)
        self._watch = getattr(array, "_watch", None)  # type: ignore[assignment]
        self.n_vocab = getattr(array, "n_vocab", None)

    def __getitem__(self, index: Any) -> Any:
        """A slice is a part of the map; anything else is read from it now.

        Raises:
            FileChanged: if the file is not what it was when it was opened, or is damaged.
        """
        if isinstance(index, slice):
            return super().__getitem__(index)
        self._watch.check()
        ids = self.view(np.ndarray)[index]
        if self.n_vocab is not None and np.max(ids, initial=0) >= self.n_vocab:
            raise FileChanged(f"{self._watch.path} is damaged and has to be deleted")
        return ids


def map_ids(
    file: io.BufferedReader, watch: "Watch", dtype: np.dtype, offset: int, length: int
) -> MappedIds:
    """Map so many ids of an open file, from ``offset`` bytes on.

    Args:
        watch: on the file, since before it was looked at.
    """
    faulthandler.enable(2)  # a disk that fails ends in SIGBUS, too: not without a word
    mapped = MappedIds(file, dtype, "r", offset, (length,))
    mapped._watch = watch
    return mapped


class Watch:
    """Sees when an open file is changed. One that is renamed or removed stays as it is."""

    def __init__(self, file: io.BufferedReader, path: str) -> None:
        self.path = path
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._before = self._state()

    def check(self) -> None:
        """Raise FileChanged if it has, or cannot be asked any more."""
        with contextlib.suppress(OSError):
            if self._state() == self._before:
                return
        raise FileChanged(f"{self.path} is no longer what it was when it was opened")

    def _state(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns
