"""``gru``: against a loop in float64, finite differences, and Chainer's own layer and files."""

from itertools import combinations, product

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest
from chainer import Chain, Variable, gradient_check, serializers
from chainer.utils.type_check import InvalidType

from models.gru import GRU, GRURecurrence, gru

# steps, streams, inputs, units
SHAPES = {"usual": (4, 3, 5, 2), "one step": (1, 3, 2, 4), "one stream": (5, 1, 3, 3)}

each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
with_and_without_state = pytest.mark.parametrize(
    "has_state", [True, False], ids=["state", "no state"]
)


def randomised(link):
    """The link with every parameter, biases too, well away from zero."""
    random = np.random.RandomState(0)
    for _, param in sorted(link.namedparams()):
        param.array[...] = random.normal(size=param.shape)
    return link


class Case:
    """Random arguments of ``gru``, and gradients of its outputs."""

    def __init__(self, shape, has_state=True, dtype=np.float64):
        n_steps, batch, n_in, n_units = shape
        with chainer.using_config("dtype", dtype):
            self.layer = randomised(L.StatefulGRU(n_in, n_units))
        random = np.random.RandomState(1)
        shapes = [(n_steps, batch, n_in), (batch, n_units)][: 1 + has_state]
        self.inputs = [random.normal(size=shape).astype(dtype) for shape in shapes]
        shapes = [(n_steps, batch, n_units), (batch, n_units)]
        self.gradients = [random.normal(size=shape).astype(dtype) for shape in shapes]

    def params(self):
        return [param for _, param in sorted(self.layer.namedparams())]

    def __call__(self, x, h=None):
        return gru(x, h, self.layer)

    def stock(self, x, h=None):
        """Chainer's layer, step by step."""
        self.layer.h = h
        outputs = [self.layer(x_t) for x_t in F.separate(x, axis=0)]
        return F.stack(outputs), self.layer.h

    def backward(self, function):
        """Gradient of each input and of each parameter, for the gradients of the outputs."""
        variables = [*map(Variable, self.inputs), *self.params()]
        outputs = function(*variables[: len(self.inputs)])
        for variable in variables:
            variable.cleargrad()
        chainer.backward(outputs, [Variable(g.copy()) for g in self.gradients])
        return [variable.grad for variable in variables]


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def loop(case):
    """One stream and one step at a time, in float64; parameters by their Chainer paths."""
    p = {name: param.array.astype(np.float64) for name, param in case.layer.namedparams()}
    x, *h0 = (array.astype(np.float64) for array in case.inputs)
    hs = np.empty((*x.shape[:2], len(p["/U/b"])))
    for k in range(x.shape[1]):
        h = h0[0][k] if h0 else None
        for t, x_t in enumerate(x[:, k]):
            r, z, a = (p[f"/{name}/W"] @ x_t + p[f"/{name}/b"] for name in ("W_r", "W_z", "W"))
            if h is None:
                h = sigmoid(z) * np.tanh(a)
            else:
                r = sigmoid(r + p["/U_r/W"] @ h + p["/U_r/b"])
                z = sigmoid(z + p["/U_z/W"] @ h + p["/U_z/b"])
                h = (1 - z) * h + z * np.tanh(a + p["/U/W"] @ (r * h) + p["/U/b"])
            hs[t, k] = h
    return hs, hs[-1]


@each_shape
@with_and_without_state
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-13)])
def test_values_are_those_of_a_loop(shape, has_state, dtype, tolerance):
    case = Case(shape, has_state, dtype)
    for ours, expected in zip(case(*case.inputs), loop(case), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours.array, expected, rtol=tolerance, atol=tolerance)


@each_shape
@with_and_without_state
@pytest.mark.parametrize("used", [(True, True), (True, False), (False, True)])
def test_gradients_are_those_of_finite_differences(shape, has_state, used):
    case = Case(shape, has_state)
    gradients = [g if use else None for g, use in zip(case.gradients, used, strict=True)]
    np.random.seed(0)  # of the direction that check_backward tries
    gradient_check.check_backward(
        case, case.inputs, gradients, case.params(), eps=1e-5, atol=1e-8, rtol=1e-6
    )


