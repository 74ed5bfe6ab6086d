"""Type checks and sums that functions over a window share; the rest is tested with those."""

import chainer
import hypothesis.strategies as st
import numpy as np
import pytest
from chainer.utils import type_check
from hypothesis import example, given, settings

from models.recurrences.function import WindowFunction, sum_by_id


class Layer(WindowFunction):
    inputs_are = "T B I", "2U I", "T B int"
    states_are = ("B U",)

    def forward(self, inputs):
        return (inputs[0],)


RIGHT = [np.zeros((4, 3, 5)), np.zeros((4, 5)), np.zeros((4, 3), int), np.zeros((3, 2))]


@pytest.mark.parametrize("n_inputs", [3, 4])
def test_inputs_as_described_pass(n_inputs):
    Layer().apply(RIGHT[:n_inputs])


@pytest.mark.parametrize("n_inputs", [2, 5])
def test_another_number_of_inputs_raises_invalid_type(n_inputs):
    with pytest.raises(type_check.InvalidType, match=r"Layer[\s\S]*Expect: in_types.size"):
        Layer().apply([*RIGHT, RIGHT[3]][:n_inputs])


@pytest.mark.parametrize(
    ("k", "shape"),
    [
        (0, (0, 3, 5)),  # no step
        (0, (3, 5)),
        (0, (4, 3, 5, 1)),
        (1, (5, 5)),  # no multiple of two
        (1, (4, 4)),
        (1, (4,)),
        (2, (4, 2)),
        (2, (3, 3)),
        (3, (2, 2)),
        (3, (3, 3)),
        (3, (3, 2, 1)),
    ],
)
def test_another_shape_raises_invalid_type(k, shape):
    arrays = [np.zeros(shape, a.dtype) if i == k else a for i, a in enumerate(RIGHT)]
    with pytest.raises(type_check.InvalidType, match=r"Layer[\s\S]*Expect: in_types\["):
        Layer().apply(arrays)


@pytest.mark.parametrize(
    ("k", "dtype"),
    [(0, int), (0, bool), (0, complex), (1, np.float32), (1, int), (2, float), (3, np.float16)],
)
def test_another_type_raises_invalid_type(k, dtype):
    arrays = [a.astype(dtype) if i == k else a for i, a in enumerate(RIGHT)]
    with pytest.raises(type_check.InvalidType, match="Expect: in_types"):
        Layer().apply(arrays)


def test_types_are_not_checked_where_chainer_is_told_not_to():
    with chainer.using_config("type_check", False):
        Layer().apply([RIGHT[0], *RIGHT[:2]])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ids=st.lists(st.integers(0, 11), min_size=1, max_size=24))
@example([1])  # fewer than there are words, and the first word not among them
def test_sum_by_id_is_that_of_a_loop(ids):
    vectors = np.random.RandomState(0).normal(size=(len(ids), 3))
    expected = np.zeros((12, 3))
    for k, vector in zip(ids, vectors, strict=True):
        expected[k] += vector
    np.testing.assert_allclose(sum_by_id(np.array(ids), vectors, 12), expected, atol=1e-12)
