"""``lstm``: against a loop in float64, finite differences, and Chainer's own layer."""

from itertools import combinations, product

import chainer
import chainer.functions as F
import chainer.links as L
import hypothesis.strategies as st
import numpy as np
import pytest
from chainer import Variable, gradient_check
from chainer.utils.type_check import InvalidType
from hypothesis import given, settings
from window_cases import (
    SHAPES,
    each_shape,
    in_float32,
    with_and_without_state,
    without_first,
    without_last_column,
)

from models.recurrences.lstm import lstm

# Which of the three outputs the loss depends on: those of the steps, cell state, last output.
LOSSES = [used for used in product([True, False], repeat=3) if any(used)]
each_loss = pytest.mark.parametrize("used", LOSSES)


class Case:
    """Random arguments of ``lstm``."""

    def __init__(self, shape, has_state=True, dtype=np.float64):
        random = np.random.RandomState(0)
        n_steps, batch, n_in, n_units = shape

        def normal(*shape):
            return random.normal(size=shape).astype(dtype)

        self.upward = L.Linear(n_in, 4 * n_units)
        self.upward.W.array = normal(4 * n_units, n_in)
        self.upward.b.array = normal(4 * n_units)
        self.lateral = L.Linear(n_units, 4 * n_units, nobias=True)
        self.lateral.W.array = normal(4 * n_units, n_units)
        state = (normal(batch, n_units), normal(batch, n_units))
        self.inputs = [normal(n_steps, batch, n_in), *(state if has_state else ())]
        self.gradients = [
            normal(n_steps, batch, n_units),
            normal(batch, n_units),
            normal(batch, n_units),
        ]

    def params(self):
        return [self.upward.W, self.upward.b, self.lateral.W]

    def __call__(self, x, c=None, h=None):
        return lstm(x, c, h, self.upward, self.lateral)

    def backward(self, function=None):
        """Gradient of each input and of each parameter, for the gradients of the outputs."""
        variables = [*map(Variable, self.inputs), *self.params()]
        outputs = (function or self)(*variables[: len(self.inputs)])
        for variable in variables:
            variable.cleargrad()
        chainer.backward(outputs, [Variable(g.copy()) for g in self.gradients])
        return [variable.grad for variable in variables]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lstm_loop(x, c0, h0, W, b, R):
    """One stream, one step and one unit at a time, in float64."""
    x, W, b, R = (np.asarray(array, np.float64) for array in (x, W, b, R))
    n_steps, batch, _ = x.shape
    n_units = R.shape[1]
    hs = np.empty((n_steps, batch, n_units))
    cs = np.empty((batch, n_units))
    for k in range(batch):
        c = np.zeros(n_units) if c0 is None else c0[k].astype(np.float64)
        h = np.zeros(n_units) if h0 is None else h0[k].astype(np.float64)
        for t in range(n_steps):
            gates = W @ x[t, k] + b + R @ h
            h = np.empty(n_units)
            for u in range(n_units):
                a, i, f, o = gates[4 * u : 4 * u + 4]  # the rows of a unit stand together
                c[u] = sigmoid(i) * np.tanh(a) + sigmoid(f) * c[u]
                h[u] = sigmoid(o) * np.tanh(c[u])
            hs[t, k] = h
        cs[k] = c
    return hs, cs, hs[-1]


def loop(case):
    x, *state = case.inputs
    return lstm_loop(x, *(state or (None, None)), *[param.array for param in case.params()])


def stock_lstm(case, x, c=None, h=None):
    """Step by step through ``L.LSTM`` with the same parameters."""
    dtype = case.inputs[0].dtype
    with chainer.using_config("dtype", dtype):
        layer = L.LSTM(case.upward.W.shape[1], case.lateral.W.shape[1])
    layer.upward.W, layer.upward.b, layer.lateral.W = case.params()
    if c is not None:
        layer.set_state(c, h)
    outputs = [layer(x_t) for x_t in F.separate(x, axis=0)]
    return F.stack(outputs), layer.c, layer.h


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 4),
    has_state=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_forward_agrees_with_a_loop(shape, has_state, dtype):
    case = Case(shape, has_state, dtype)
    tolerance = {np.float32: 1e-5, np.float64: 1e-13}[dtype]
    for ours, expected in zip(case(*case.inputs), loop(case), strict=True):
        assert (ours.shape, ours.dtype) == (expected.shape, dtype)
        np.testing.assert_allclose(ours.array, expected, rtol=tolerance, atol=tolerance)


