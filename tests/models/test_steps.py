"""Single steps outside of Chainer, against windows and against a layer whose steps are its own."""

import chainer
import chainer.functions as F
import numpy as np
import pytest

from models import ARCHS, RNN, RNN2, RNN3
from models.generation import generate
from models.steps import stepper

V, U = 7, 5
each_arch = pytest.mark.parametrize("arch", ARCHS)
IDS = np.random.RandomState(3).randint(V, size=30).astype(np.int32)


def randomised(model):
    random = np.random.RandomState(1)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.uniform(-1, 1, param.shape)
    return model


def read(model, tokens):
    """Logits of a model that reads the tokens as one window, from the state in which it is."""
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        return model(np.asarray(tokens)[:, np.newaxis]).array


@each_arch
class TestStepper:
    def test_gives_the_logits_of_a_window(self, arch):
        model = randomised(ARCHS[arch](V, U))
        expected = read(model, IDS)
        for first in (1, 12):
            model.reset_state()
            read(model, IDS[:first])
            step = stepper(model)
            actual = [step(token) for token in IDS[first:]]
            np.testing.assert_allclose(actual, expected[first:], rtol=1e-4, atol=1e-5)

    def test_leaves_the_model_as_it_is(self, arch):
        model = randomised(ARCHS[arch](V, U))
        read(model, IDS[:3])
        before = [param.array.copy() for _, param in sorted(model.namedparams())]
        step = stepper(model)
        for token in IDS[:5]:
            step(token)
        for (_, param), array in zip(sorted(model.namedparams()), before, strict=True):
            np.testing.assert_array_equal(param.array, array)
        after = read(model, IDS[3:])
        model.reset_state()
        np.testing.assert_allclose(after, read(model, IDS)[3:], rtol=1e-4, atol=1e-5)

    def test_gives_logits_that_stay(self, arch):
        model = randomised(ARCHS[arch](V, U))
        read(model, IDS[:1])
        step = stepper(model)
        first = step(1)
        copy = first.copy()
        step(2)
        np.testing.assert_array_equal(first, copy)

    def test_computes_in_the_type_of_the_weights(self, arch):
        with chainer.using_config("dtype", np.float64):
            model = randomised(ARCHS[arch](V, U))
        expected = read(model, IDS)
        model.reset_state()
        read(model, IDS[:1])
        step = stepper(model)
        actual = [step(token) for token in IDS[1:]]
        assert actual[0].dtype == expected.dtype
        tolerance = 1e-12 if expected.dtype == np.float64 else 1e-5  # rnn's lstm draws in float32
        np.testing.assert_allclose(actual, expected[1:], rtol=10 * tolerance, atol=tolerance)


def test_of_fewer_recurrent_units():
    model = randomised(RNN3(V, U, n_recurrent=3))
    expected = read(model, IDS)
    model.reset_state()
    read(model, IDS[:1])
    step = stepper(model)
    np.testing.assert_allclose([step(token) for token in IDS[1:]], expected[1:], rtol=1e-4)


class Deaf(RNN):
    """Always of the same opinion."""

    def forward(self, x):
        y = super().forward(x)
        return F.broadcast_to(F.expand_dims(self.l2.b, 0), y.shape)


@pytest.mark.parametrize(
    "model", [RNN2(V, U, F.relu), RNN3(V, U, F.sigmoid), Deaf(V, U)], ids=["relu", "sigmoid", "own"]
)
def test_another_model_takes_its_steps_itself(model):
    randomised(model)
    written = generate(model, [1], 9)
    assert stepper(model) is None
    expected = read(model, written[:-1]).argmax(axis=1)
    np.testing.assert_array_equal(written[1:], expected)


@each_arch
def test_on_the_cpu_no_window_is_read_after_the_prime(arch, monkeypatch):
    model = randomised(ARCHS[arch](V, U))
    n_reads = []
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda *args: n_reads.append(1) or forward(*args))
    generate(model, [1, 2, 3], 20)
    assert len(n_reads) == 1
