"""Reads one long sequence at many places in parallel, a step or a window at a time."""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import chainer_compat
import numpy as np
from chainer.dataset import Iterator
from chainer.serializer import AbstractSerializer
from numpy.typing import NDArray


class ParallelSequentialIterator(Iterator):
    """Current and next token of ``batch_size`` streams over one sequence.

    Stream ``b`` starts at token ``b * len(dataset) // batch_size`` and moves on one token a step,
    wrapping round the end, so a network that carries its state from step to step sees every
    stream in order. The method is that of Chainer's PTB example. ``next()`` reads one step,
    :meth:`next_window` many at once. The two mix freely, because the whole state is one number,
    :attr:`iteration`.

    >>> iterator = ParallelSequentialIterator(np.array([5, 6, 7, 8], np.int32), batch_size=2)
    >>> iterator.next()
    [(np.int32(5), np.int32(6)), (np.int32(7), np.int32(8))]

    Args:
        dataset: one-dimensional sequence of integers, not empty: array, ``numpy.memmap`` or list.
            Arrays are read in place, never copied whole.
        batch_size (int): number of streams, at least 1.
        repeat (bool): if false, iteration stops once every token has been visited.
        streams (range or None): numbers of the streams to read, where several processes share
            them; None for all. Steps and sweeps are counted as if all were read.

    Attributes:
        iteration (int): steps read so far. This is not a count of parameter updates.

    Raises:
        ValueError: if ``dataset``, ``batch_size`` or ``streams`` is not as described.
    """

    def __init__(
        self,
        dataset: NDArray[np.integer] | Sequence[int],
        batch_size: int,
        repeat: bool = True,
        streams: range | None = None,
    ) -> None:
        tokens = np.asanyarray(dataset)  # keep subclasses: MappedIds checks its file
        if tokens.size == 0:
            raise ValueError("dataset must hold at least one token, but is empty")
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
            raise ValueError(
                "dataset must be a one-dimensional sequence of integers, "
                f"not of shape {tokens.shape} and type {tokens.dtype}"
            )
        batch_size = _count("batch_size", batch_size)
        self.dataset = dataset
        self.batch_size = batch_size
        self.repeat = repeat
        streams = range(batch_size) if streams is None else streams
        if not streams or not 0 <= streams[0] <= streams[-1] < batch_size:
            raise ValueError(f"streams must be some of the {batch_size}, not {streams}")
        self.offsets = [b * len(tokens) // batch_size for b in streams]
        self._tokens = tokens
        self.reset()

    def reset(self) -> None:
        """Go back to the first step of the first sweep."""
        self.iteration = 0

    def __next__(self) -> list[tuple[np.integer, np.integer]]:
        """The next step: a list of one pair (current token, next token) for each stream."""
        current, following = self._read(1)
        return list(zip(current, following, strict=True))

    def next_window(self, length: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The next ``length`` steps at once, equal to ``length`` calls of ``next()``.

        Args:
            length (int): number of steps, at least 1.

        Returns:
            tuple of numpy.ndarray: current tokens ``x`` and next tokens ``t``, both int32 of shape
            ``(length, batch_size)``; ``x[s, b]`` is stream ``b``, or the b-th of ``streams``, at
            step ``s``. Without ``repeat`` the last window holds only the steps that are left.
            Both are views of one array.

        Raises:
            StopIteration: without ``repeat``, when no step is left.
            ValueError: if ``length`` is not a positive integer or a token does not fit into int32.
        """
        tokens = self._read(_count("length of a window", length))
        window = tokens.astype(np.int32, copy=False)
        if window is not tokens and not np.array_equal(window, tokens):
            misfit = tokens[window != tokens][0]
            raise ValueError(f"dataset holds a token that does not fit into int32: {misfit}")
        return window[:-1], window[1:]

    def _read(self, length: int) -> NDArray[np.integer]:
        """Advance by ``length`` steps; return their tokens and one more row, the last targets."""
        size = len(self._tokens)
        if not self.repeat:
            steps_left = -(-size // self.batch_size) - self.iteration
            if steps_left <= 0:
                raise StopIteration
            length = min(length, steps_left)
        steps = np.arange(length + 1)[:, np.newaxis] + self.iteration % size
        self.iteration += length
        return self._tokens[(steps + self.offsets) % size]

    @property
    def epoch(self) -> int:
        """int: completed sweeps over the dataset."""
        return self._sweeps(self.iteration)

    @property
    def is_new_epoch(self) -> bool:
        """bool: whether the last step completed a sweep."""
        return self.iteration > 0 and self.epoch > self._sweeps(self.iteration - 1)

    @property
    def epoch_detail(self) -> float:
        """float: sweeps over the dataset, including the fraction of the current one."""
        return self.iteration * self.batch_size / len(self._tokens)

    @property
    def previous_epoch_detail(self) -> float | None:
        """float or None: :attr:`epoch_detail` one step ago, None before the first step."""
        if self.iteration == 0:
            return None
        return (self.iteration - 1) * self.batch_size / len(self._tokens)

    def _sweeps(self, iteration: int) -> int:
        return iteration * self.batch_size // len(self._tokens)

    def serialize(self, serializer: AbstractSerializer) -> None:
        """Save or restore the position. ``epoch`` is written for readers of the file only."""
        self.iteration = serializer("iteration", self.iteration)
        serializer("epoch", self.epoch)


def _count(name: str, value: SupportsIndex) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {value!r}") from None
    if count < 1:
        raise ValueError(f"{name} must be at least 1, not {count}")
    return count
