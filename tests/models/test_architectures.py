"""What holds for every architecture, whatever it computes: windows, steps, state, copies.

Each is read step by step and in windows, and the two have to agree. That the steps are right is the
matter of the architecture's own file, for the tutorial's four of ``test_tutorials_models.py``.
"""

import chainer
import chainer.functions as F
import chainer.links as L
import hypothesis.strategies as st
import numpy as np
import pytest
from chainer import Variable, serializers
from chainer.device_resident import DeviceResidentsVisitor
from hypothesis import example, given, settings
from model_reading import (
    B,
    T,
    U,
    V,
    assert_close,
    assert_gradients_close,
    gradients,
    ids,
    randomised,
    step_by_step,
)

from counting.traces import recurrent_layers
from models import ARCHS, RNN, RNN2, RNN3, RNNForLM


@pytest.fixture(autouse=True)
def dropout_off():
    with chainer.using_config("train", False):
        yield


each_arch = pytest.mark.parametrize("arch", ARCHS)


def new_model(arch, n_vocab=V, n_units=U):
    return randomised(ARCHS[arch](n_vocab, n_units))


def read(arch, x):
    """Logits ``(T * B, V)`` of a new model that reads the window step by step."""
    return step_by_step(new_model(arch), x).array


def test_the_tutorials_four_stand_first_under_the_tutorials_names():
    assert list(ARCHS.items())[:4] == [
        ("rnn", RNN),
        ("rnn2", RNN2),
        ("rnn3", RNN3),
        ("lstm", RNNForLM),
    ]


@each_arch
def test_parameters_are_float32(arch):
    assert {param.dtype for param in ARCHS[arch](V, U).params()} == {np.dtype(np.float32)}


@each_arch
def test_ids_may_come_in_a_variable(arch):
    expected = new_model(arch)(ids()).array
    np.testing.assert_array_equal(new_model(arch)(Variable(ids())).array, expected)


@each_arch
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n_steps=st.integers(1, 6),
    batch=st.integers(1, 5),
    n_vocab=st.integers(1, 12),
    n_units=st.integers(1, 6),
)
@example(1, 1, 1, 1)
def test_steps_and_window_agree_for_any_shape(arch, n_steps, batch, n_vocab, n_units):
    x = ids(n_steps, batch, n_vocab)
    model = new_model(arch, n_vocab, n_units)
    steps = step_by_step(model, x)
    expected = gradients(model, steps)
    model.reset_state()
    window = model(x)
    assert (window.shape, window.dtype) == ((n_steps * batch, n_vocab), np.float32)
    assert_close(window.array, steps.array)
    assert_gradients_close(gradients(model, window), expected)


@each_arch
def test_values_after_reset_are_those_of_a_new_model(arch):
    model = new_model(arch)
    expected = model(ids()).array
    model(ids(seed=1))
    model.reset_state()
    np.testing.assert_array_equal(model(ids()).array, expected)


@each_arch
def test_gradients_after_reset_are_those_of_a_new_model(arch):
    model = new_model(arch)
    expected = gradients(model, model(ids()))
    model(ids(seed=1))
    model.reset_state()
    ours = gradients(model, model(ids()))
    for path, gradient in ours.items():
        np.testing.assert_array_equal(gradient, expected[path], err_msg=path)


@each_arch
def test_values_of_a_window_that_continues_are_those_of_a_loop(arch):
    model = new_model(arch)
    x = ids(3 + T)
    model(x[:3])
    assert_close(model(x[3:]).array, read(arch, x)[3 * B :])


@each_arch
def test_gradients_of_a_window_that_continues_are_those_of_steps(arch):
    # The first window is part of the graph: its parameters receive gradient through the state.
    model = new_model(arch)
    x = ids(3 + T)
    expected = gradients(model, step_by_step(model, x)[3 * B :])
    model.reset_state()
    model(x[:3])
    assert_gradients_close(gradients(model, model(x[3:])), expected)


@each_arch
def test_gradients_of_a_window_that_continues_from_a_cut_state_are_those_of_steps(arch):
    model = new_model(arch)
    results = []
    for read in (step_by_step, lambda model, x: model(x)):
        model.reset_state()
        read(model, ids(3, seed=1)).unchain_backward()
        results.append(gradients(model, read(model, ids())))
    expected, ours = results
    assert_gradients_close(ours, expected)


@each_arch
def test_steps_and_windows_advance_one_state(arch):
    model = new_model(arch)
    x = ids(5)
    logits = [model(x[0]), model(x[1:3]), model(x[3]), model(x[4:])]
    assert_close(F.concat(logits, axis=0).array, read(arch, x))


@each_arch
def test_values_are_the_same_without_a_graph(arch):
    model = new_model(arch)
    expected = [model(ids()).array, model(ids(seed=1)).array]
    model.reset_state()
    with chainer.no_backprop_mode():
        ours = [model(ids()).array, model(ids(seed=1)).array]
    np.testing.assert_array_equal(ours, expected)


