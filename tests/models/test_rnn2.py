"""What is particular to ``RNN2``; what holds for all models is in ``test_architectures.py``."""

import chainer.functions as F
import numpy as np
import pytest

from models import RNN2

ACTIVATIONS = {
    "tanh": F.tanh,
    "relu": F.relu,
    "identity": F.identity,
    "leaky_relu": F.leaky_relu,
    "lambda": lambda z: F.sigmoid(z) - 0.5,
}
BLOCKS = ("r1", "r2", "r3")

each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def random_model(n_vocab=7, n_units=5, **options):
    """A model whose every parameter, biases too, is well away from zero."""
    model = RNN2(n_vocab, n_units, **options)
    random = np.random.RandomState(0)
    for _, param in sorted(model.namedparams()):
        param.array[...] = random.normal(0, 0.5, param.shape)
    return model


def stock_steps(model, x, activation):
    """The equations, step by step, through Chainer's own links."""
    states = dict.fromkeys(BLOCKS)
    logits = []
    for x_t in x:
        h = model.embed(x_t)
        for name in BLOCKS:
            a = model[name].l(h)
            if states[name] is not None:
                a += model[name].r(states[name])
            h = states[name] = activation(a)
        logits.append(model.l5(h))
    return F.concat(logits, axis=0), states


def ids(n_steps=4, batch=3):
    return np.random.RandomState(0).randint(7, size=(n_steps, batch)).astype(np.int32)


@each_activation
def test_values_follow_the_activation(activation):
    model = random_model(activation=ACTIVATIONS[activation])
    expected, _ = stock_steps(model, ids(), ACTIVATIONS[activation])
    np.testing.assert_allclose(model(ids()).array, expected.array, rtol=1e-5, atol=1e-5)


@each_activation
def test_gradients_follow_the_activation(activation):
    model = random_model(activation=ACTIVATIONS[activation])
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
    model = RNN2(7, 5, F.relu)
    assert [model[name].activation for name in BLOCKS] == [F.relu] * 3


@pytest.mark.parametrize("name", BLOCKS)
def test_state_of_each_block_is_its_last_output(name):
    model = random_model()
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
def test_first_step_has_no_recurrent_bias(name):
    model = random_model()
    expected = model(ids()[0]).array
    model[name].r.b.array += 1
    model.reset_state()
    np.testing.assert_array_equal(model(ids()[0]).array, expected)


def test_blocks_share_no_parameters():
    model = RNN2(7, 5)
    assert len({id(param.array) for param in model.params()}) == 15


@pytest.mark.parametrize("name", BLOCKS)
def test_weights_of_each_block_begin_as_those_of_chainers_linear(name):
    np.random.seed(0)
    block = RNN2(7, 200)[name]
    for layer in (block.l, block.r):  # normal, of standard deviation 1 / sqrt(200)
        assert abs(layer.W.array.std() * np.sqrt(200) - 1) < 5 / np.sqrt(2) / 200


@pytest.mark.parametrize("name", BLOCKS)
def test_biases_of_each_block_begin_at_zero(name):
    block = RNN2(7, 5)[name]
    np.testing.assert_array_equal([block.l.b.array, block.r.b.array], 0)
