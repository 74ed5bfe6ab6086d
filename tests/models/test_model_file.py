import os
import random

import numpy as np
import pytest
from chainer.serializers import load_npz, save_npz
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import ARCHS
from models.model_file import load_model, parameter_shapes, save_model
from support.files import BadFile, read_arrays, write_arrays

V, U = 7, 5

each_arch = pytest.mark.parametrize("arch", ARCHS)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


def parameters(model):
    return {name.lstrip("/"): param.array for name, param in model.namedparams()}


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)


class TestParameterShapes:
    @each_arch
    @given(st.integers(2, 40), st.integers(1, 40))
    @example(10, 5)  # one size a multiple of the other
    @example(3, 5)  # those within the function
    @example(5, 3)
    @settings(max_examples=20, deadline=None)
    def test_are_those_of_a_model_of_any_size(self, arch, n_vocab, n_units):
        model = ARCHS[arch](n_vocab, n_units)
        expected = {name: array.shape for name, array in parameters(model).items()}
        assert parameter_shapes(arch, n_vocab, n_units) == expected

    @each_arch
    def test_take_no_memory_for_a_model(self, arch):
        shapes = parameter_shapes(arch, 10**9, 10**9)
        assert shapes["embed/W"] == (10**9, 10**9)

    @each_arch
    def test_leave_the_global_random_state_alone(self, arch):
        np.random.seed(3)
        expected = np.random.rand(3)
        np.random.seed(3)
        parameter_shapes(arch, V, U)
        np.testing.assert_array_equal(np.random.rand(3), expected)


class TestSavedModel:
    @each_arch
    def test_is_loaded_as_it_was(self, path, arch):
        model = ARCHS[arch](V, U)
        save_model(path, model)
        loaded_arch, loaded = load_model(path)
        assert loaded_arch == arch
        assert type(loaded) is type(model)
        assert_equal(parameters(loaded), parameters(model))

    @each_arch
    @pytest.mark.parametrize("n_vocab, n_units", [(2, 1), (5, 10)])
    def test_is_recognised_at_any_size(self, path, arch, n_vocab, n_units):
        save_model(path, ARCHS[arch](n_vocab, n_units))
        loaded_arch, loaded = load_model(path)
        assert (loaded_arch, loaded.embed.W.shape) == (arch, (n_vocab, n_units))

    @each_arch
    def test_is_loaded_by_chainer(self, path, arch):
        model, other = ARCHS[arch](V, U), ARCHS[arch](V, U)
        save_model(path, model)
        load_npz(path, other)
        assert_equal(parameters(other), parameters(model))

    @each_arch
    def test_has_the_names_that_chainer_gives(self, path, tmp_path, arch):
        model = ARCHS[arch](V, U)
        save_model(path, model)
        save_npz(str(tmp_path / "chainers"), model)
        with np.load(path) as ours, np.load(tmp_path / "chainers") as theirs:
            assert set(ours) == set(theirs)

    @each_arch
    def test_holds_the_parameters_in_an_order_that_no_run_changes(self, path, arch):
        save_model(path, ARCHS[arch](V, U))
        with np.load(path) as file:
            assert file.files == sorted(file.files)

    @each_arch
    def test_holds_no_recurrent_state(self, path, arch):
        model = ARCHS[arch](V, U)
        save_model(path, model)
        before = read_arrays(path)
        model(np.zeros((3, 2), np.int32))
        save_model(path, model)
        assert_equal(read_arrays(path), before)

    def test_is_sealed(self, path):
        save_model(path, ARCHS["rnn"](V, U))
        read_arrays(path, sealed=True)

    def test_predicts_from_a_fresh_state(self, path):
        save_model(path, ARCHS["lstm"](V, U))
        _, model = load_model(path)
        assert model.l1.h is None


