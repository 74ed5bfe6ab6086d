import chainer_compat

import numpy as np
import pytest
from strict_kernels import ElementwiseKernel, ReductionKernel


@pytest.fixture
def host():
    return np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def array(strict, host):
    return strict.asarray(host)


class TestElementwiseKernel:
    def test_broadcasts_and_gives_its_outputs(self, strict, array, host):
        kernel = ElementwiseKernel("T x, T y", "T s, T d", "s = x + y; d = x - y;", "k")
        s, d = kernel(array, array[0])
        np.testing.assert_array_equal(s.get(), host + host[0])
        np.testing.assert_array_equal(d.get(), host - host[0])

    def test_writes_into_strided_views(self, strict, array, host):
        out = strict.zeros((3, 4), np.float32)
        ElementwiseKernel("T x", "T y", "y = y + x", "k")(array.T, out[:, ::2])
        np.testing.assert_array_equal(out.get()[:, ::2], host.T)
        assert not out.get()[:, 1::2].any()

    def test_counts_the_elements(self, strict, array):
        result = ElementwiseKernel("T x", "T y", "y = i", "k")(array)
        assert result.get().ravel().tolist() == [0, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize(
        ("error", "arguments"),
        [
            (TypeError, lambda xp, x, host: [host, x]),
            (TypeError, lambda xp, x, host: [x, host]),
            (TypeError, lambda xp, x, host: [x, 1]),
            (TypeError, lambda xp, x, host: [x, xp.zeros((2, 3))]),
            (TypeError, lambda xp, x, host: [x, x.copy(), x.copy()]),
            (ValueError, lambda xp, x, host: [x, xp.zeros((2, 1), np.float32)]),
            (ValueError, lambda xp, x, host: [x[0], x]),
            (ValueError, lambda xp, x, host: [x, x[::-1]]),
        ],
    )
    def test_refuses(self, error, arguments, strict, array, host):
        kernel = ElementwiseKernel("T x", "T y", "y = x", "k")
        with pytest.raises(error):
            kernel(*arguments(strict, array, host))

    def test_refuses_a_parameter_called_i(self, strict):
        with pytest.raises(ValueError, match="i"):
            ElementwiseKernel("T i", "T y", "y = i", "k")

    def test_refuses_c_that_is_not_understood(self, strict):
        with pytest.raises(SyntaxError):
            ElementwiseKernel("T x", "T y", "y = x++", "k")


class TestReductionKernel:
    def test_reduces_all_elements(self, strict, array):
        kernel = ReductionKernel("T x, raw T y", "T z", "x * y[_j]", "a + b", "z = -a", "0", "k")
        assert kernel(array, array).get() == -55
