import gc
import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simple_sequence.simple_sequence_dataset import (
    N_VOCABULARY,
    get_shuffled_runs,
    get_simple_sequence,
)
from tests.commands import ROOT


def by_loops(n_vocab, repeat):
    """The definition, read aloud."""
    tokens = []
    for _ in range(repeat):
        for number in range(n_vocab):
            for _ in range(number):
                tokens.append(number)
    return tokens


def lines_run(function, *args):
    """How many lines of Python a call runs, those of the functions it calls included.

    The garbage collector would run whatever is to be done with the garbage of tests before.
    """
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        function(*args)
    finally:
        sys.settrace(before)
        gc.enable()
    return count


def test_vocabulary_of_the_tutorial():
    assert N_VOCABULARY == 10


def test_two_periods_of_a_vocabulary_of_four():
    assert get_simple_sequence(4, 2).tolist() == [1, 2, 2, 3, 3, 3, 1, 2, 2, 3, 3, 3]


def test_smallest_vocabulary():
    assert get_simple_sequence(2, 3).tolist() == [1, 1, 1]


def test_period_of_the_tutorials_vocabulary():
    period = "122333444455555666666777777788888888999999999"
    assert "".join(map(str, get_simple_sequence(10, 1))) == period


def test_hundred_periods_unless_told():
    assert get_simple_sequence(10).shape == (4500,)


@given(st.integers(2, 30), st.integers(1, 8))
@settings(deadline=None)
def test_equals_three_loops(n_vocab, repeat):
    assert get_simple_sequence(n_vocab, repeat).tolist() == by_loops(n_vocab, repeat)


@given(st.integers(2, 40), st.integers(1, 10))
@settings(deadline=None)
def test_length_is_triangular_number_times_repeat(n_vocab, repeat):
    assert len(get_simple_sequence(n_vocab, repeat)) == n_vocab * (n_vocab - 1) // 2 * repeat


@given(st.integers(2, 40), st.integers(2, 10))
@settings(deadline=None)
def test_every_period_is_the_first(n_vocab, repeat):
    period, *others = get_simple_sequence(n_vocab, repeat).reshape(repeat, -1)
    assert all(np.array_equal(period, other) for other in others)


def test_type_is_int32():
    assert get_simple_sequence(5).dtype == np.int32


def test_calls_give_independent_arrays():
    first = get_simple_sequence(5, 1)
    first[:] = 0
    assert get_simple_sequence(5, 1)[0] == 1


@pytest.mark.parametrize("integer", [np.int64, np.int32, np.uint8])
def test_integers_of_numpy_are_whole_numbers(integer):
    assert get_simple_sequence(integer(3), integer(2)).tolist() == [1, 2, 2, 1, 2, 2]


@pytest.mark.parametrize("n_vocab", [1, 0, -1, -10])
def test_vocabulary_too_small(n_vocab):
    with pytest.raises(ValueError, match=f"^n_vocab must be at least 2, not {n_vocab}$"):
        get_simple_sequence(n_vocab)


@pytest.mark.parametrize("repeat", [0, -1])
def test_too_few_periods(repeat):
    with pytest.raises(ValueError, match=f"^repeat must be at least 1, not {repeat}$"):
        get_simple_sequence(10, repeat)


NOT_WHOLE = [2.5, 3.0, "3", None, [3], np.float32(3), float("nan")]


@pytest.mark.parametrize("n_vocab", NOT_WHOLE, ids=repr)
def test_vocabulary_that_is_no_whole_number(n_vocab):
    with pytest.raises(ValueError) as error:
        get_simple_sequence(n_vocab)
    assert str(error.value) == f"n_vocab must be a whole number, not {n_vocab!r}"


@pytest.mark.parametrize("repeat", NOT_WHOLE, ids=repr)
def test_repeat_that_is_no_whole_number(repeat):
    with pytest.raises(ValueError) as error:
        get_simple_sequence(10, repeat)
    assert str(error.value) == f"repeat must be a whole number, not {repeat!r}"


@pytest.mark.parametrize("few, many", [((10, 2), (10, 500)), ((3, 2), (300, 2))])
def test_work_in_python_does_not_grow_with_the_tokens(few, many):
    get_simple_sequence(*few)  # the first call may import
    assert lines_run(get_simple_sequence, *many) == lines_run(get_simple_sequence, *few)


def test_memory_is_that_of_the_result():
    n_tokens = 10**7
    get_simple_sequence(5)
    tracemalloc.start()
    try:
        tokens = get_simple_sequence(5, n_tokens // 10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tokens) == n_tokens
    assert peak < 1.5 * tokens.nbytes


def test_run_as_a_module_prints_the_sequence():
    process = subprocess.run(
        [sys.executable, "-m", "simple_sequence.simple_sequence_dataset"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == "[1 2 2 ... 9 9 9]\n"


class TestShuffledRuns:
    @given(st.integers(3, 12), st.integers(1, 20), st.integers(0, 2**32 - 1))
    @settings(deadline=None, max_examples=60)
    def test_each_run_is_as_long_as_its_number_says(self, n_vocab, repeat, seed):
        tokens = get_shuffled_runs(n_vocab, repeat, seed)
        assert tokens.dtype == np.int32
        assert len(tokens) == len(get_simple_sequence(n_vocab, repeat))
        runs = [(number, len(list(run))) for number, run in itertools.groupby(tokens)]
        assert all(number == length for number, length in runs[:-1])
        assert runs[-1][1] <= runs[-1][0] < n_vocab

    def test_every_other_number_follows_as_often(self):
        tokens = get_shuffled_runs(5, 4000)
        ends = tokens[:-1] != tokens[1:]
        counts = np.zeros((5, 5))
        np.add.at(counts, (tokens[:-1][ends], tokens[1:][ends]), 1)
        assert counts.sum() == counts[1:, 1:].sum() and np.diag(counts).sum() == 0
        others = counts[1:, 1:][~np.eye(4, dtype=bool)]
        np.testing.assert_allclose(others, others.mean(), rtol=0.1)

    def test_the_same_seed_draws_the_same_and_another_others(self):
        one, same, other = (get_shuffled_runs(6, 9, seed).tolist() for seed in (1, 1, 2))
        assert one == same != other

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [((2, 1), "n_vocab must be at least 3, not 2"), ((5, 0), "repeat must be at least 1")],
    )
    def test_too_little_is_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            get_shuffled_runs(*arguments)
