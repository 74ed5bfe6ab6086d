"""Type checks and sums that functions over a window share; the rest is tested with those."""

import chainer_compat

import hypothesis.strategies as st
import numpy as np
import pytest
from chainer.utils import type_check
from hypothesis import example, given, settings

from models.windows.function import (
    expect_bias,
    expect_inputs,
    expect_matrix,
    expect_state,
    expect_window,
    sum_by_id,
)

IDS = np.zeros((4, 3), np.int32)
# Of 4 steps, 3 streams, 5 inputs and 2 units; a vocabulary of 12.
EXPECTATIONS = {
    "window": (expect_window, [(4, 3, 5)]),
    "vectors": (lambda x: expect_inputs(x, None), [(4, 3, 5)]),
    "embedding": (lambda W: expect_inputs(W, IDS), [(12, 5)]),
    "matrix": (lambda W, x: expect_matrix(W, x, 2, 5), [(2, 5), (4, 3, 5)]),
    "bias": (expect_bias, [(2,), (2, 5)]),
    "state": (lambda h, x: expect_state(h, x, 2), [(3, 2), (4, 3, 5)]),
    "state beside ids": (lambda h, W: expect_state(h, W, 2, IDS), [(3, 2), (12, 5)]),
}
WRONG_SHAPES = {
    "window": [(0, 3, 5), (3, 5), (4, 3, 5, 1)],
    "vectors": [(0, 3, 5), (3, 5), (4, 3, 5, 1)],
    "embedding": [(12,), (12, 5, 1)],
    "matrix": [(1, 5), (3, 5), (2, 4), (2, 6), (2,), (2, 5, 1)],
    "bias": [(1,), (3,), (), (2, 1)],
    "state": [(2, 2), (4, 2), (3, 1), (3, 3), (3,), (3, 2, 1)],
    "state beside ids": [(2, 2), (4, 2), (3, 1), (3, 3), (3,), (3, 2, 1)],
}
# What is alone has to be of floating point; what has company, of the type of that.
WRONG_TYPES = {
    **dict.fromkeys(["window", "vectors", "embedding"], (bool, np.int32, np.complex128)),
    **dict.fromkeys(
        ["matrix", "bias", "state", "state beside ids"], (np.float32, np.longdouble, np.int32)
    ),
}


def check(name, shape=None, dtype=np.float64):
    """Give the first array another shape or type than what is expected of it."""
    expect, (first, *rest) = EXPECTATIONS[name]
    arrays = np.zeros(first if shape is None else shape, dtype), *map(np.zeros, rest)
    expect(*type_check.get_types(arrays, "in_types", False))


@pytest.mark.parametrize("name", EXPECTATIONS)
def test_what_is_expected_passes(name):
    check(name)


@pytest.mark.parametrize("name, shape", [(n, s) for n, all_ in WRONG_SHAPES.items() for s in all_])
def test_another_shape_raises_invalid_type(name, shape):
    with pytest.raises(type_check.InvalidType):
        check(name, shape)


@pytest.mark.parametrize("name, dtype", [(n, d) for n, all_ in WRONG_TYPES.items() for d in all_])
def test_another_type_raises_invalid_type(name, dtype):
    with pytest.raises(type_check.InvalidType):
        check(name, dtype=dtype)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ids=st.lists(st.integers(0, 11), min_size=1, max_size=24))
@example([1])  # fewer than there are words, and the first word not among them
def test_sum_by_id_is_that_of_a_loop(ids):
    vectors = np.random.RandomState(0).normal(size=(len(ids), 3))
    expected = np.zeros((12, 3))
    for k, vector in zip(ids, vectors, strict=True):
        expected[k] += vector
    np.testing.assert_allclose(sum_by_id(np.array(ids), vectors, 12), expected, atol=1e-12)
