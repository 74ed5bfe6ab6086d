"""What the tests of both recurrences share: cases, loops in float64, and what to try."""

import chainer
import chainer.functions as F
import chainer.links as L
import hypothesis.strategies as st
import numpy as np
import pytest
from chainer import Variable, gradient_check
from hypothesis import given, settings

from models.recurrences.elman import concat_elman, elman


def relu_loop(z):
    return np.maximum(z, 0)


def identity_loop(z):
    return z


FUSED = {
    "tanh": (F.tanh, np.tanh),
    "relu": (F.relu, relu_loop),
    "identity": (F.identity, identity_loop),
}
ACTIVATIONS = {**FUSED, "any other": (lambda z: F.sin(z) + z, lambda z: np.sin(z) + z)}


each_fused = pytest.mark.parametrize("activation", FUSED)
# Which of the two outputs, those of the steps and the last state, the loss depends on.
each_loss = pytest.mark.parametrize(
    "used", [(True, True), (True, False), (False, True)], ids=["both", "outputs", "last state"]
)


class Case:
    """Random arguments of one of the two functions, and that function."""

    def __init__(self, name, shape, activation=F.tanh, has_state=True, dtype=np.float64):
        random = np.random.RandomState(0)
        self.name, self.activation = name, activation
        n_steps, batch, n_in, n_units = shape
        if name == "elman":
            self.layers = [linear(random, n_in, n_units), linear(random, n_units, n_units)]
            n_out = n_units
        else:
            self.layers = [linear(random, n_in + n_units, n_in + n_units)]
            n_out = n_in
        for layer in self.layers:
            for param in layer.params():
                param.array = param.array.astype(dtype)
        self.inputs = [random.normal(size=(n_steps, batch, n_in)).astype(dtype)]
        if has_state:
            self.inputs.append(random.normal(size=(batch, n_units)).astype(dtype))
        self.gradients = [
            random.normal(size=(n_steps, batch, n_out)).astype(dtype),
            random.normal(size=(batch, n_units)).astype(dtype),
        ]

    def params(self):
        return [param for layer in self.layers for param in (layer.W, layer.b)]

    def __call__(self, x, h=None):
        function = elman if self.name == "elman" else concat_elman
        return function(x, h, *self.layers, self.activation)

    def backward(self):
        """Gradient of each input and of each parameter, for the gradients of the outputs."""
        variables = [*map(Variable, self.inputs), *self.params()]
        outputs = self(*variables[: len(self.inputs)])
        for variable in variables:
            variable.cleargrad()
        chainer.backward(outputs, [Variable(g.copy()) for g in self.gradients])
        return [variable.grad for variable in variables]


def linear(random, n_in, n_out):
    layer = L.Linear(n_in, n_out)
    layer.W.array = random.normal(size=(n_out, n_in)) / np.sqrt(n_in)
    layer.b.array = random.normal(size=n_out)
    return layer


def elman_loop(x, h, W, b, R, c, act):
    """One stream and one step at a time, in float64."""
    x, W, b, R, c = (np.asarray(array, np.float64) for array in (x, W, b, R, c))
    hs = np.empty((*x.shape[:2], len(W)))
    for t, k in np.ndindex(*x.shape[:2]):
        before = hs[t - 1, k] if t > 0 else None if h is None else h[k].astype(np.float64)
        a = W @ x[t, k] + b
        hs[t, k] = act(a if before is None else a + R @ before + c)
    return hs, hs[-1]


def concat_elman_loop(x, h, W, b, act):
    """One stream and one step at a time, in float64."""
    x, W, b = (np.asarray(array, np.float64) for array in (x, W, b))
    n_steps, batch, n_in = x.shape
    ys = np.empty_like(x)
    last = np.zeros((batch, len(W) - n_in))
    if h is not None:
        last[...] = h
    for t, k in np.ndindex(n_steps, batch):
        joined = act(W @ np.concatenate([x[t, k], last[k]]) + b)
        ys[t, k], last[k] = joined[:n_in], joined[n_in:]
    return ys, last


def loop(case, act):
    x, *state = case.inputs
    arrays = [param.array for param in case.params()]
    function = elman_loop if case.name == "elman" else concat_elman_loop
    return function(x, state[0] if state else None, *arrays, act)


each_function = pytest.mark.parametrize("name", ["elman", "concat_elman"])


@each_function
@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 4),
    has_state=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_forward_agrees_with_a_loop(name, shape, has_state, activation, dtype):
    function, act = ACTIVATIONS[activation]
    case = Case(name, shape, function, has_state, dtype)
    tolerance = {np.float32: 1e-5, np.float64: 1e-13}[dtype]
    for ours, expected in zip(case(*case.inputs), loop(case, act), strict=True):
        assert (ours.shape, ours.dtype) == (expected.shape, dtype)
        np.testing.assert_allclose(ours.array, expected, rtol=tolerance, atol=tolerance)


def check_backward(case, gradients):
    np.random.seed(0)  # of the direction that check_backward tries
    gradient_check.check_backward(
        case, case.inputs, gradients, case.params(), eps=1e-5, atol=1e-8, rtol=1e-6
    )
