"""What is particular to ``RNN3``; what holds for all models is in ``test_architectures.py``."""

import chainer.functions as F
import numpy as np
import pytest

from models import RNN3

ACTIVATIONS = {
    "tanh": F.tanh,
    "relu": F.relu,
    "any other": lambda z: F.sigmoid(z) - 0.5,
}
BLOCKS = ("r1", "r2", "r3")

each_activation_and_width = pytest.mark.parametrize(
    "activation, n_recurrent", [("tanh", None), ("tanh", 1), ("relu", 8), ("any other", 3)]
)


def random_model(n_vocab=7, n_units=5, **options):
    """A model whose every parameter, biases too, is well away from zero."""
    model = RNN3(n_vocab, n_units, **options)
    random = np.random.RandomState(0)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.normal(0, 0.4, param.shape)
    return model


def stock_steps(model, x, activation, n_units=5):
    """The equations, step by step, through Chainer's own links."""
    width = model.r1.l.W.shape[0] - n_units
    states = {name: np.zeros((x.shape[1], width), np.float32) for name in BLOCKS}
    logits = []
    for x_t in x:
        h = model.embed(x_t)
        for name in BLOCKS:
            joined = model[name].l(F.concat([h, states[name]], axis=1))
            h, states[name] = activation(joined[:, :n_units]), activation(joined[:, n_units:])
        logits.append(model.l5(h))
    return F.concat(logits, axis=0), states


def ids(n_steps=4, batch=3):
    return np.random.RandomState(0).randint(7, size=(n_steps, batch)).astype(np.int32)


@each_activation_and_width
def test_values_follow_activation_and_width(activation, n_recurrent):
    model = random_model(activation=ACTIVATIONS[activation], n_recurrent=n_recurrent)
    expected, _ = stock_steps(model, ids(), ACTIVATIONS[activation])
    np.testing.assert_allclose(model(ids()).array, expected.array, rtol=1e-5, atol=1e-5)


@each_activation_and_width
def test_gradients_follow_activation_and_width(activation, n_recurrent):
    model = random_model(activation=ACTIVATIONS[activation], n_recurrent=n_recurrent)
    gradients = []
    for logits in (stock_steps(model, ids(), ACTIVATIONS[activation])[0], model(ids())):
        model.cleargrads()
        F.sum(logits**2).backward()
        gradients.append({name: param.grad for name, param in model.namedparams()})
    expected, ours = gradients
    for name, gradient in ours.items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(gradient, expected[name], atol=1e-5 * scale, err_msg=name)


def test_activation_is_tanh_unless_given():
    expected = random_model(activation=F.tanh)(ids())
    np.testing.assert_array_equal(random_model()(ids()).array, expected.array)


def test_activation_may_be_given_by_position():
    model = RNN3(7, 5, F.relu)
    assert [model[name].activation for name in BLOCKS] == [F.relu] * 3


@pytest.mark.parametrize("n_recurrent, width", [(None, 10), (1, 6), (8, 13)])
def test_n_recurrent_sets_the_shape_of_each_block(n_recurrent, width):
    model = RNN3(7, 5, n_recurrent=n_recurrent)
    for layer in (model[name].l for name in BLOCKS):
        assert (layer.W.shape, layer.b.shape) == ((width, width), (width,))


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("n_recurrent", [None, 3])
def test_state_of_each_block_is_the_activation_of_its_last_rows(name, n_recurrent):
    model = random_model(n_recurrent=n_recurrent)
    model(ids())
    _, states = stock_steps(model, ids(), F.tanh)
    np.testing.assert_allclose(model[name].h.array, states[name].array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BLOCKS)
def test_reset_forgets_the_state_of_each_block(name):
    model = random_model()
    model(ids())
    model.reset_state()
    assert model[name].h is None


@pytest.mark.parametrize("name", BLOCKS)
def test_first_step_begins_from_zeros(name):
    model = random_model(n_recurrent=3)
    expected = model(ids()[0]).array
    model.reset_state()
    model[name].h = np.zeros((3, 3), np.float32)
    np.testing.assert_array_equal(model(ids()[0]).array, expected)


def test_blocks_share_no_parameters():
    model = RNN3(7, 5)
    assert len({id(param.array) for param in model.params()}) == 9


@pytest.mark.parametrize("name", BLOCKS)
def test_weights_of_each_block_begin_as_those_of_chainers_linear(name):
    np.random.seed(0)
    W = RNN3(7, 100)[name].l.W.array  # normal, of standard deviation 1 / sqrt(200)
    assert abs(W.std() * np.sqrt(200) - 1) < 5 / np.sqrt(2) / 200


@pytest.mark.parametrize("name", BLOCKS)
def test_biases_of_each_block_begin_at_zero(name):
    np.testing.assert_array_equal(RNN3(7, 5)[name].l.b.array, 0)
