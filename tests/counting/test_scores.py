import chainer
import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from hypothesis import given, settings
from hypothesis import strategies as st

from counting import scores
from counting.scores import first_mistake, free_run, mistakes, periods, run_ends, runs_foreseen
from models import ARCHS

V, U = 5, 12


class Oracle:
    """Knows the sequence, and is wrong at given steps; counts the steps that it reads."""

    def __init__(self, tokens, wrong=()):
        self.tokens = tokens
        self.wrong = set(wrong)
        self.resets = 0
        self.step = 0

    def reset_state(self):
        self.resets += 1
        self.step = 0

    def __call__(self, x):
        assert x.dtype == np.int32 and x.shape[1:] == (1,)
        logits = np.zeros((len(x), self.tokens.max() + 1), np.float32)
        for row, token in zip(logits, x[:, 0], strict=True):
            assert token == self.tokens[self.step]
            following = self.tokens[self.step + 1]
            row[(following + (self.step in self.wrong)) % len(row)] = 1
            self.step += 1
        return chainer.Variable(logits)


def generated_correctly(model, tokens):
    """The honest way: one step at a time, each prediction read in turn, until one is wrong."""
    model.reset_state()
    token = tokens[0]
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        for count, true in enumerate(tokens[1:]):
            token = model(np.array([token], np.int32)).array[0].argmax()
            if token != true:
                return count
    return len(tokens) - 1


def trained(arch):
    """Yield a model again and again while it learns the sequence, until it knows two periods."""
    np.random.seed(0)
    model = L.Classifier(ARCHS[arch](V, U))
    model.predictor.dropout_ratio = 0.1
    optimizer = optimizers.Adam(0.01).setup(model)
    tokens = periods(V, 2)
    for _ in range(1000):
        yield model.predictor
        if free_run(model.predictor, tokens) == len(tokens) - 1:
            return
        model.predictor.reset_state()
        loss = model(tokens[:-1, np.newaxis], tokens[1:])
        model.cleargrads()
        loss.backward()
        optimizer.update()


class TestRunEnds:
    def test_are_where_the_next_token_differs(self):
        tokens = np.array([1, 2, 2, 3, 3, 3, 1])
        ends = run_ends(tokens[:-1, np.newaxis], tokens[1:, np.newaxis])
        assert ends.tolist() == [True, False, True, False, False, True]

    def test_stand_in_order_of_time(self):
        x, t = np.array([[1, 2], [3, 4]]), np.array([[1, 9], [9, 4]])
        assert run_ends(x, t).tolist() == [False, True, True, False]

    @given(st.integers(2, 12), st.integers(1, 4))
    @settings(deadline=None, max_examples=30)
    def test_are_one_for_each_number_of_a_period(self, n_vocab, count):
        tokens = periods(n_vocab, count)
        ends = run_ends(tokens[:-1, np.newaxis], tokens[1:, np.newaxis])
        assert ends.sum() == (count * (n_vocab - 1) if n_vocab > 2 else 0)


class TestRunsForeseen:
    @given(
        st.lists(st.lists(st.integers(1, 2), min_size=6, max_size=6), min_size=1, max_size=3),
        st.lists(st.lists(st.integers(1, 2), min_size=5, max_size=5), min_size=3, max_size=3),
    )
    @settings(deadline=None, max_examples=200)
    def test_equal_a_count_stream_by_stream(self, tokens, written):
        right = total = 0
        for stream, own in zip(tokens, written, strict=False):
            begun = good = False
            for token, following, guess in zip(stream[:-1], stream[1:], own, strict=True):
                good &= (guess != token) == (following != token)
                if following != token:
                    total += begun
                    right += begun and good
                    begun = good = True
        x, t = np.array(tokens)[:, :-1].T, np.array(tokens)[:, 1:].T
        assert runs_foreseen(x, t, np.array(written[: len(tokens)]).T) == (right, total)

    def test_are_those_whose_end_comes_neither_early_nor_late(self):
        tokens = np.array([1, 2, 2, 3, 3, 3, 1, 2, 2, 1])[:, np.newaxis]
        written = np.array([5, 2, 1, 3, 3, 3, 2, 2, 7])[:, np.newaxis]  # the run of 3 is too long
        assert runs_foreseen(tokens[:-1], tokens[1:], written) == (3, 4)


class TestPeriods:
    def test_end_with_the_first_token_of_the_next(self):
        assert periods(4, 2).tolist() == [1, 2, 2, 3, 3, 3, 1, 2, 2, 3, 3, 3, 1]

    def test_are_int32(self):
        assert periods(4, 1).dtype == np.int32


class TestFreeRun:
    @pytest.mark.parametrize("arch", ["rnn", "rnn3"])
    def test_equals_honest_generation_at_every_stage_of_learning(self, arch):
        tokens = periods(V, 2)
        seen = set()
        for model in trained(arch):
            expected = generated_correctly(model, tokens)
            assert free_run(model, tokens) == expected
            seen.add(expected)
        assert len(seen) >= 3 and len(tokens) - 1 in seen

    @given(st.integers(2, 9), st.sets(st.integers(0, 80), max_size=3), st.integers(1, 90))
    @settings(deadline=None, max_examples=60)
    def test_ends_at_the_first_mistake_whatever_the_window(self, n_vocab, wrong, window):
        tokens = periods(n_vocab, 2)
        n_tokens = len(tokens) - 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scores, "_WINDOW", window)
            patch.setattr(scores, "_LONGEST_WINDOW", 2 * window)
            assert free_run(Oracle(tokens, wrong), tokens) == min({*wrong, n_tokens})

    def test_reads_no_window_beyond_the_mistake(self):
        tokens = periods(30, 2)
        oracle = Oracle(tokens, [3])
        first_mistake(oracle, tokens)
        assert oracle.step == 32

    def test_leaves_no_state_behind(self):
        model = ARCHS["rnn"](V, U)
        tokens = periods(V, 2)
        expected = generated_correctly(model, tokens)
        model.reset_state()
        model(np.zeros((3, 7), np.int32))  # another batch size
        assert free_run(model, tokens) == expected
        assert model.h is None

    def test_has_dropout_off(self):
        *_, model = trained("lstm")
        model.dropout_ratio = 0.95
        assert free_run(model, periods(V, 2)) == len(periods(V, 2)) - 1

    def test_keeps_no_graph(self):
        model = ARCHS["rnn"](V, U)
        mistakes(model, periods(V, 1))
        assert model.h.creator is None


def test_first_mistake_goes_on_from_the_present_state():
    tokens = periods(4, 3)
    oracle = Oracle(tokens, [2, 9])
    assert mistakes(oracle, tokens[:7]).tolist() == [False, False, True, False, False, False]
    assert first_mistake(oracle, tokens[6:]) == 3
    assert oracle.resets == 0
