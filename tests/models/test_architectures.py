"""What holds for all four models, against the tutorial's own models and loops in float64."""

import chainer_compat

import chainer
import chainer.functions as F
import chainer.links as L
import hypothesis.strategies as st
import numpy as np
import pytest
from chainer import Chain, Variable, serializers
from chainer.device_resident import DeviceResidentsVisitor
from hypothesis import given, settings

from models import ARCHS, RNN, RNN2, RNN3, RNNForLM

V, U, T, B = 7, 5, 4, 3

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


# The tutorial's models, in stock Chainer: one step a call.


class TutorialRNN(Chain):
    def __init__(self, n_vocab, n_units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = L.Linear(n_units, n_units)
            self.r1 = L.Linear(n_units, n_units)
            self.l2 = L.Linear(n_units, n_vocab)
        self.reset_state()

    def reset_state(self):
        self.h = None

    def forward(self, x):
        e = self.embed(x)
        self.h = F.tanh(self.l1(e) if self.h is None else self.l1(e) + self.r1(self.h))
        return self.l2(self.h)


class TutorialBlock(Chain):
    def __init__(self, n_units):
        super().__init__()
        with self.init_scope():
            self.l = L.Linear(n_units, n_units)
            self.r = L.Linear(n_units, n_units)
        self.reset_state()

    def reset_state(self):
        self.h = None

    def forward(self, x):
        self.h = F.tanh(self.l(x) if self.h is None else self.l(x) + self.r(self.h))
        return self.h


class TutorialConcatBlock(Chain):
    def __init__(self, n_units):
        super().__init__()
        self.n_units = n_units
        with self.init_scope():
            self.l = L.Linear(2 * n_units, 2 * n_units)
        self.reset_state()

    def reset_state(self):
        self.h = None

    def forward(self, x):
        if self.h is None:
            self.h = Variable(np.zeros((x.shape[0], self.n_units), x.dtype))
        joined = self.l(F.concat([x, self.h], axis=1))
        y, self.h = (F.tanh(half) for half in F.split_axis(joined, 2, axis=1))
        return y


class TutorialStack(Chain):
    def __init__(self, block, n_vocab, n_units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.r1 = block(n_units)
            self.r2 = block(n_units)
            self.r3 = block(n_units)
            self.l5 = L.Linear(n_units, n_vocab)

    def reset_state(self):
        self.r1.reset_state()
        self.r2.reset_state()
        self.r3.reset_state()

    def forward(self, x):
        return self.l5(self.r3(self.r2(self.r1(self.embed(x)))))


class TutorialRNNForLM(Chain):
    def __init__(self, n_vocab, n_units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = L.LSTM(n_units, n_units)
            self.l2 = L.LSTM(n_units, n_units)
            self.l3 = L.Linear(n_units, n_vocab)

    def reset_state(self):
        self.l1.reset_state()
        self.l2.reset_state()

    def forward(self, x):
        h1 = self.l1(F.dropout(self.embed(x)))
        h2 = self.l2(F.dropout(h1))
        return self.l3(F.dropout(h2))


TUTORIAL = {
    "rnn": TutorialRNN,
    "rnn2": lambda *sizes: TutorialStack(TutorialBlock, *sizes),
    "rnn3": lambda *sizes: TutorialStack(TutorialConcatBlock, *sizes),
    "lstm": TutorialRNNForLM,
}


# The same four in NumPy: one stream, one step at a time, from a table of parameters in float64.


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


each_arch = pytest.mark.parametrize("arch", ARCHS)


def randomised(model, scale=0.5):
    """The model with every parameter, biases too, well away from zero."""
    random = np.random.RandomState(0)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.normal(0, scale, param.shape)
    return model


def new_model(arch, n_vocab=V, n_units=U):
    return randomised(ARCHS[arch](n_vocab, n_units))


def new_tutorial_model(arch):
    return randomised(TUTORIAL[arch](V, U))


def ids(n_steps=T, batch=B, n_vocab=V, seed=0):
    random = np.random.RandomState(seed)
    return random.randint(n_vocab, size=(n_steps, batch)).astype(np.int32)


def step_by_step(model, x):
    return F.concat([model(x_t) for x_t in x], axis=0)


def gradients(model, logits):
    """Of a loss in which every logit has a weight of its own."""
    weights = np.random.RandomState(1).normal(size=logits.shape).astype(logits.dtype)
    model.cleargrads()
    F.sum(logits * weights).backward()
    return {path: param.grad for path, param in model.namedparams()}


def assert_close(ours, expected):
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def assert_gradients_close(ours, expected):
    assert ours.keys() == expected.keys()
    for path, gradient in ours.items():
        # A parameter that no step has used has no gradient in stock Chainer; zero is the same.
        reference = 0 if expected[path] is None else expected[path]
        np.testing.assert_allclose(gradient, reference, rtol=1e-5, atol=1e-5, err_msg=path)


def test_table_of_names():
    assert {"rnn": RNN, "rnn2": RNN2, "rnn3": RNN3, "lstm": RNNForLM} == ARCHS


@each_arch
def test_parameters_have_the_names_and_shapes_of_the_public_format(arch):
    model = ARCHS[arch](V, U)
    assert {path: param.shape for path, param in model.namedparams()} == SHAPES[arch]


@each_arch
def test_parameters_are_float32(arch):
    assert {param.dtype for param in ARCHS[arch](V, U).params()} == {np.dtype(np.float32)}


@each_arch
def test_one_step_gives_a_row_for_each_stream(arch):
    assert new_model(arch)(ids()[0]).shape == (B, V)


@each_arch
def test_a_window_gives_a_row_for_each_step_and_stream(arch):
    assert new_model(arch)(ids()).shape == (T * B, V)


@each_arch
def test_logits_are_float32(arch):
    assert new_model(arch)(ids()).dtype == np.float32


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
def test_ids_may_come_in_a_variable(arch):
    expected = new_model(arch)(ids()).array
    np.testing.assert_array_equal(new_model(arch)(Variable(ids())).array, expected)


@each_arch
def test_values_of_steps_and_window_agree(arch):
    expected = step_by_step(new_model(arch), ids())
    assert_close(new_model(arch)(ids()).array, expected.array)


@each_arch
def test_gradients_of_steps_and_window_agree(arch):
    model = new_model(arch)
    expected = gradients(model, step_by_step(model, ids()))
    model.reset_state()
    assert_gradients_close(gradients(model, model(ids())), expected)


@each_arch
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n_steps=st.integers(1, 6),
    batch=st.integers(1, 5),
    n_vocab=st.integers(1, 12),
    n_units=st.integers(1, 6),
)
def test_steps_and_window_agree_for_any_shape(arch, n_steps, batch, n_vocab, n_units):
    x = ids(n_steps, batch, n_vocab)
    model = new_model(arch, n_vocab, n_units)
    steps = step_by_step(model, x)
    expected = gradients(model, steps)
    model.reset_state()
    window = model(x)
    assert_close(window.array, steps.array)
    assert_gradients_close(gradients(model, window), expected)


@each_arch
def test_values_of_the_first_step_and_of_a_window_of_one_agree(arch):
    expected = new_model(arch)(ids()[0])
    assert_close(new_model(arch)(ids()[:1]).array, expected.array)


@each_arch
def test_gradients_of_the_first_step_and_of_a_window_of_one_agree(arch):
    model = new_model(arch)
    expected = gradients(model, model(ids()[0]))
    model.reset_state()
    assert_gradients_close(gradients(model, model(ids()[:1])), expected)


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
    assert_close(model(x[3:]).array, loop(arch, model, x)[3 * B :])


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
    assert_close(F.concat(logits, axis=0).array, loop(arch, model, x))


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
    assert_close(model(ids(T, B + 2)).array, loop(arch, model, ids(T, B + 2)))


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
    assert_close(model(x[T:]).array, loop(arch, model, x)[T * B :])


@each_arch
def test_resetting_a_copy_leaves_the_state_of_the_original(arch):
    model = new_model(arch)
    x = ids(2 * T)
    model(x[:T])
    model.copy().reset_state()
    assert_close(model(x[T:]).array, loop(arch, model, x)[T * B :])


@each_arch
def test_calling_the_original_leaves_the_state_of_a_copy(arch):
    model = new_model(arch)
    x = ids(2 * T)
    copy = model.copy()
    copy(x[:T])
    model(ids(seed=1))
    assert_close(copy(x[T:]).array, loop(arch, model, x)[T * B :])


@each_arch
def test_a_copy_of_a_classifier_has_its_own_state(arch):
    classifier = L.Classifier(new_model(arch))
    x = ids(2 * T)
    classifier.predictor(x[:T])
    copy = classifier.copy()
    copy.predictor.reset_state()
    copy(ids(seed=1), ids(seed=2).ravel())
    expected = loop(arch, classifier.predictor, x)[T * B :]
    assert_close(classifier.predictor(x[T:]).array, expected)


@each_arch
def test_loss_of_a_stock_classifier_is_the_mean_over_every_prediction(arch):
    classifier = L.Classifier(new_model(arch))
    x, t = ids(), ids(seed=1).ravel()
    logits = loop(arch, classifier.predictor, x)
    losses = [np.log(np.exp(y).sum()) - y[k] for y, k in zip(logits, t, strict=True)]
    assert_close(classifier(x, t).array, np.mean(losses))


@each_arch
def test_accuracy_of_a_stock_classifier_is_the_mean_over_every_prediction(arch):
    classifier = L.Classifier(new_model(arch))
    x, t = ids(), ids(seed=1).ravel()
    logits = loop(arch, classifier.predictor, x)
    t[::2] = logits.argmax(axis=1)[::2]  # so that some are right
    classifier(x, t)
    assert_close(classifier.accuracy.array, (logits.argmax(axis=1) == t).mean())


@each_arch
def test_a_stock_classifier_serves_one_step(arch):
    classifier = L.Classifier(new_model(arch))
    x, t = ids()[0], ids(seed=1)[0]
    logits = loop(arch, classifier.predictor, x[None])
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


STATES = {
    "rnn": lambda model: [model.h],
    "rnn2": lambda model: [model.r1.h, model.r2.h, model.r3.h],
    "rnn3": lambda model: [model.r1.h, model.r2.h, model.r3.h],
    "lstm": lambda model: [model.l1.c, model.l1.h, model.l2.c, model.l2.h],
}


@each_arch
def test_moving_the_model_takes_its_state_along(arch):
    model = new_model(arch)
    model(ids())
    recorder = Recorder()
    model.device_resident_accept(recorder)
    visited = {id(variable) for variable in recorder.variables}
    assert {id(state) for state in STATES[arch](model)} <= visited


@pytest.mark.gpu
@each_arch
def test_a_model_moved_to_the_gpu_goes_on_from_its_state(arch):
    model = new_model(arch)
    x = ids(2 * T)
    expected = loop(arch, model, x)[T * B :]
    model(x[:T])
    model.to_device("@cupy:0")
    logits = model(model.xp.asarray(x[T:]))
    assert_close(chainer.backends.cuda.to_cpu(logits.array), expected)


@each_arch
def test_a_restored_state_goes_on_as_the_saved_one(arch):
    model, other = new_model(arch), new_model(arch)
    x = ids(2 * T)
    expected = loop(arch, model, x)[T * B :]
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
