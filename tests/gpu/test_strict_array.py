"""That the stand-in is as strict as it says: else no test on it means anything."""

import operator

import chainer
import numpy as np
import pytest
import strict_array
from chainer.backends import cuda
from strict_kernels import ElementwiseKernel, ReductionKernel

OPERATORS = [operator.add, operator.sub, operator.iadd, operator.lt]


@pytest.fixture
def host():
    return np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def array(strict, host):
    array = strict.asarray(host)
    strict.transfers.clear()
    return array


class TestRefusal:
    @pytest.mark.parametrize("function", OPERATORS)
    def test_of_a_numpy_array_beside_one_of_its_own(self, function, array, host):
        for operands in ((array, host), (host, array)):
            with pytest.raises(TypeError):
                function(*operands)

    @pytest.mark.parametrize(
        "function",
        [
            np.asarray,
            np.tanh,
            np.sum,
            np.stack,
            lambda x: np.add(x, x),
            lambda x: np.zeros(6)[x],
            lambda x: np.zeros((2, 3)).__setitem__(..., x),
        ],
    )
    def test_of_numpys_functions(self, function, array):
        with pytest.raises(TypeError):
            function(array)

    @pytest.mark.parametrize(
        "function",
        [
            lambda xp, x, host: xp.tanh(host),
            lambda xp, x, host: xp.tanh(x, out=host),
            lambda xp, x, host: xp.add.at(x, x.astype(np.int32), host),
            lambda xp, x, host: xp.concatenate([x, host]),
            lambda xp, x, host: x.__setitem__(0, host[0]),
            lambda xp, x, host: x.clip(host),
            lambda xp, x, host: x[np.array([0])],
            lambda xp, x, host: x[x > 2],
            lambda xp, x, host: x.set(host.astype(np.float64)),
        ],
    )
    def test_by_its_own_functions(self, function, strict, array, host):
        with pytest.raises(TypeError):
            function(strict, array, host)

    def test_of_a_product_into_what_is_not_contiguous(self, strict):
        out = strict.zeros((2, 2)).T[:, ::-1]
        with pytest.raises(ValueError, match="C-Array"):
            strict.dot(strict.zeros((2, 3)), strict.zeros((3, 2)), out=out)


@pytest.mark.parametrize("function", OPERATORS)
@pytest.mark.parametrize("number", [0.5, np.float32(3)])
def test_arithmetic_with_numbers_is_numpys(function, number, array, host):
    for on_the_left in (True, False):
        result, expected = (
            function(number, operand) if on_the_left else function(operand, number)
            for operand in (array, host)
        )
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result.get(), expected)


def test_new_memory_is_not_zero(strict):
    model = strict.zeros((2, 3, 4), np.float32).transpose(2, 0, 1)
    assert np.isnan(strict.empty(3, np.float32).get()).all()
    assert np.isnan(strict.empty_like(model).get()).all()
    assert strict.empty_like(model).strides == model.strides


def test_transfers_are_noted(strict, array, host):
    repr((array * 2 + 1).sum(axis=0).reshape(-1)[1:].dot(array[0, 1:]))
    assert strict.transfers == []
    strict.asarray(host).set(host)
    assert strict.transfers == 2 * [("to device", (2, 3))]
    strict.transfers.clear()
    assert [copy(array[0, 1]) for copy in (float, int, bool, strict.ndarray.get)] == 4 * [1]
    assert strict.transfers == [("to host", name) for name in ("float", "int", "bool", "get")]


def test_installation_ends_with_the_test():
    before = cuda.available, cuda.cupy, cuda.ndarray
    with pytest.MonkeyPatch.context() as patch:
        strict_array.install(patch)
        array = strict_array.zeros(3)
        assert chainer.backend.get_array_module(array) is strict_array is cuda.cupy
        assert chainer.get_device(0).xp is strict_array
    assert (cuda.available, cuda.cupy, cuda.ndarray) == before
    assert chainer.get_array_types()[-1] is not strict_array.ndarray


def run(operation, x, types="S x", out="S y"):
    kernel = ElementwiseKernel(types, out, operation, "k")
    return kernel(strict_array.asarray(np.array(x))).get().tolist()


class TestElementwiseKernel:
    """Of C, what differs from Python, and what is refused."""

    @pytest.mark.parametrize(
        ("operation", "expected"),
        [
            ("y = x / 2 * 2", [0, 2, 4]),
            ("y = x > 2 ? 7 : x > 1 ? 8 : 9", [9, 8, 7]),
            ("int z = 2.9; y = x - z", [-1, 0, 3]),
            ("unsigned z = x - 5; z *= 0x846CA68B; y = z >> 31", [1, 0, 0]),
            ("if (x == 2) { y = 1; } else { if (x > 2) { y = 2; } else { y = 3; } }", [3, 1, 2]),
            ("const S z = static_cast<S>(1.5 - (x == 2)); y = z + i", [1, 1, 3]),
        ],
    )
    def test_runs_c(self, operation, expected, strict):
        assert run(operation, [1, 2, 5]) == expected

    def test_broadcasts_and_gives_its_outputs(self, strict, array, host):
        kernel = ElementwiseKernel("T x, T y", "T s, T d", "s = x + y; d = x - y;", "k")
        s, d = kernel(array, array[0])
        np.testing.assert_array_equal(s.get(), host + host[0])
        np.testing.assert_array_equal(d.get(), host - host[0])

    def test_writes_into_strided_views_and_by_index(self, strict, array, host):
        kernel = ElementwiseKernel("T x", "T y, raw T z", "y = y + x; z[i] *= x;", "k")
        y, z = strict.zeros((3, 4), np.float32), array.T.copy()
        kernel(array.T, y[:, ::2], z)
        np.testing.assert_array_equal(y.get()[:, ::2], host.T)
        np.testing.assert_array_equal(z.get(), host.T**2)
        assert not y.get()[:, 1::2].any()

    @pytest.mark.parametrize(
        ("error", "arguments"),
        [
            (TypeError, lambda xp, x, host: [host, x]),
            (TypeError, lambda xp, x, host: [x, host]),
            (TypeError, lambda xp, x, host: [x, xp.zeros((2, 3))]),
            (TypeError, lambda xp, x, host: [x, x.copy(), x.copy()]),
            (ValueError, lambda xp, x, host: [x[0], x]),
            (ValueError, lambda xp, x, host: [x, xp.zeros((2, 1), np.float32)]),
            (ValueError, lambda xp, x, host: [x, x[::-1]]),
        ],
    )
    def test_refuses(self, error, arguments, strict, array, host):
        kernel = ElementwiseKernel("T x", "T y", "y = x", "k")
        with pytest.raises(error):
            kernel(*arguments(strict, array, host))

    @pytest.mark.parametrize("source", ["y = x++", "z = x", "for (;;) {}", "y = x && x", "return;"])
    def test_refuses_c_that_is_not_understood(self, source, strict):
        with pytest.raises(SyntaxError):
            run(source, [1])


def test_reduction_kernel_reduces_all_elements(strict, array):
    kernel = ReductionKernel("T x, raw T y", "T z", "x * y[_j]", "a + b", "z = -a", "0", "k")
    assert kernel(array, array).get() == -55
