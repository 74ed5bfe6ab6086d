"""``sum_by_id`` on a GPU, where a vocabulary larger than the window takes kernels of its own."""

import numpy as np
import pytest

from models.recurrences.function import sum_by_id

V, U = 12, 3


@pytest.mark.parametrize(
    "ids", [[1], [0, 11], [3, 3, 3], [5, 0, 5, 11, 0, 5], list(range(11)), [7] * 11]
)
def test_equals_a_sum_in_order_to_the_bit(ids, gpu):
    scales = 10.0 ** np.arange(len(ids))  # so that another order is another rounding
    vectors = np.random.RandomState(0).normal(size=(len(ids), U)) * scales[:, None]
    expected = np.zeros((V, U))
    for k, vector in zip(ids, vectors, strict=True):
        expected[k] += vector
    out = sum_by_id(gpu.send(np.array(ids, np.int32)), gpu.send(vectors), V)
    np.testing.assert_array_equal(out.get(), expected)


def test_adds_nothing_atomically(strict, monkeypatch):
    """Atomic additions come in any order, so that their sums would differ from run to run."""
    for owner, name in ((strict.add, "at"), (strict.ndarray, "scatter_add")):
        monkeypatch.delattr(owner, name)
    sum_by_id(strict.zeros(2, np.int32), strict.zeros((2, U), np.float32), V)
