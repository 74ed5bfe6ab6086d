"""What every peer is asked to do, and how its time is taken.

Nothing here imports a framework: import time is part of a whole command's time only, and a peer
must not pay for another's.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simple_sequence.simple_sequence_dataset import N_VOCABULARY, get_simple_sequence


class Size(NamedTuple):
    """Vocabulary, units of each layer, streams and steps of a window."""

    n_vocab: int
    n_units: int
    batch: int
    window: int


DEFAULT = Size(n_vocab=N_VOCABULARY, n_units=100, batch=10, window=20)
LANGUAGE_MODEL = Size(n_vocab=10_000, n_units=650, batch=20, window=35)  # PTB, medium
LARGE = Size(n_vocab=100, n_units=256, batch=32, window=64)  # characters of a text
EPOCHS = 10
UPDATES = 225  # 10 epochs of 4,500 tokens, 200 tokens an update
LEARNING_RATE = 5e-4
DROPOUT = 0.5
WARM_UP = 10  # updates, and no more than are measured


def make_tokens(size: Size) -> NDArray[np.int32]:
    """The data of a size: the default sequence, or random ids where that would be endless.

    Returns:
        numpy.ndarray: int32, one-dimensional.
    """
    if size == DEFAULT:
        return get_simple_sequence(size.n_vocab)
    return np.random.default_rng(0).integers(size.n_vocab, size=100_000, dtype=np.int32)


def make_windows(
    size: Size, n_windows: int = UPDATES
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Consecutive windows of current and next tokens, made before the clock starts.

    The streams are those of ``ParallelSequentialIterator``: spread evenly, wrapping round the end.

    Returns:
        tuple of numpy.ndarray: ``x`` and ``t``, int32 of shape ``(n_windows, window, batch)``.
    """
    tokens = make_tokens(size)
    offsets = np.arange(size.batch) * len(tokens) // size.batch
    steps = np.arange(n_windows * size.window + 1)[:, None]
    rows = tokens[(steps + offsets) % len(tokens)]
    shape = n_windows, size.window, size.batch
    return rows[:-1].reshape(shape), rows[1:].reshape(shape)


def time_updates(
    update: Callable[[Any, Any], object],
    windows: Iterable[tuple[Any, Any]],
    count: int,
    repetitions: int,
) -> list[float]:
    """Run ``update(x, t)`` over the windows again and again.

    Args:
        update: one update on one window.
        windows: iterable of pairs ``x, t``.
        count (int): updates in a repetition.
        repetitions (int): how often the clock is read.

    Returns:
        list of float: seconds of each repetition.
    """
    endless = itertools.cycle(windows)
    return time_calls(
        lambda: update(*next(endless)), count, repetitions, warm_up=min(WARM_UP, count)
    )


def time_calls(
    call: Callable[[], object], count: int, repetitions: int, warm_up: int = 1
) -> list[float]:
    """Seconds of each repetition of ``count`` calls, a list, after ``warm_up`` calls."""
    for _ in range(warm_up):
        call()
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        for _ in range(count):
            call()
        seconds.append(time.perf_counter() - start)
    return seconds


def numpy_arithmetic() -> str:
    """What multiplies beneath NumPy in this process: BLAS, kernel, threads."""
    from support.threads import arithmetic

    return ", ".join(f"{name} {value}" for name, value in arithmetic().items())


def run_measure(
    measures: Mapping[str, Callable[[str, int, int], object]], arithmetic: Callable[[], str]
) -> None:
    """The command line of a peer: what to measure; prints the result as one line of JSON.

    Args:
        measures (dict): by name, functions of architecture, count and repetitions.
        arithmetic: says what multiplies in this process; the measure of that name.
    """
    measures = {**measures, "arithmetic": lambda *_: arithmetic()}
    parser = argparse.ArgumentParser(description="Take one measure of this peer.")
    parser.add_argument("measure", choices=measures)
    parser.add_argument("arch", help="architecture: rnn, rnn2, rnn3, lstm or gru")
    parser.add_argument("count", type=int, help="updates or evaluations in a repetition")
    parser.add_argument("repetitions", type=int, help="how often to take the time")
    args = parser.parse_args()
    print(json.dumps(measures[args.measure](args.arch, args.count, args.repetitions)))
