"""``embed`` and ``project``: against indexing and products in float64, and finite differences."""

from itertools import combinations

import chainer.functions as F
import chainer.links as L
import hypothesis.strategies as st
import numpy as np
import pytest
from chainer import Parameter, Variable, gradient_check
from chainer.utils.type_check import InvalidType
from hypothesis import given, settings

from models.recurrences.embedding import Embed, embed, project

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# The gradient of the embedding is computed in one of two ways, by which of them is larger.
VOCABULARIES = {"fewer words than ids": 4, "as many words as ids": 15, "more words than ids": 40}
each_vocabulary = pytest.mark.parametrize("vocabulary", VOCABULARIES)


def embedding_case(n_steps, batch, n_vocab, n_units, dtype=np.float64):
    """Ids, embedding matrix, and a gradient of the window of vectors."""
    random = np.random.RandomState(0)
    x = random.randint(n_vocab, size=(n_steps, batch)).astype(np.int32)
    W = random.normal(size=(n_vocab, n_units)).astype(dtype)
    g = random.normal(size=(n_steps, batch, n_units)).astype(dtype)
    return x, W, g


def embedding_gradient(x, W, g):
    W = Parameter(W)
    e = embed(x, W).window()
    e.grad = g
    e.backward()
    return W.grad


def embedding_gradient_loop(x, W, g):
    """One id at a time, in float64."""
    expected = np.zeros(W.shape)
    for place in np.ndindex(*x.shape):
        expected[x[place]] += g[place]
    return expected


@each_dtype
def test_embedding_of_a_window_is_the_row_of_each_id(dtype):
    x, W, _ = embedding_case(3, 5, 4, 2, dtype)
    e = embed(x, Parameter(W)).window()
    assert e.dtype == dtype
    assert e.shape == (3, 5, 2)
    for t, b in np.ndindex(3, 5):
        np.testing.assert_array_equal(e.array[t, b], W[x[t, b]])


def test_embedding_of_one_step_is_a_window_of_length_one():
    x, W, _ = embedding_case(1, 5, 4, 2)
    step, window = (embed(ids, Parameter(W)).window() for ids in (x[0], x))
    assert step.shape == (1, 5, 2)
    np.testing.assert_array_equal(step.array, window.array)


@pytest.mark.parametrize("integers", [np.int8, np.int16, np.int32, np.int64])
def test_ids_may_be_any_signed_integers(integers):
    x, W, _ = embedding_case(3, 5, 4, 2)
    np.testing.assert_array_equal(
        embed(x.astype(integers), Parameter(W)).window().array,
        embed(x, Parameter(W)).window().array,
    )


def test_ids_may_come_in_a_variable():
    x, W, _ = embedding_case(3, 5, 4, 2)
    np.testing.assert_array_equal(
        embed(Variable(x), Parameter(W)).window().array, embed(x, Parameter(W)).window().array
    )


@each_vocabulary
@each_dtype
def test_gradient_of_the_embedding_is_the_sum_over_the_places_of_an_id(vocabulary, dtype):
    x, W, g = embedding_case(3, 5, VOCABULARIES[vocabulary], 2, dtype)
    gradient = embedding_gradient(x, W, g)
    assert gradient.dtype == dtype
    tolerance = {np.float32: 1e-5, np.float64: 1e-13}[dtype]
    np.testing.assert_allclose(
        gradient, embedding_gradient_loop(x, W, g), rtol=tolerance, atol=tolerance
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 30), st.integers(1, 4)))
def test_gradient_of_the_embedding_for_any_shape(shape):
    x, W, g = embedding_case(*shape)
    np.testing.assert_allclose(
        embedding_gradient(x, W, g), embedding_gradient_loop(x, W, g), rtol=1e-12, atol=1e-12
    )


@each_vocabulary
@pytest.mark.parametrize("only", [0, -1], ids=["first", "last"])
def test_gradient_of_the_embedding_where_all_ids_are_the_same(vocabulary, only):
    x, W, g = embedding_case(3, 5, VOCABULARIES[vocabulary], 2)
    x[...] = range(len(W))[only]
    np.testing.assert_allclose(
        embedding_gradient(x, W, g), embedding_gradient_loop(x, W, g), rtol=1e-12, atol=1e-12
    )


