"""The four architectures of the tutorial, against its own models and loops in float64."""

import chainer
import numpy as np
import pytest
from chainer import serializers
from model_reading import (
    U,
    V,
    assert_close,
    assert_gradients_close,
    gradients,
    ids,
    randomised,
    step_by_step,
)

from benchmarks.peer_step_by_step import ARCHS as TUTORIAL
from models import ARCHS

SHAPES = {
    "rnn": {
        "/embed/W": (V, U),
        "/l1/W": (U, U),
        "/l1/b": (U,),
        "/r1/W": (U, U),
        "/r1/b": (U,),
        "/l2/W": (V, U),
        "/l2/b": (V,),
    },
    "rnn2": {
        "/embed/W": (V, U),
        "/r1/l/W": (U, U),
        "/r1/l/b": (U,),
        "/r1/r/W": (U, U),
        "/r1/r/b": (U,),
        "/r2/l/W": (U, U),
        "/r2/l/b": (U,),
        "/r2/r/W": (U, U),
        "/r2/r/b": (U,),
        "/r3/l/W": (U, U),
        "/r3/l/b": (U,),
        "/r3/r/W": (U, U),
        "/r3/r/b": (U,),
        "/l5/W": (V, U),
        "/l5/b": (V,),
    },
    "rnn3": {
        "/embed/W": (V, U),
        "/r1/l/W": (U + U, U + U),
        "/r1/l/b": (U + U,),
        "/r2/l/W": (U + U, U + U),
        "/r2/l/b": (U + U,),
        "/r3/l/W": (U + U, U + U),
        "/r3/l/b": (U + U,),
        "/l5/W": (V, U),
        "/l5/b": (V,),
    },
    "lstm": {
        "/embed/W": (V, U),
        "/l1/upward/W": (4 * U, U),
        "/l1/upward/b": (4 * U,),
        "/l1/lateral/W": (4 * U, U),
        "/l2/upward/W": (4 * U, U),
        "/l2/upward/b": (4 * U,),
        "/l2/lateral/W": (4 * U, U),
        "/l3/W": (V, U),
        "/l3/b": (V,),
    },
}


# The four in NumPy: one stream, one step at a time, from a table of parameters in float64.


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rnn_stream(p, xs):
    h = None
    for x in xs:
        a = p["/l1/W"] @ p["/embed/W"][x] + p["/l1/b"]
        if h is not None:
            a = a + p["/r1/W"] @ h + p["/r1/b"]
        h = np.tanh(a)
        yield p["/l2/W"] @ h + p["/l2/b"]


def rnn2_stream(p, xs):
    h = {}
    for x in xs:
        below = p["/embed/W"][x]
        for k in ("/r1", "/r2", "/r3"):
            a = p[k + "/l/W"] @ below + p[k + "/l/b"]
            if k in h:
                a = a + p[k + "/r/W"] @ h[k] + p[k + "/r/b"]
            below = h[k] = np.tanh(a)
        yield p["/l5/W"] @ below + p["/l5/b"]


def rnn3_stream(p, xs):
    n_units = p["/embed/W"].shape[1]
    h = {}
    for x in xs:
        below = p["/embed/W"][x]
        for k in ("/r1", "/r2", "/r3"):
            state = h.get(k, np.zeros(n_units))
            joined = np.tanh(p[k + "/l/W"] @ np.concatenate([below, state]) + p[k + "/l/b"])
            below, h[k] = joined[:n_units], joined[n_units:]
        yield p["/l5/W"] @ below + p["/l5/b"]


def lstm_stream(p, xs):
    n_units = p["/embed/W"].shape[1]
    c = {"/l1": np.zeros(n_units), "/l2": np.zeros(n_units)}
    h = {"/l1": np.zeros(n_units), "/l2": np.zeros(n_units)}
    for x in xs:
        below = p["/embed/W"][x]
        for k in ("/l1", "/l2"):
            gates = p[k + "/upward/W"] @ below + p[k + "/upward/b"] + p[k + "/lateral/W"] @ h[k]
            a, i, f, o = gates[0::4], gates[1::4], gates[2::4], gates[3::4]
            c[k] = sigmoid(i) * np.tanh(a) + sigmoid(f) * c[k]
            below = h[k] = sigmoid(o) * np.tanh(c[k])
        yield p["/l3/W"] @ below + p["/l3/b"]


