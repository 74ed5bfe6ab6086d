"""That the stand-in is as strict as it says: else no test on it means anything."""

import operator

import chainer_compat

import chainer
import chainer.functions as F
import numpy as np
import pytest
import strict_array
from chainer.backends import cuda

OPERATORS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.iadd,
    operator.imul,
    operator.eq,
    operator.lt,
]


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
        with pytest.raises(TypeError):
            function(array, host)
        with pytest.raises(TypeError):
            function(host, array)

    @pytest.mark.parametrize(
        "function",
        [
            np.asarray,
            np.tanh,
            np.sum,
            np.stack,
            np.zeros_like,
            np.isfinite,
            lambda x: np.add(x, x),
            lambda x: np.float32(1).__add__(np.asarray(x)),
            lambda x: np.add(np.float32(1), x, out=x),
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
            lambda xp, x, host: xp.dot(x, host.T),
            lambda xp, x, host: xp.matmul(x, host.T),
            lambda xp, x, host: xp.add.at(x, x.astype(np.int32), host),
            lambda xp, x, host: xp.empty_like(host),
            lambda xp, x, host: xp.zeros_like(host),
            lambda xp, x, host: xp.full_like(x, host),
            lambda xp, x, host: xp.full_like(x, x),
            lambda xp, x, host: xp.copyto(x, host),
            lambda xp, x, host: xp.concatenate([x, host]),
            lambda xp, x, host: xp.expand_dims(host, 0),
            lambda xp, x, host: xp.ascontiguousarray(host),
            lambda xp, x, host: x.__setitem__(0, host[0]),
            lambda xp, x, host: x.fill(host),
            lambda xp, x, host: x.clip(host),
            lambda xp, x, host: x[host > 2],
            lambda xp, x, host: x[np.array([0])],
            lambda xp, x, host: x[[0]],
            lambda xp, x, host: x[x > 2],
            lambda xp, x, host: x == None,  # noqa: E711 - that is what is refused
            lambda xp, x, host: xp.tanh(1.0),
            lambda xp, x, host: x.sum(where=True),
            lambda xp, x, host: x.set(host.astype(np.float64)),
            lambda xp, x, host: list(x[0, 0]),
        ],
    )
    def test_by_its_own_functions(self, function, strict, array, host):
        with pytest.raises(TypeError):
            function(strict, array, host)

    def test_of_negative_indices_in_an_array(self, strict, array):
        with pytest.raises(IndexError):
            array[strict.asarray(np.array([-1]))]

    def test_of_a_product_into_what_is_not_contiguous(self, strict):
        out = strict.zeros((2, 2)).T[:, ::-1]
        with pytest.raises(ValueError, match="C-contiguous"):
            strict.dot(strict.zeros((2, 3)), strict.zeros((3, 2)), out=out)

    def test_of_functions_that_it_does_not_have(self, strict):
        with pytest.raises(AttributeError):
            strict.nonzero  # noqa: B018 - that is what is refused

    def test_of_devices_beyond_the_first(self, strict):
        with pytest.raises(ValueError, match="no device 1"):
            chainer.get_device("@cupy:1")


class TestArithmetic:
    @pytest.mark.parametrize("function", OPERATORS)
    @pytest.mark.parametrize("other", [2, 0.5, np.float32(3)])
    def test_of_numbers_on_the_right_is_numpys(self, function, other, array, host):
        result, expected = function(array, other), function(host.copy(), other)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result.get(), expected)

    @pytest.mark.parametrize("function", OPERATORS)
    @pytest.mark.parametrize("other", [2, 0.5, np.float32(3)])
    def test_of_numbers_on_the_left_is_numpys(self, function, other, array, host):
        result, expected = function(other, array + 1), function(other, host + 1)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result.get(), expected)

    def test_new_memory_is_not_zero(self, strict):
        assert np.isnan(strict.empty(3, np.float32).get()).all()
        assert strict.empty(3, np.int32).get().all()
        assert np.isnan(strict.empty_like(strict.zeros(3)).get()).all()

    def test_new_memory_is_laid_out_as_its_model(self, strict):
        array = strict.zeros((2, 3, 4)).transpose(2, 0, 1)
        assert strict.empty_like(array).strides == array.strides


class TestTransfers:
    def test_to_the_device(self, strict, host):
        strict.asarray(host)
        strict.array([1, 2])
        strict.zeros((2, 3), np.float32).set(host)
        assert strict.transfers == [
            ("to device", (2, 3)),
            ("to device", (2,)),
            ("to device", (2, 3)),
        ]

    @pytest.mark.parametrize("copy", [float, int, bool])
    def test_to_the_host_without_being_asked(self, copy, strict, array):
        assert copy(array[0, 1]) == 1
        assert strict.transfers == [("to host", copy.__name__)]

    @pytest.mark.parametrize("copy", ["get", "item", "tolist"])
    def test_to_the_host(self, copy, strict, array):
        getattr(array[0, 1], copy)()
        assert strict.transfers == [("to host", copy)]

    def test_are_none_while_computing(self, strict, array):
        repr((array * 2 + 1).sum(axis=0).reshape(-1)[1:].dot(array[0, 1:]))
        assert strict.transfers == []


class TestInstallation:
    def test_chainer_takes_it_for_cupy(self, strict, array):
        assert chainer.backend.get_array_module(chainer.Variable(array)) is strict is cuda.cupy
        assert chainer.get_device(0).xp is strict
        assert isinstance(F.tanh(array).array, strict.ndarray)

    def test_ends_with_the_test(self):
        before = cuda.available, cuda.cupy, cuda.ndarray
        with pytest.MonkeyPatch.context() as patch:
            strict_array.install(patch)
            assert cuda.cupy is strict_array
        assert (cuda.available, cuda.cupy, cuda.ndarray) == before
        assert chainer.get_array_types()[-1] is not strict_array.ndarray
