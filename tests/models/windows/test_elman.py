"""``elman`` and ``concat_elman``: against loops in float64, and finite differences."""

from itertools import combinations, product

import chainer_compat

import chainer
import chainer.functions as F
import chainer.links as L
import hypothesis.strategies as st
import numpy as np
import pytest
from chainer import Parameter, Variable, gradient_check
from chainer.utils.type_check import InvalidType
from hypothesis import given, settings

from models.windows.elman import ConcatElman, Elman, concat_elman, elman
from models.windows.ends import Embedded


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

# steps, streams, inputs, units
SHAPES = {
    "usual": (4, 3, 5, 2),
    "one step": (1, 3, 2, 4),
    "one stream": (5, 1, 3, 3),
    "ones": [1] * 4,
}

each_fused = pytest.mark.parametrize("activation", FUSED)
each_shape = pytest.mark.parametrize("shape", SHAPES)
with_and_without_state = pytest.mark.parametrize(
    "has_state", [True, False], ids=["state", "no state"]
)
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


@each_function
@each_shape
@with_and_without_state
def test_backward_agrees_with_finite_differences(name, shape, has_state):
    case = Case(name, SHAPES[shape], has_state=has_state)
    check_backward(case, case.gradients)


@each_function
@each_fused
@each_loss
def test_backward_of_any_loss_agrees_with_finite_differences(name, activation, used):
    case = Case(name, SHAPES["usual"], FUSED[activation][0])
    check_backward(case, [g if use else None for g, use in zip(case.gradients, used, strict=True)])


@each_function
@each_fused
def test_gradients_in_float32_are_those_in_float64(name, activation):
    arguments = name, SHAPES["usual"], FUSED[activation][0], True
    in_32, in_64 = (Case(*arguments, dtype=dtype).backward() for dtype in (np.float32, np.float64))
    for g_32, g_64 in zip(in_32, in_64, strict=True):
        assert g_32.dtype == np.float32
        np.testing.assert_allclose(g_32, g_64, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [F.tanh, lambda z: F.tanh(z)], ids=["fused", "plain"])
def test_elman_without_state_has_no_recurrent_bias_on_the_first_step(activation):
    case = Case("elman", (1, 3, 5, 2), activation, has_state=False)
    hs, _ = case(*case.inputs)
    _, recurrent = case.layers
    recurrent.b.array += 1
    with_other_bias, _ = case(*case.inputs)
    np.testing.assert_array_equal(hs.array, with_other_bias.array)


@pytest.mark.parametrize("activation", [F.tanh, lambda z: F.tanh(z)], ids=["fused", "plain"])
def test_concat_elman_without_state_begins_from_zeros(activation):
    case = Case("concat_elman", (3, 2, 5, 4), activation, has_state=False)
    from_none = case(*case.inputs)
    from_zeros = case(*case.inputs, np.zeros((2, 4)))
    for ours, expected in zip(from_none, from_zeros, strict=True):
        np.testing.assert_array_equal(ours.array, expected.array)


@each_function
@with_and_without_state
def test_gradients_of_the_plain_path_are_those_of_the_fused(name, has_state):
    gradients = [
        Case(name, SHAPES["usual"], function, has_state).backward()
        for function in (F.tanh, lambda z: F.tanh(z))
    ]
    for ours, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@each_function
@each_fused
def test_a_fused_window_is_a_single_function(name, activation):
    case = Case(name, SHAPES["usual"], FUSED[activation][0])
    outputs, last = case(*map(Variable, case.inputs))
    assert outputs.creator is last.creator
    assert {variable.creator_node for variable in outputs.creator.inputs} == {None}


@each_function
@with_and_without_state
def test_two_windows_in_a_row_give_the_gradients_of_one(name, has_state):
    def split(x, h=None):
        first, between = case(x[:2], h)
        second, last = case(x[2:], between)
        return F.concat([first, second], axis=0), last

    case = Case(name, (5, 2, 3, 4), has_state=has_state)
    expected = case.backward()
    variables = [*map(Variable, case.inputs), *case.params()]
    for variable in variables:
        variable.cleargrad()
    outputs = split(*variables[: len(case.inputs)])
    chainer.backward(outputs, [Variable(g) for g in case.gradients])
    for variable, gradient in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.grad, gradient, rtol=1e-12, atol=1e-12)


@each_function
@with_and_without_state
def test_gradients_of_two_inputs_share_no_memory(name, has_state):
    case = Case(name, SHAPES["usual"], has_state=has_state)
    for one, other in combinations(case.backward(), 2):
        assert not np.shares_memory(one, other)