class TestChainersModel:
    @each_arch
    @pytest.mark.parametrize("compression", [True, False])
    def test_is_loaded(self, path, arch, compression):
        model = ARCHS[arch](V, U)
        save_npz(path, model, compression=compression)
        loaded_arch, loaded = load_model(path)
        assert loaded_arch == arch
        assert_equal(parameters(loaded), parameters(model))

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_of_another_precision_is_loaded_in_ours(self, path, dtype):
        arrays = parameters(ARCHS["rnn"](V, U))
        write_arrays(path, {name: array.astype(dtype) for name, array in arrays.items()})
        loaded = parameters(load_model(path)[1])
        for name, array in arrays.items():
            assert loaded[name].dtype == np.float32
            np.testing.assert_array_equal(loaded[name], array.astype(dtype).astype(np.float32))


class TestWrongFile:
    """Refused with a reason; each begins as the parameters of a good ``rnn3``."""

    @pytest.fixture
    def arrays(self):
        return parameters(ARCHS["rnn3"](V, U))

    def refuse(self, path, arrays, reason):
        write_arrays(path, arrays)
        with pytest.raises(BadFile, match=reason):
            load_model(path)

    def test_that_lacks_any_parameter(self, path, arrays):
        for name in arrays:
            rest = {other: arrays[other] for other in arrays if other != name}
            self.refuse(path, rest, "holds no model of the architectures rnn, rnn2, rnn3, lstm")

    def test_that_holds_a_parameter_more(self, path, arrays):
        self.refuse(path, {**arrays, "l9/W": np.zeros(3)}, "holds no model")

    def test_that_holds_a_parameter_of_another_shape(self, path, arrays):
        for name, array in arrays.items():
            for other in array[None], array[:-1], np.concatenate((array, array)):
                self.refuse(path, {**arrays, name: other}, "holds no model")

    @pytest.mark.parametrize("dtype", [np.int32, np.bool_, "U3", "S3"])
    def test_that_holds_no_floating_point_numbers(self, path, arrays, dtype):
        wrong = {**arrays, "l5/W": np.zeros_like(arrays["l5/W"]).astype(dtype)}
        self.refuse(path, wrong, "not floating-point numbers")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_that_holds_numbers_that_are_not_finite(self, path, arrays, value):
        for name, array in arrays.items():
            wrong = array.copy()
            wrong.flat[random.Random(name).randrange(array.size)] = value
            self.refuse(path, {**arrays, name: wrong}, rf"are not finite \({name}\)")

    def test_that_holds_numbers_that_are_not_finite_in_our_precision(self, path, arrays):
        wrong = {**arrays, "l5/W": np.full(arrays["l5/W"].shape, 1e300)}
        self.refuse(path, wrong, r"are not finite \(l5/W\)")

    @pytest.mark.parametrize("shape", [(), (3,), (0, 0), (0, 5), (3, 0), (2, 3, 4)])
    def test_whose_embedding_is_none(self, path, arrays, shape):
        self.refuse(path, {**arrays, "embed/W": np.zeros(shape, np.float32)}, "holds no model")

    def test_that_holds_nothing(self, path):
        self.refuse(path, {}, "holds no model")

    def test_that_is_a_snapshot(self, path, arrays):
        snapshot = {f"updater/model:main/predictor/{name}": arrays[name] for name in arrays}
        self.refuse(path, {"snapshot": "{}", **snapshot}, "is a snapshot, not a model")

    def test_that_is_none(self, path):
        with open(path, "w") as file:
            file.write("1 2 2 3 3 3")
        with pytest.raises(BadFile, match="is damaged or of another format"):
            load_model(path)

    def test_that_does_not_exist(self, path):
        with pytest.raises(BadFile, match="does not exist"):
            load_model(path)


class TestFailingDisk:
    def test_leaves_the_model_of_before(self, path, tmp_path, monkeypatch):
        old, new = ARCHS["rnn"](V, U), ARCHS["rnn"](V, U)
        save_model(path, old)

        def fail(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError):
            save_model(path, new)
        assert os.listdir(tmp_path) == ["file"]
        assert_equal(parameters(load_model(path)[1]), parameters(old))
