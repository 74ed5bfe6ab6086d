"""What is particular to ``RNN``; what holds for all models is in ``test_architectures.py``."""

import numpy as np
import pytest
from chainer import functions as F

from models import RNN


def random_model(n_vocab=7, n_units=5):
    """A model whose every parameter, biases too, is well away from zero."""
    model = RNN(n_vocab, n_units)
    random = np.random.RandomState(0)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.normal(0, 0.7, param.shape)
    return model


def stock_step(model, x, h):
    """One step of the equation through Chainer's own links."""
    a = model.l1(model.embed(x))
    h = F.tanh(a if h is None else a + model.r1(h))
    return model.l2(h), h


def test_first_step_has_no_recurrent_bias():
    model = random_model()
    x = np.array([1, 2, 3], np.int32)
    expected = model(x).array
    model.r1.b.array += 1
    model.reset_state()
    np.testing.assert_array_equal(model(x).array, expected)


def test_second_step_has_the_recurrent_bias():
    model = random_model()
    x = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    _, h = stock_step(model, x[0], None)
    expected, _ = stock_step(model, x[1], h)
    np.testing.assert_allclose(model(x).array[3:], expected.array, rtol=1e-5, atol=1e-5)


def test_state_is_the_last_hidden_state():
    model = random_model()
    x = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    model(x)
    _, h = stock_step(model, x[0], None)
    _, h = stock_step(model, x[1], h)
    np.testing.assert_allclose(model.h.array, h.array, rtol=1e-5, atol=1e-5)


def test_a_new_model_has_no_state():
    assert RNN(7, 5).h is None


@pytest.mark.parametrize("layer", ["l1", "r1", "l2"])
def test_weights_begin_as_those_of_chainers_linear(layer):
    np.random.seed(0)
    W = getattr(RNN(200, 200), layer).W.array  # normal, of standard deviation 1 / sqrt(200)
    assert abs(W.mean()) < 5 / np.sqrt(200) / 200
    assert abs(W.std() * np.sqrt(200) - 1) < 5 / np.sqrt(2) / 200


@pytest.mark.parametrize("layer", ["l1", "r1", "l2"])
def test_biases_begin_at_zero(layer):
    np.testing.assert_array_equal(getattr(RNN(7, 5), layer).b.array, 0)


def test_embedding_begins_as_that_of_chainers_embedid():
    np.random.seed(0)
    W = RNN(200, 200).embed.W.array  # normal, of standard deviation 1
    assert abs(W.mean()) < 5 / 200
    assert abs(W.std() - 1) < 5 / np.sqrt(2) / 200


def test_numpys_seed_decides_the_parameters():
    models = []
    for _ in range(2):
        np.random.seed(3)
        models.append(RNN(7, 5))
    for one, other in zip(*(sorted(model.namedparams()) for model in models), strict=True):
        np.testing.assert_array_equal(one[1].array, other[1].array)