@each_function
@each_shape
def test_gradients_share_no_memory_with_those_of_the_outputs(name, shape):
    case = Case(name, SHAPES[shape])
    node = case(*map(Variable, case.inputs))[0].creator
    for one, other in product(node.backward_arrays(*case.gradients), case.gradients):
        assert not np.shares_memory(one, other)


@each_function
@each_fused
def test_forward_leaves_its_inputs_alone(name, activation):
    case = Case(name, SHAPES["usual"], FUSED[activation][0])
    arrays = [*case.inputs, *[param.array for param in case.params()]]
    before = [array.copy() for array in arrays]
    case(*case.inputs)
    for array, expected in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, expected)


@each_function
@each_loss
def test_backward_leaves_the_gradients_of_the_outputs_alone(name, used):
    case = Case(name, SHAPES["usual"])
    given = [g if use else None for g, use in zip(case.gradients, used, strict=True)]
    before = [None if g is None else g.copy() for g in given]
    node = case(*map(Variable, case.inputs))[0].creator
    node.backward_arrays(*given)
    for gradient, expected in zip(given, before, strict=True):
        np.testing.assert_array_equal(gradient, expected)


@each_function
def test_the_state_after_the_window_does_not_keep_the_window_in_memory(name):
    case = Case(name, SHAPES["usual"])
    _, last = case(*case.inputs)
    assert last.array.base is None


@each_function
def test_backward_twice_over_one_graph_gives_the_same(name):
    case = Case(name, SHAPES["usual"])
    node = case(*map(Variable, case.inputs))[0].creator
    once, again = (node.backward_arrays(*case.gradients) for _ in range(2))
    for first, second in zip(once, again, strict=True):
        np.testing.assert_array_equal(first, second)


@each_function
def test_an_input_that_needs_no_gradient_gets_none(name):
    case = Case(name, SHAPES["usual"])
    expected = case.backward()[len(case.inputs) :]
    x, h = (Variable(array, requires_grad=False) for array in case.inputs)
    for param in case.params():
        param.cleargrad()
    chainer.backward(case(x, h), [Variable(g) for g in case.gradients])
    assert x.grad is None
    assert h.grad is None
    for param, gradient in zip(case.params(), expected, strict=True):
        np.testing.assert_array_equal(param.grad, gradient)


@each_function
def test_differentiating_twice_raises_runtime_error(name):
    case = Case(name, SHAPES["usual"])
    x = Variable(case.inputs[0])
    loss = F.sum(case(x, case.inputs[1])[0])
    with pytest.raises(RuntimeError, match="once only"):
        loss.backward(enable_double_backprop=True)


def change_input(name, index, change):
    case = Case(name, SHAPES["usual"])
    case.inputs[index] = change(case.inputs[index])
    return case


def change_param(name, index, change):
    case = Case(name, SHAPES["usual"])
    case.params()[index].array = change(case.params()[index].array)
    return case


def in_float32(array):
    return array.astype(np.float32)


def without_first(array):
    return array[1:]


def without_last_column(array):
    return array[..., :-1]