@each_arch
def test_streams_do_not_mix(arch):
    together = new_model(arch)(ids()).array.reshape(T, B, V)
    alone = new_model(arch)(ids()[:, 1:2]).array
    assert_close(alone, together[:, 1])


@each_arch
def test_another_batch_size_after_reset(arch):
    model = new_model(arch)
    model(ids())
    model.reset_state()
    assert_close(model(ids(T, B + 2)).array, read(arch, ids(T, B + 2)))


@each_arch
def test_a_copy_shares_the_parameters(arch):
    model = new_model(arch)
    copies = dict(model.copy().namedparams())
    for path, param in model.namedparams():
        assert copies[path].array is param.array


@each_arch
def test_calling_a_copy_leaves_the_state_of_the_original(arch):
    model = new_model(arch)
    x = ids(2 * T)
    model(x[:T])
    model.copy()(ids(seed=1))
    assert_close(model(x[T:]).array, read(arch, x)[T * B :])


@each_arch
def test_resetting_a_copy_leaves_the_state_of_the_original(arch):
    model = new_model(arch)
    x = ids(2 * T)
    model(x[:T])
    model.copy().reset_state()
    assert_close(model(x[T:]).array, read(arch, x)[T * B :])


@each_arch
def test_calling_the_original_leaves_the_state_of_a_copy(arch):
    model = new_model(arch)
    x = ids(2 * T)
    copy = model.copy()
    copy(x[:T])
    model(ids(seed=1))
    assert_close(copy(x[T:]).array, read(arch, x)[T * B :])


@each_arch
def test_a_copy_of_a_classifier_has_its_own_state(arch):
    classifier = L.Classifier(new_model(arch))
    x = ids(2 * T)
    classifier.predictor(x[:T])
    copy = classifier.copy()
    copy.predictor.reset_state()
    copy(ids(seed=1), ids(seed=2).ravel())
    expected = read(arch, x)[T * B :]
    assert_close(classifier.predictor(x[T:]).array, expected)


@each_arch
def test_loss_of_a_stock_classifier_is_the_mean_over_every_prediction(arch):
    classifier = L.Classifier(new_model(arch))
    x, t = ids(), ids(seed=1).ravel()
    logits = read(arch, x)
    losses = [np.log(np.exp(y).sum()) - y[k] for y, k in zip(logits, t, strict=True)]
    assert_close(classifier(x, t).array, np.mean(losses))


@each_arch
def test_accuracy_of_a_stock_classifier_is_the_mean_over_every_prediction(arch):
    classifier = L.Classifier(new_model(arch))
    x, t = ids(), ids(seed=1).ravel()
    logits = read(arch, x)
    t[::2] = logits.argmax(axis=1)[::2]  # so that some are right
    classifier(x, t)
    assert_close(classifier.accuracy.array, (logits.argmax(axis=1) == t).mean())


@each_arch
def test_a_stock_classifier_serves_one_step(arch):
    classifier = L.Classifier(new_model(arch))
    x, t = ids()[0], ids(seed=1)[0]
    logits = read(arch, x[None])
    losses = [np.log(np.exp(y).sum()) - y[k] for y, k in zip(logits, t, strict=True)]
    assert_close(classifier(x, t).array, np.mean(losses))


@each_arch
def test_gradients_of_two_parameters_share_no_memory(arch):
    # Hooks such as weight decay and clipping change gradients in place.
    model = new_model(arch)
    model(ids())
    found = list(gradients(model, model(ids())).values())
    for k, gradient in enumerate(found):
        assert not any(np.shares_memory(gradient, other) for other in found[:k])


class Recorder(DeviceResidentsVisitor):
    """Remembers the variables that it was shown."""

    def __init__(self):
        self.variables = []

    def visit_device_resident(self, device_resident):
        pass

    def visit_array(self, array):
        return array

    def visit_variable(self, variable):
        self.variables.append(variable)


def states(model):
    return [getattr(link, name) for link in recurrent_layers(model) for name in link.state_names]


@each_arch
def test_moving_the_model_takes_its_state_along(arch):
    model = new_model(arch)
    model(ids())
    recorder = Recorder()
    model.device_resident_accept(recorder)
    visited = {id(variable) for variable in recorder.variables}
    assert {id(state) for state in states(model)} <= visited


@each_arch
def test_a_restored_state_goes_on_as_the_saved_one(arch):
    model, other = new_model(arch), new_model(arch)
    x = ids(2 * T)
    expected = read(arch, x)[T * B :]
    model(x[:T])
    for (_, link), (_, restored) in zip(model.namedlinks(), other.namedlinks(), strict=True):
        if hasattr(link, "serialize_state"):
            serializer = serializers.DictionarySerializer()
            link.serialize_state(serializer)
            restored.serialize_state(serializers.NpzDeserializer(serializer.target))
    assert_close(other(x[T:]).array, expected)


@each_arch
def test_an_id_beyond_the_vocabulary_raises_index_error(arch):
    with pytest.raises(IndexError, match=str(V)):
        new_model(arch)(np.array([0, V], np.int32))
