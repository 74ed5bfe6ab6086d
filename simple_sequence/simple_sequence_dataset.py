"""The sequence 1 2 2 3 3 3 ..., in which the next number can be told only by counting."""

import operator
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

N_VOCABULARY = 10


def get_simple_sequence(n_vocab: int, repeat: int = 100) -> NDArray[np.int32]:
    """Every number below ``n_vocab``, as many times in a row as it says, the whole repeated.

    The number 0 stands 0 times, so it never appears: ``n_vocab=4`` gives 1 2 2 3 3 3.

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