WRONG_TYPES = {
    "window of no steps": (change_input, "elman", 0, lambda x: x[:0]),
    "one step for a window": (change_input, "elman", 0, lambda x: x[0]),
    "integers": (change_input, "elman", 0, lambda x: x.astype(np.int32)),
    "float32 window, float64 weights": (change_input, "elman", 0, in_float32),
    "inputs fewer than the weight's": (change_input, "elman", 0, without_last_column),
    "state of too few streams": (change_input, "elman", 1, without_first),
    "state of too few units": (change_input, "elman", 1, without_last_column),
    "state in float32": (change_input, "elman", 1, in_float32),
    "state of one stream, without axis": (change_input, "elman", 1, lambda h: h[0]),
    "state with an axis of time": (change_input, "elman", 1, lambda h: h[None]),
    "inward bias too short": (change_param, "elman", 1, without_first),
    "inward bias in float32": (change_param, "elman", 1, in_float32),
    "inward bias as a column": (change_param, "elman", 1, lambda b: b[:, None]),
    "recurrent weight not square": (change_param, "elman", 2, without_last_column),
    "recurrent weight of other units": (change_param, "elman", 2, lambda R: R[1:, 1:]),
    "recurrent weight in float32": (change_param, "elman", 2, in_float32),
    "recurrent weight a vector": (change_param, "elman", 2, lambda R: R[0]),
    "recurrent bias too short": (change_param, "elman", 3, without_first),
    "recurrent bias in float32": (change_param, "elman", 3, in_float32),
    "joined: window of no steps": (change_input, "concat_elman", 0, lambda x: x[:0]),
    "joined: one step for a window": (change_input, "concat_elman", 0, lambda x: x[0]),
    "joined: integers": (change_input, "concat_elman", 0, lambda x: x.astype(np.int32)),
    "joined: float32 window": (change_input, "concat_elman", 0, in_float32),
    "joined: inputs too few": (change_input, "concat_elman", 0, without_last_column),
    "joined: state of too few streams": (change_input, "concat_elman", 1, without_first),
    "joined: state of too few units": (change_input, "concat_elman", 1, without_last_column),
    "joined: state in float32": (change_input, "concat_elman", 1, in_float32),
    "joined: state without axis": (change_input, "concat_elman", 1, lambda h: h[0]),
    "joined: bias too short": (change_param, "concat_elman", 1, without_first),
    "joined: bias in float32": (change_param, "concat_elman", 1, in_float32),
    "joined: weight not square": (change_param, "concat_elman", 0, without_last_column),
    "joined: weight a vector": (change_param, "concat_elman", 0, lambda W: W[0]),
}


@each_function
def test_integers_throughout_raise_invalid_type(name):
    case = Case(name, SHAPES["usual"], dtype=np.int32)
    with pytest.raises(InvalidType, match=r"Elman[\s\S]*Expect: in_types"):
        case(*case.inputs)


@pytest.mark.parametrize("wrong", WRONG_TYPES)
def test_wrong_types_raise_invalid_type(wrong):
    change, *arguments = WRONG_TYPES[wrong]
    case = change(*arguments)
    with pytest.raises(InvalidType, match=r"Elman[\s\S]*Expect: in_types"):
        case(*case.inputs)


@pytest.mark.parametrize(
    ("name", "function", "n_inputs"),
    [("elman", Elman, 4), ("concat_elman", ConcatElman, 3), ("concat_elman", ConcatElman, 5)],
)
def test_a_wrong_number_of_inputs_raises_invalid_type(name, function, n_inputs):
    case = Case(name, SHAPES["usual"])
    x, h = case.inputs
    with pytest.raises(InvalidType, match=r"Elman[\s\S]*Expect: in_types.size"):
        function(None).apply([x, *case.params(), h, h][:n_inputs])


class TestEmbedded:
    """Ids that a layer looks up after projecting, against the vectors that they stand for."""

    @each_function
    @with_and_without_state
    @pytest.mark.parametrize("n_vocab", [3, 12, 20], ids=["few", "as many", "many words"])
    def test_gives_what_its_vectors_give(self, name, has_state, n_vocab):
        case = Case(name, (4, 3, 5, 2), has_state=has_state)
        random = np.random.RandomState(1)
        ids = random.randint(n_vocab, size=(4, 3))
        W = Parameter(random.normal(size=(n_vocab, 5)))
        gradients = [Variable(g) for g in case.gradients]
        taken = []
        for x in (Embedded(ids, W), F.embed_id(ids, W)):
            state = list(map(Variable, case.inputs[1:]))
            variables = [W, *state, *case.params()]
            for variable in variables:
                variable.cleargrad()
            outputs = case(x, *state)
            chainer.backward(outputs, gradients)
            taken.append([y.array for y in outputs] + [variable.grad for variable in variables])
        for ours, expected in zip(*taken, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)

    @each_function
    def test_projects_the_words_where_they_are_few(self, name, monkeypatch):
        monkeypatch.setattr(Embedded, "window", None)
        Case(name, (4, 3, 5, 2))(Embedded(np.zeros((4, 3), int), Parameter(np.zeros((12, 5)))))

    @each_function
    def test_with_an_id_beyond_the_vocabulary_raises_index_error(self, name):
        with pytest.raises(IndexError):
            Case(name, (4, 3, 5, 2))(Embedded(np.full((4, 3), 12), Parameter(np.zeros((12, 5)))))

    @each_function
    def test_whose_streams_are_not_those_of_the_state_raises_invalid_type(self, name):
        case = Case(name, (4, 3, 5, 2))
        with pytest.raises(InvalidType):
            case(
                Embedded(np.zeros((4, 2), int), Parameter(np.zeros((3, 5)))),
                Variable(case.inputs[1]),
            )
