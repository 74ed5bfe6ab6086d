"""The sequence 1 2 2 3 3 3 ..., which can be predicted only by counting."""

import operator
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

N_VOCABULARY = 10


def get_simple_sequence(n_vocab: int, repeat: int = 100) -> NDArray[np.int32]:
    """Every number ``i`` below ``n_vocab``, ``i`` times in a row, the whole repeated.

    The number 0 comes 0 times, so it never appears: ``n_vocab=4`` gives 1 2 2 3 3 3.

    Args:
        n_vocab (int): size of the vocabulary, at least 2. One period has
            ``n_vocab * (n_vocab - 1) / 2`` tokens.
        repeat (int): number of periods, at least 1.

    Returns:
        numpy.ndarray: the tokens, int32, one-dimensional.

    Raises:
        ValueError: if an argument is not a whole number or is too small.
    """
    n_vocab = _whole_number("n_vocab", n_vocab, at_least=2)
    repeat = _whole_number("repeat", repeat, at_least=1)
    numbers = np.arange(n_vocab, dtype=np.int32)
    return np.tile(np.repeat(numbers, numbers), repeat)


def get_shuffled_runs(n_vocab: int, repeat: int = 100, seed: int = 0) -> NDArray[np.int32]:
    """The same runs in random order: each number ``i`` still ``i`` times, then a random one.

    All other numbers are equally likely to follow, so only the end of a run can be predicted. In
    ``get_simple_sequence`` a network can also learn the order of the runs.

    Args:
        n_vocab (int): size of the vocabulary, at least 3: with fewer there is no other number.
        repeat (int): length in periods of ``get_simple_sequence``, at least 1; the last run may be
            cut.
        seed (int): the same seed draws the same runs.

    Returns:
        numpy.ndarray: the tokens, int32, one-dimensional.

    Raises:
        ValueError: if an argument is not a whole number or is too small.
    """
    n_vocab = _whole_number("n_vocab", n_vocab, at_least=3)
    repeat = _whole_number("repeat", repeat, at_least=1)
    largest = n_vocab - 1
    length = repeat * n_vocab * largest // 2
    # A run has at least one token, two runs at least three.
    steps = np.random.RandomState(seed).randint(1, largest, 2 * length // 3 + 2, dtype=np.int32)
    numbers = np.cumsum(steps, dtype=np.int64) % largest + 1
    n_runs = np.searchsorted(np.cumsum(numbers), length) + 1
    return np.repeat(numbers[:n_runs], numbers[:n_runs])[:length].astype(np.int32)


def _whole_number(name: str, value: SupportsIndex, at_least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, not {value!r}") from None
    if number < at_least:
        raise ValueError(f"{name} must be at least {at_least}, not {number}")
    return number


if __name__ == "__main__":
    print(get_simple_sequence(N_VOCABULARY))