def check_backward(case, gradients):
    np.random.seed(0)  # of the direction that check_backward tries
    gradient_check.check_backward(
        case, case.inputs, gradients, case.params(), eps=1e-5, atol=1e-8, rtol=1e-6
    )


@each_shape
@with_and_without_state
def test_backward_agrees_with_finite_differences(shape, has_state):
    case = Case(SHAPES[shape], has_state)
    check_backward(case, case.gradients)


@each_loss
def test_backward_of_any_loss_agrees_with_finite_differences(used):
    case = Case(SHAPES["usual"])
    check_backward(case, [g if use else None for g, use in zip(case.gradients, used, strict=True)])


@with_and_without_state
def test_gradients_in_float32_are_those_in_float64(has_state):
    in_32, in_64 = (
        Case(SHAPES["usual"], has_state, dtype).backward() for dtype in (np.float32, np.float64)
    )
    for g_32, g_64 in zip(in_32, in_64, strict=True):
        assert g_32.dtype == np.float32
        np.testing.assert_allclose(g_32, g_64, rtol=1e-4, atol=1e-5)


@with_and_without_state
def test_values_are_those_of_chainers_layer(has_state):
    case = Case(SHAPES["usual"], has_state)
    for ours, expected in zip(
        case(*case.inputs), stock_lstm(case, *map(Variable, case.inputs)), strict=True
    ):
        np.testing.assert_allclose(ours.array, expected.array, rtol=1e-12, atol=1e-12)


@each_shape
@with_and_without_state
def test_gradients_are_those_of_chainers_layer(shape, has_state):
    case = Case(SHAPES[shape], has_state)
    ours = case.backward()
    stock = case.backward(lambda *inputs: stock_lstm(case, *inputs))
    for gradient, expected in zip(ours, stock, strict=True):
        expected = 0 if expected is None else expected  # no step of Chainer's used the parameter
        np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)


def test_without_state_it_begins_from_zeros():
    case = Case((3, 2, 5, 4), has_state=False)
    zeros = np.zeros((2, 4))
    for ours, expected in zip(
        case(*case.inputs), case(*case.inputs, zeros, zeros.copy()), strict=True
    ):
        np.testing.assert_array_equal(ours.array, expected.array)


@pytest.mark.parametrize("given", [1, 2], ids=["cell state", "output"])
def test_half_a_state_is_not_taken_for_none(given):
    case = Case(SHAPES["usual"])
    state = [case.inputs[k] if k == given else None for k in (1, 2)]
    with pytest.raises(AttributeError):
        case(case.inputs[0], *state)


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_saturated_gates_give_finite_values_and_gradients(size):
    case = Case(SHAPES["usual"], dtype=np.float32)
    case.upward.b.array[...] = size
    with np.errstate(all="raise", under="ignore"):
        for array in [*[y.array for y in case(*case.inputs)], *case.backward()]:
            assert np.isfinite(array).all()


def test_a_window_is_a_single_function():
    case = Case(SHAPES["usual"])
    outputs = case(*map(Variable, case.inputs))
    node = outputs[0].creator
    assert [y.creator for y in outputs] == [node] * 3
    assert {variable.creator_node for variable in node.inputs} == {None}