@each_shape
@with_and_without_state
def test_values_and_gradients_are_those_of_chainers_layer(shape, has_state):
    case = Case(shape, has_state)
    for ours, expected in zip(
        case(*case.inputs), case.stock(*map(Variable, case.inputs)), strict=True
    ):
        np.testing.assert_allclose(ours.array, expected.array, rtol=1e-12, atol=1e-12)
    for ours, expected in zip(case.backward(case), case.backward(case.stock), strict=True):
        expected = 0 if expected is None else expected  # no step of Chainer's used the parameter
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@with_and_without_state
def test_gradients_in_float32_are_those_in_float64(has_state):
    cases = [Case(SHAPES["usual"], has_state, dtype) for dtype in (np.float32, np.float64)]
    for in_32, in_64 in zip(*(case.backward(case) for case in cases), strict=True):
        assert in_32.dtype == np.float32
        np.testing.assert_allclose(in_32, in_64, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_saturated_gates_give_finite_values_and_gradients(size):
    case = Case(SHAPES["usual"], dtype=np.float32)
    case.layer.W_z.b.array[...] = case.layer.W_r.b.array[...] = size
    with np.errstate(all="raise", under="ignore"):
        for array in [*[y.array for y in case(*case.inputs)], *case.backward(case)]:
            assert np.isfinite(array).all()


def test_a_window_is_a_single_function():
    case = Case(SHAPES["usual"])
    outputs = case(*map(Variable, case.inputs))
    assert outputs[0].creator is outputs[1].creator
    assert {variable.creator_node for variable in outputs[0].creator.inputs} == {None}


@with_and_without_state
def test_backward_changes_nothing_and_its_gradients_share_no_memory(has_state):
    # Hooks such as clipping change gradients in place.
    case = Case(SHAPES["usual"], has_state)
    node = case(*map(Variable, case.inputs))[0].creator
    once, again = (node.backward_arrays(*case.gradients) for _ in range(2))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not any(np.shares_memory(*pair) for pair in combinations(once, 2))
    assert not any(np.shares_memory(*pair) for pair in product(once, case.gradients))


def test_the_state_after_the_window_does_not_keep_the_window_in_memory():
    case = Case(SHAPES["usual"])
    assert case(*case.inputs)[1].array.base is None


WRONG_TYPES = {
    "one step for a window": lambda x, h, layer: (x[0], h),
    "window of no steps": lambda x, h, layer: (x[:0], h),
    "float32 window, float64 weights": lambda x, h, layer: (x.astype(np.float32), h),
    "inputs fewer than the weight's": lambda x, h, layer: (x[..., 1:], h),
    "state of too few streams": lambda x, h, layer: (x, h[1:]),
    "state of too few units": lambda x, h, layer: (x, h[:, 1:]),
    "inward weight of too few units": lambda x, h, layer: cut(layer.W_z.W) or (x, h),
    "lateral weight of too few units": lambda x, h, layer: cut(layer.U.W) or (x, h),
    "lateral weight of other units": lambda x, h, layer: narrow(layer.U_z.W) or (x, h),
    "inward bias too short": lambda x, h, layer: cut(layer.W.b) or (x, h),
    "lateral bias too short": lambda x, h, layer: cut(layer.U_r.b) or (x, h),
}


def cut(param):
    param.array = param.array[1:]


def narrow(param):
    param.array = param.array[:, 1:]


@pytest.mark.parametrize("wrong", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_wrong_types_raise_invalid_type(wrong):
    case = Case(SHAPES["usual"])
    arguments = wrong(*case.inputs, case.layer)
    with pytest.raises(InvalidType, match=r"GRU[\s\S]*Expect: in_types"):
        case(*arguments)


def test_too_few_inputs_raise_invalid_type():
    case = Case(SHAPES["usual"])
    with pytest.raises(InvalidType, match=r"GRU[\s\S]*Expect: in_types.size"):
        GRURecurrence().apply([case.inputs[0], *case.params()[:-1]])


class StockGRU(Chain):
    """The architecture as one would write it in Chainer."""

    def __init__(self, n_vocab, n_units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = L.StatefulGRU(n_units, n_units)
            self.l2 = L.Linear(n_units, n_vocab)

    def forward(self, x):
        return self.l2(self.l1(self.embed(x)))


def test_its_files_are_those_of_chainers_layer(tmp_path):
    path = str(tmp_path / "model")
    stock, model = randomised(StockGRU(7, 5)), GRU(7, 5)
    serializers.save_npz(path, stock)
    serializers.load_npz(path, model)
    x = np.array([[0, 6], [3, 3], [5, 1]], np.int32)
    expected = F.concat([stock(x_t) for x_t in x], axis=0)
    np.testing.assert_allclose(model(x).array, expected.array, rtol=1e-5, atol=1e-5)


def test_it_begins_as_chainers_layers_do():
    models = []
    for architecture in (GRU, StockGRU):
        np.random.seed(3)
        models.append(dict(architecture(7, 5).namedparams()))
    ours, stock = models
    assert ours.keys() == stock.keys()
    for path, param in ours.items():
        np.testing.assert_array_equal(param.array, stock[path].array)
