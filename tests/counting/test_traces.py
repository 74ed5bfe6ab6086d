import chainer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counting.scores import periods
from counting.traces import correlations, position_in_run, record, recurrent_layers
from models import ARCHS

V, U = 6, 8
LAYERS = [
    (arch, n + 1)
    for arch, model in ARCHS.items()
    for n in range(len(recurrent_layers(model(1, 1))))
]
each_layer = pytest.mark.parametrize(("arch", "layer"), LAYERS)
each_arch = pytest.mark.parametrize("arch", ARCHS)


def model_of(arch):
    """A model with parameters so large that the state matters."""
    np.random.seed(1)
    model = ARCHS[arch](V, U)
    for _, param in sorted(model.namedparams()):
        param.array[...] = np.random.uniform(-1, 1, param.shape)
    return model


def read(model, tokens):
    """Logits of a model that reads the tokens as one window from a reset state."""
    model.reset_state()
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        return model(np.asarray(tokens)[:, np.newaxis]).array


class TestRecurrentLayers:
    @pytest.mark.parametrize(("arch", "count"), [("rnn", 1), ("rnn2", 3), ("rnn3", 3), ("lstm", 2)])
    def test_are_as_many_as_the_architecture_has(self, arch, count):
        assert len(recurrent_layers(model_of(arch))) == count

    @pytest.mark.parametrize(("arch", "names"), [("rnn2", "r1 r2 r3"), ("lstm", "l1 l2")])
    def test_stand_from_the_input_to_the_output(self, arch, names):
        assert [link.name for link in recurrent_layers(model_of(arch))] == names.split()

    def test_of_rnn_is_the_model(self):
        model = model_of("rnn")
        assert recurrent_layers(model) == [model]


class TestRecord:
    @each_layer
    def test_states_are_those_after_each_token(self, arch, layer):
        model = model_of(arch)
        tokens = periods(V, 1)
        states, _ = record(model, tokens, layer)
        assert states.shape == (len(tokens), U)
        link = recurrent_layers(model)[layer - 1]
        for step in range(len(tokens)):
            read(model, tokens[: step + 1])
            state = link.c if arch == "lstm" else link.h
            np.testing.assert_allclose(states[step], state.array[0], rtol=1e-5, atol=1e-6)

    @each_arch
    def test_probabilities_are_those_of_the_next_tokens(self, arch):
        model = model_of(arch)
        tokens = periods(V, 2)
        _, probabilities = record(model, tokens, 1)
        exponentials = np.exp(read(model, tokens[:-1]).astype(np.float64))
        expected = exponentials / exponentials.sum(axis=1, keepdims=True)
        expected = expected[np.arange(len(tokens) - 1), tokens[1:]]
        np.testing.assert_allclose(probabilities, expected, rtol=1e-4)

    @each_arch
    def test_does_not_depend_on_what_was_read_before(self, arch):
        model = model_of(arch)
        first, _ = record(model, periods(V, 1), 1)
        read(model, [3, 3, 3])
        second, _ = record(model, periods(V, 1), 1)
        np.testing.assert_array_equal(first, second)

    def test_has_dropout_off(self):
        model = model_of("lstm")
        first, _ = record(model, periods(V, 1), 2)
        model.dropout_ratio = 0.9
        second, _ = record(model, periods(V, 1), 2)
        np.testing.assert_array_equal(first, second)


class TestPositionInRun:
    def test_counts_from_one_anew_in_each_run(self):
        tokens = np.array([1, 2, 2, 3, 3, 3, 1, 2, 2])
        assert position_in_run(tokens).tolist() == [1, 1, 2, 1, 2, 3, 1, 1, 2]

    @given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
    @settings(deadline=None)
    def test_is_the_length_of_the_run_so_far(self, tokens):
        expected = []
        for place, token in enumerate(tokens):
            again = place > 0 and tokens[place - 1] == token
            expected.append(expected[-1] + 1 if again else 1)
        assert position_in_run(np.array(tokens)).tolist() == expected


@pytest.mark.filterwarnings("error")
class TestCorrelations:
    tokens = np.array([1, 2, 2, 3, 3, 3, 4, 4, 4, 4])

    def test_are_pearsons_of_deviations_from_the_mean_of_the_run(self):
        states = np.random.RandomState(0).normal(size=(len(self.tokens), 7))
        expected = []
        for unit in states.T:
            deviations, counts = [], []
            for number in range(1, 5):
                values = unit[self.tokens == number]
                deviations += list(values - values.mean())
                counts += [count - (number + 1) / 2 for count in range(1, number + 1)]
            expected.append(np.corrcoef(deviations, counts)[0, 1])
        np.testing.assert_allclose(correlations(states, self.tokens), expected, rtol=1e-12)

    def test_of_a_counter_and_its_opposite_are_one_wherever_a_run_begins(self):
        position = np.array([1, 1, 2, 1, 2, 3, 1, 2, 3, 4])
        states = np.stack([0.1 * position - self.tokens, 2 - 7 * position], axis=1)
        r = correlations(states.astype(np.float32), self.tokens)
        np.testing.assert_allclose(r, [1, -1], rtol=1e-5)

    def test_of_a_unit_that_only_tells_the_number_is_zero(self):
        states = np.stack([self.tokens, 0.7 * np.sqrt(self.tokens)], axis=1).astype(np.float32)
        assert correlations(states, self.tokens).tolist() == [0, 0]

    def test_of_a_unit_that_changes_by_rounding_only_is_zero(self):
        unit = np.float32(0.7) + np.spacing(np.float32(0.7)) * np.arange(2, dtype=np.float32)
        assert correlations(unit[:, np.newaxis], np.ones(2)).tolist() == [0]

    def test_without_a_run_are_zero(self):
        assert correlations(np.eye(3), np.arange(3)).tolist() == [0, 0, 0]