@each_vocabulary
def test_backward_of_the_embedding_agrees_with_finite_differences(vocabulary):
    x, W, g = embedding_case(3, 5, VOCABULARIES[vocabulary], 2)
    np.random.seed(0)  # of the direction that check_backward tries
    gradient_check.check_backward(
        lambda *pair: Embed().apply(pair), (x, W), g, eps=1e-5, atol=1e-8, rtol=1e-6
    )


@each_vocabulary
def test_backward_of_the_embedding_leaves_the_gradient_of_its_output_alone(vocabulary):
    x, W, g = embedding_case(3, 5, VOCABULARIES[vocabulary], 2)
    before = g.copy()
    gradient = embedding_gradient(x, W, g)
    assert not np.shares_memory(gradient, g)
    np.testing.assert_array_equal(g, before)


def test_differentiating_the_embedding_twice_raises_runtime_error():
    x, W, _ = embedding_case(3, 5, 4, 2)
    with pytest.raises(RuntimeError, match="only once"):
        F.sum(embed(x, Parameter(W)).window() ** 2).backward(enable_double_backprop=True)


WRONG_IDS = {
    "no axis": np.array(1, np.int32),
    "three axes": np.zeros((2, 3, 1), np.int32),
    "floating point": np.zeros((2, 3), np.float32),
    "booleans": np.zeros((2, 3), bool),
}


@pytest.mark.parametrize("wrong", WRONG_IDS)
def test_wrong_ids_raise_invalid_type(wrong):
    with pytest.raises(InvalidType, match="Expect: integers"):
        embed(WRONG_IDS[wrong], Parameter(np.zeros((4, 2), np.float32)))


@pytest.mark.parametrize("shape", [(4,), (4, 2, 1)])
def test_an_embedding_that_is_no_matrix_raises_invalid_type(shape):
    with pytest.raises(InvalidType, match=r"Embed[\s\S]*Expect: in_types"):
        embed(np.zeros((2, 3), np.int32), Parameter(np.zeros(shape, np.float32))).window()


def test_an_id_beyond_the_vocabulary_raises_index_error():
    with pytest.raises(IndexError, match="4"):
        embed(np.array([[0, 4]], np.int32), Parameter(np.zeros((4, 2), np.float32))).window()


def output_case(n_steps, batch, n_units, n_vocab, dtype=np.float64):
    """Hidden states, an output layer, and a gradient of the logits."""
    random = np.random.RandomState(0)
    layer = L.Linear(n_units, n_vocab)
    layer.W.array = random.normal(size=(n_vocab, n_units)).astype(dtype)
    layer.b.array = random.normal(size=n_vocab).astype(dtype)
    h = random.normal(size=(n_steps, batch, n_units)).astype(dtype)
    g = random.normal(size=(n_steps * batch, n_vocab)).astype(dtype)
    return h, layer, g


def output_gradients(h, layer, g):
    h = Variable(h)
    layer.cleargrads()
    y = project(h, layer)
    y.grad = g
    y.backward()
    return [h.grad, layer.W.grad, layer.b.grad]


SHAPES = {
    "usual": (3, 4, 2, 5),
    "one step": (1, 4, 2, 5),
    "one stream": (3, 1, 2, 5),
    "ones": [1] * 4,
}
each_shape = pytest.mark.parametrize("shape", SHAPES)


@each_dtype
@each_shape
def test_logits_are_those_of_each_step_and_stream_in_order_of_time(dtype, shape):
    n_steps, batch, _, n_vocab = SHAPES[shape]
    h, layer, _ = output_case(*SHAPES[shape], dtype)
    y = project(Variable(h), layer)
    assert y.dtype == dtype
    assert y.shape == (n_steps * batch, n_vocab)
    W, b = layer.W.array.astype(np.float64), layer.b.array.astype(np.float64)
    tolerance = {np.float32: 1e-5, np.float64: 1e-13}[dtype]
    for t, k in np.ndindex(n_steps, batch):
        row = y.array[t * batch + k]
        np.testing.assert_allclose(row, W @ h[t, k] + b, rtol=tolerance, atol=tolerance)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(shape=st.tuples(*[st.integers(1, 6)] * 4))