@with_and_without_state
def test_two_windows_in_a_row_give_the_gradients_of_one(has_state):
    def split(x, c=None, h=None):
        first, *between = case(x[:2], c, h)
        second, *last = case(x[2:], *between)
        return F.concat([first, second], axis=0), *last

    case = Case((5, 2, 3, 4), has_state)
    for ours, expected in zip(case.backward(split), case.backward(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@with_and_without_state
def test_gradients_of_two_inputs_share_no_memory(has_state):
    for one, other in combinations(Case(SHAPES["usual"], has_state).backward(), 2):
        assert not np.shares_memory(one, other)


@each_shape
def test_gradients_share_no_memory_with_those_of_the_outputs(shape):
    case = Case(SHAPES[shape])
    node = case(*map(Variable, case.inputs))[0].creator
    for one, other in product(node.backward_arrays(*case.gradients), case.gradients):
        assert not np.shares_memory(one, other)


@pytest.mark.parametrize("output", [1, 2], ids=["cell state", "last output"])
def test_the_state_after_the_window_does_not_keep_the_window_in_memory(output):
    case = Case(SHAPES["usual"])
    assert case(*case.inputs)[output].array.base is None


@with_and_without_state
def test_forward_leaves_its_inputs_alone(has_state):
    case = Case(SHAPES["usual"], has_state)
    arrays = [*case.inputs, *[param.array for param in case.params()]]
    before = [array.copy() for array in arrays]
    case(*case.inputs)
    for array, expected in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, expected)


@each_loss
def test_backward_leaves_the_gradients_of_the_outputs_alone(used):
    case = Case(SHAPES["usual"])
    given = [g if use else None for g, use in zip(case.gradients, used, strict=True)]
    before = [None if g is None else g.copy() for g in given]
    case(*map(Variable, case.inputs))[0].creator.backward_arrays(*given)
    for gradient, expected in zip(given, before, strict=True):
        np.testing.assert_array_equal(gradient, expected)


def test_backward_twice_over_one_graph_gives_the_same():
    case = Case(SHAPES["usual"])
    node = case(*map(Variable, case.inputs))[0].creator
    once, again = (node.backward_arrays(*case.gradients) for _ in range(2))
    for first, second in zip(once, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_input_that_needs_no_gradient_gets_none():
    case = Case(SHAPES["usual"])
    expected = case.backward()[3:]
    inputs = [Variable(array, requires_grad=False) for array in case.inputs]
    for param in case.params():
        param.cleargrad()
    chainer.backward(case(*inputs), [Variable(g) for g in case.gradients])
    assert [variable.grad for variable in inputs] == [None] * 3
    for param, gradient in zip(case.params(), expected, strict=True):
        np.testing.assert_array_equal(param.grad, gradient)


def test_differentiating_twice_raises_runtime_error():
    case = Case(SHAPES["usual"])
    loss = F.sum(case(*map(Variable, case.inputs))[0])
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward(enable_double_backprop=True)


def change_input(index, change):
    case = Case(SHAPES["usual"])
    case.inputs[index] = change(case.inputs[index])
    return case


def change_param(index, change):
    case = Case(SHAPES["usual"])
    case.params()[index].array = change(case.params()[index].array)
    return case


WRONG_TYPES = {
    "window of no steps": (change_input, 0, lambda x: x[:0]),
    "one step for a window": (change_input, 0, lambda x: x[0]),
    "integers": (change_input, 0, lambda x: x.astype(np.int32)),
    "float32 window, float64 weights": (change_input, 0, in_float32),
    "inputs fewer than the weight's": (change_input, 0, without_last_column),
    "cell state of too few streams": (change_input, 1, without_first),
    "cell state of too few units": (change_input, 1, without_last_column),
    "cell state in float32": (change_input, 1, in_float32),
    "cell state of one stream, without axis": (change_input, 1, lambda c: c[0]),
    "output of too few streams": (change_input, 2, without_first),
    "output of too few units": (change_input, 2, without_last_column),
    "output in float32": (change_input, 2, in_float32),
    "output of one stream, without axis": (change_input, 2, lambda h: h[0]),
    "upward weight of too few gates": (change_param, 0, without_first),
    "upward weight in float32": (change_param, 0, in_float32),
    "upward weight a vector": (change_param, 0, lambda W: W[0]),
    "upward bias too short": (change_param, 1, without_first),
    "upward bias in float32": (change_param, 1, in_float32),
    "lateral weight of too few gates": (change_param, 2, without_first),
    "lateral weight of other units": (change_param, 2, without_last_column),
    "lateral weight in float32": (change_param, 2, in_float32),
    "lateral weight a vector": (change_param, 2, lambda R: R[0]),
}


def test_integers_throughout_raise_invalid_type():
    case = Case(SHAPES["usual"], dtype=np.int32)
    with pytest.raises(InvalidType, match=r"LSTM[\s\S]*Expect: in_types"):
        case(*case.inputs)


@pytest.mark.parametrize("wrong", WRONG_TYPES)
def test_wrong_types_raise_invalid_type(wrong):
    change, *arguments = WRONG_TYPES[wrong]
    case = change(*arguments)
    with pytest.raises(InvalidType, match=r"LSTM[\s\S]*Expect: in_types"):
        case(*case.inputs)
