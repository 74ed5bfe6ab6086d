import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peer_step_by_step import StepIterator
from parallel_sequential_iterator import ParallelSequentialIterator
from tests.iterating import (
    as_lists,
    batch_sizes,
    full_state,
    lengths,
    quickly,
    window_by_steps,
    window_lengths,
)


class TestWindows:
    def test_rows_are_steps_and_columns_streams(self):
        x, t = ParallelSequentialIterator([10, 11, 12, 13, 14, 15], 2).next_window(3)
        assert x.tolist() == [[10, 13], [11, 14], [12, 15]]
        assert t.tolist() == [[11, 14], [12, 15], [13, 10]]

    def test_next_window_goes_on_where_the_last_ended(self):
        iterator = ParallelSequentialIterator(list(range(20)), 2)
        iterator.next_window(3)
        assert iterator.next_window(2)[0].tolist() == [[3, 13], [4, 14]]

    @given(lengths, batch_sizes, window_lengths)
    @quickly
    def test_shape_is_steps_by_streams(self, length, batch_size, n_steps):
        window = ParallelSequentialIterator(list(range(length)), batch_size).next_window(n_steps)
        assert [array.shape for array in window] == [(n_steps, batch_size)] * 2

    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64])
    def test_type_is_int32_whatever_the_datasets(self, dtype):
        window = ParallelSequentialIterator(np.arange(5, dtype=dtype), 2).next_window(3)
        assert [array.dtype for array in window] == [np.int32, np.int32]

    def test_type_is_int32_for_a_list(self):
        window = ParallelSequentialIterator([1, 2, 3], 2).next_window(3)
        assert [array.dtype for array in window] == [np.int32, np.int32]

    @given(lengths, batch_sizes, st.booleans(), st.lists(window_lengths, max_size=6))
    @quickly
    def test_equal_so_many_steps(self, length, batch_size, repeat, window_lengths):
        by_window, by_steps = (
            ParallelSequentialIterator(np.arange(length), batch_size, repeat) for _ in range(2)
        )
        for n_steps in window_lengths:
            steps = []
            try:
                for _ in range(n_steps):
                    steps.append(by_steps.next())
            except StopIteration:
                pass
            if steps:
                assert as_lists(by_window.next_window(n_steps)) == window_by_steps(steps)
            else:
                with pytest.raises(StopIteration):
                    by_window.next_window(n_steps)
            assert full_state(by_window) == full_state(by_steps)

    @given(lengths, batch_sizes, st.booleans(), st.lists(st.integers(0, 9), max_size=20))
    @quickly
    def test_mix_with_steps(self, length, batch_size, repeat, calls):
        """A number is the length of a window, 0 a call of next(). The reference only steps."""
        ours = ParallelSequentialIterator(np.arange(length), batch_size, repeat)
        tutorials = StepIterator(list(range(length)), batch_size, repeat)
        expected, read = [], []
        for n_steps in calls:
            try:
                for _ in range(n_steps or 1):
                    expected.append(tutorials.next())
            except StopIteration:
                break
        for n_steps in calls:
            try:
                if n_steps:
                    x, t = ours.next_window(n_steps)
                    read += [list(zip(*step, strict=True)) for step in zip(x, t, strict=True)]
                else:
                    read.append(ours.next())
            except StopIteration:
                break
        assert read == expected

    def test_last_one_without_repeat_holds_the_steps_that_are_left(self):
        iterator = ParallelSequentialIterator([1, 2, 3, 4, 5], 1, repeat=False)
        iterator.next_window(3)
        assert as_lists(iterator.next_window(3)) == ([[4], [5]], [[5], [1]])

    def test_last_one_without_repeat_advances_by_the_steps_that_are_left(self):
        iterator = ParallelSequentialIterator([1, 2, 3, 4, 5], 2, repeat=False)
        iterator.next_window(100)
        assert iterator.iteration == 3

    def test_none_is_left_without_repeat_once_every_token_has_been_visited(self):
        iterator = ParallelSequentialIterator([1, 2, 3, 4], 2, repeat=False)
        iterator.next_window(2)
        with pytest.raises(StopIteration):
            iterator.next_window(1)

    def test_none_is_left_ever_after(self):
        iterator = ParallelSequentialIterator([1, 2, 3, 4], 2, repeat=False)
        iterator.next_window(2)
        for _ in range(2):
            with pytest.raises(StopIteration):
                iterator.next_window(1)
        assert iterator.iteration == 2

    def test_longer_than_the_dataset_wraps_round_the_end_again_and_again(self):
        x, t = ParallelSequentialIterator([1, 2, 3], 1).next_window(7)
        assert x.ravel().tolist() == [1, 2, 3, 1, 2, 3, 1]
        assert t.ravel().tolist() == [2, 3, 1, 2, 3, 1, 2]

    def test_far_into_a_training_equals_the_same_place_of_the_first_sweep(self):
        iterator = ParallelSequentialIterator(np.arange(7), 2)
        iterator.iteration = 7 * 10**20 + 5
        assert iterator.next_window(3)[0].tolist() == [[5, 1], [6, 2], [0, 3]]

    @pytest.mark.parametrize("dtype", [np.int32, np.int64])
    def test_writing_into_one_changes_no_later_one(self, dtype):
        tokens = np.arange(6, dtype=dtype)
        iterator = ParallelSequentialIterator(tokens, 2)
        x, _ = iterator.next_window(3)
        x[...] = -1
        assert tokens.tolist() == [0, 1, 2, 3, 4, 5]


class TestSharedStreams:
    @given(lengths, st.integers(2, 12), st.booleans(), st.data())
    @quickly
    def test_side_by_side_are_those_of_one_iterator(self, length, batch_size, repeat, data):
        cut = data.draw(st.integers(1, batch_size - 1))
        shares = range(cut), range(cut, batch_size)
        whole = ParallelSequentialIterator(np.arange(length), batch_size, repeat)
        parts = [
            ParallelSequentialIterator(np.arange(length), batch_size, repeat, streams)
            for streams in shares
        ]
        for n_steps in data.draw(st.lists(st.integers(1, 9), max_size=4)):
            try:
                expected = whole.next_window(n_steps)
            except StopIteration:
                for part in parts:
                    with pytest.raises(StopIteration):
                        part.next_window(n_steps)
                break
            windows = [part.next_window(n_steps) for part in parts]
            for ids, share in zip(expected, zip(*windows, strict=True), strict=True):
                np.testing.assert_array_equal(np.concatenate(share, axis=1), ids)
            assert [full_state(part) for part in parts] == 2 * [full_state(whole)]
