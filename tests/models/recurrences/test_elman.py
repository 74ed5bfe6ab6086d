"""``elman`` and ``concat_elman``: against loops in float64, and finite differences."""

from itertools import combinations, product

import chainer
import chainer.functions as F
import numpy as np
import pytest
from chainer import Variable
from elman_cases import FUSED, Case, check_backward, each_function, each_fused, each_loss
from window_cases import SHAPES, each_shape, with_and_without_state


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
    with pytest.raises(RuntimeError, match="only once"):
        loss.backward(enable_double_backprop=True)
