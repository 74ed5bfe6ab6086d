"""What the recurrences take: wrong types are refused, ids are looked up."""

import chainer
import chainer.functions as F
import numpy as np
import pytest
from chainer import Parameter, Variable
from chainer.utils.type_check import InvalidType
from elman_cases import Case, each_function
from window_cases import (
    SHAPES,
    in_float32,
    with_and_without_state,
    without_first,
    without_last_column,
)

from models.recurrences.elman import ConcatElman, Elman
from models.recurrences.embedding import Embedded


def change_input(name, index, change):
    case = Case(name, SHAPES["usual"])
    case.inputs[index] = change(case.inputs[index])
    return case


def change_param(name, index, change):
    case = Case(name, SHAPES["usual"])
    case.params()[index].array = change(case.params()[index].array)
    return case


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