STREAMS = {"rnn": rnn_stream, "rnn2": rnn2_stream, "rnn3": rnn3_stream, "lstm": lstm_stream}


def loop(arch, model, x):
    """Logits ``(T * B, V)`` for the window ``x`` from a reset state, in float64."""
    p = {path: param.array.astype(np.float64) for path, param in model.namedparams()}
    streams = [list(STREAMS[arch](p, xs)) for xs in x.T]
    return np.stack(streams, axis=1).reshape(x.size, -1)


@pytest.fixture(autouse=True)
def dropout_off():
    with chainer.using_config("train", False):
        yield


each_arch = pytest.mark.parametrize("arch", TUTORIAL)


def new_model(arch, n_vocab=V, n_units=U):
    return randomised(ARCHS[arch](n_vocab, n_units))


def new_tutorial_model(arch):
    return randomised(TUTORIAL[arch](V, U))


@each_arch
def test_parameters_have_the_names_and_shapes_of_the_public_format(arch):
    model = ARCHS[arch](V, U)
    assert {path: param.shape for path, param in model.namedparams()} == SHAPES[arch]


@each_arch
def test_values_of_a_window_are_those_of_a_loop_in_order_of_time(arch):
    model = new_model(arch)
    assert_close(model(ids()).array, loop(arch, model, ids()))


@each_arch
@pytest.mark.parametrize("n_steps, batch", [(1, 3), (4, 1), (1, 1)])
def test_values_of_small_windows_are_those_of_a_loop(arch, n_steps, batch):
    model = new_model(arch)
    assert_close(model(ids(n_steps, batch)).array, loop(arch, model, ids(n_steps, batch)))


@each_arch
def test_values_of_steps_are_those_of_a_loop(arch):
    model = new_model(arch)
    assert_close(step_by_step(model, ids()).array, loop(arch, model, ids()))


@each_arch
def test_values_in_float64_are_those_of_a_loop_to_rounding(arch):
    with chainer.using_config("dtype", np.float64):
        model = new_model(arch)
        logits = model(ids())
    np.testing.assert_allclose(logits.array, loop(arch, model, ids()), rtol=1e-12, atol=1e-12)


@each_arch
def test_values_are_those_of_the_tutorials_model(arch):
    expected = step_by_step(new_tutorial_model(arch), ids())
    assert_close(new_model(arch)(ids()).array, expected.array)


@each_arch
def test_gradients_are_those_of_the_tutorials_model(arch):
    tutorial, model = new_tutorial_model(arch), new_model(arch)
    expected = gradients(tutorial, step_by_step(tutorial, ids()))
    assert_gradients_close(gradients(model, model(ids())), expected)


@each_arch
def test_a_file_of_the_tutorials_model_loads(arch, tmp_path):
    tutorial, model = new_tutorial_model(arch), ARCHS[arch](V, U)
    serializers.save_npz(str(tmp_path / "model"), tutorial)
    serializers.load_npz(str(tmp_path / "model"), model)
    assert_close(model(ids()).array, step_by_step(tutorial, ids()).array)


@each_arch
def test_a_file_of_ours_loads_into_the_tutorials_model(arch, tmp_path):
    tutorial, model = TUTORIAL[arch](V, U), new_model(arch)
    serializers.save_npz(str(tmp_path / "model"), model)
    serializers.load_npz(str(tmp_path / "model"), tutorial)
    assert_close(step_by_step(tutorial, ids()).array, model(ids()).array)


@each_arch
def test_a_file_of_a_model_with_a_state_holds_parameters_only(arch, tmp_path):
    model = new_model(arch)
    model(ids())
    serializers.save_npz(str(tmp_path / "model"), model)
    with np.load(tmp_path / "model", allow_pickle=False) as arrays:
        assert {"/" + path: arrays[path].shape for path in arrays.files} == SHAPES[arch]