def test_logits_for_any_shape_are_those_of_chainers_layer(shape):
    h, layer, _ = output_case(*shape)
    np.testing.assert_allclose(
        project(h, layer).array, layer(h.reshape(-1, shape[2])).array, rtol=1e-12, atol=1e-12
    )


@each_shape
def test_backward_of_the_output_layer_agrees_with_finite_differences(shape):
    h, layer, g = output_case(*SHAPES[shape])
    np.random.seed(0)  # of the direction that check_backward tries
    gradient_check.check_backward(
        lambda h: project(h, layer), h, g, (layer.W, layer.b), eps=1e-5, atol=1e-8, rtol=1e-6
    )


def test_gradients_of_the_output_layer_in_float32_are_those_in_float64():
    in_32, in_64 = (
        output_gradients(*output_case(*SHAPES["usual"], dtype))
        for dtype in (np.float32, np.float64)
    )
    for g_32, g_64 in zip(in_32, in_64, strict=True):
        assert g_32.dtype == np.float32
        np.testing.assert_allclose(g_32, g_64, rtol=1e-4, atol=1e-5)


@each_shape
def test_gradients_of_two_inputs_of_the_output_layer_share_no_memory(shape):
    for one, other in combinations(output_gradients(*output_case(*SHAPES[shape])), 2):
        assert not np.shares_memory(one, other)


@each_shape
def test_gradients_of_the_output_layer_share_no_memory_with_that_of_the_logits(shape):
    h, layer, g = output_case(*SHAPES[shape])
    node = project(Variable(h), layer).creator
    for gradient in node.backward_arrays(g):
        assert not np.shares_memory(gradient, g)


def test_differentiating_the_output_layer_twice_raises_runtime_error():
    h, layer, _ = output_case(*SHAPES["usual"])
    with pytest.raises(RuntimeError, match="only once"):
        F.sum(project(Variable(h), layer)).backward(enable_double_backprop=True)


def in_float32(array):
    return array.astype(np.float32)


WRONG_STATES = {
    "one step for a window": lambda h: h[0],
    "window of no steps": lambda h: h[:0],
    "too few units": lambda h: h[..., :-1],
    "integers": lambda h: h.astype(np.int32),
    "float32, weights in float64": in_float32,
}


@pytest.mark.parametrize("wrong", WRONG_STATES)
def test_wrong_hidden_states_raise_invalid_type(wrong):
    h, layer, _ = output_case(*SHAPES["usual"])
    with pytest.raises(InvalidType, match=r"Project[\s\S]*Expect: in_types"):
        project(WRONG_STATES[wrong](h), layer)


def test_integers_throughout_the_output_layer_raise_invalid_type():
    h, layer, _ = output_case(*SHAPES["usual"], np.int32)
    with pytest.raises(InvalidType, match=r"Project[\s\S]*Expect: in_types"):
        project(h, layer)


WRONG_PARAMS = {
    "weight a vector": ("W", lambda W: W[0]),
    "weight of other units": ("W", lambda W: W[:, 1:]),
    "weight in float32": ("W", in_float32),
    "bias too short": ("b", lambda b: b[1:]),
    "bias as a column": ("b", lambda b: b[:, None]),
    "bias in float32": ("b", in_float32),
}


@pytest.mark.parametrize("wrong", WRONG_PARAMS)
def test_wrong_parameters_of_the_output_layer_raise_invalid_type(wrong):
    h, layer, _ = output_case(*SHAPES["usual"])
    name, change = WRONG_PARAMS[wrong]
    param = getattr(layer, name)
    param.array = change(param.array)
    with pytest.raises(InvalidType, match=r"Project[\s\S]*Expect: in_types"):
        project(h, layer)
