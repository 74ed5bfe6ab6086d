"""What the tests of all recurrences share: sizes to try, and ways to spoil an array."""

import numpy as np
import pytest

# steps, streams, inputs, units
SHAPES = {
    "usual": (4, 3, 5, 2),
    "one step": (1, 3, 2, 4),
    "one stream": (5, 1, 3, 3),
    "ones": [1] * 4,
}

each_shape = pytest.mark.parametrize("shape", SHAPES)
with_and_without_state = pytest.mark.parametrize(
    "has_state", [True, False], ids=["state", "no state"]
)


def in_float32(array):
    return array.astype(np.float32)


def without_first(array):
    return array[1:]


def without_last_column(array):
    return array[..., :-1]
