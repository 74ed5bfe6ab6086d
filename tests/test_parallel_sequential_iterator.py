import doctest
import tracemalloc

import chainer_compat

import numpy as np
import pytest
from chainer.dataset import Iterator, concat_examples
from chainer.serializers import load_npz, save_npz
from hypothesis import given, settings
from hypothesis import strategies as st

import parallel_sequential_iterator
from parallel_sequential_iterator import ParallelSequentialIterator

lengths = st.integers(1, 40)
batch_sizes = st.integers(1, 50)  # larger than the dataset, too
window_lengths = st.integers(1, 60)
quickly = settings(deadline=None)


class TutorialsIterator:
    """What the tutorial says of its iterator, as plainly as it can be written.

    Each of ``batch_size`` readers starts at its share of the sequence. All move one token a call
    and begin again at the end. A sweep is over when as many tokens were handed out as there are.
    """

    def __init__(self, tokens, batch_size, repeat=True):
        self.tokens = tokens
        self.repeat = repeat
        self.starts = [reader * len(tokens) // batch_size for reader in range(batch_size)]
        self.iteration = 0
        self.epoch = 0
        self.is_new_epoch = False

    def next(self):
        size = len(self.tokens)
        if not self.repeat and self.epoch_detail >= 1:
            raise StopIteration
        pairs = []
        for start in self.starts:
            here = (start + self.iteration) % size
            pairs.append((self.tokens[here], self.tokens[(here + 1) % size]))
        self.iteration += 1
        sweeps = self.iteration * len(self.starts) // size
        self.is_new_epoch = sweeps > self.epoch
        self.epoch = sweeps
        return pairs

    @property
    def epoch_detail(self):
        return self.iteration * len(self.starts) / len(self.tokens)


def state(iterator):
    return {name: getattr(iterator, name) for name in ("iteration", "epoch", "is_new_epoch")} | {
        "epoch_detail": iterator.epoch_detail
    }


def full_state(iterator):
    return state(iterator) | {"previous_epoch_detail": iterator.previous_epoch_detail}


def take(iterator, n_steps):
    return [iterator.next() for _ in range(n_steps)]


def as_lists(window):
    x, t = window
    return x.tolist(), t.tolist()


def window_by_steps(steps):
    """The window ``(x, t)`` that a list of steps, as ``next()`` gives them, amounts to."""
    x = [[current for current, _ in step] for step in steps]
    t = [[following for _, following in step] for step in steps]
    return x, t


class TestSteps:
    def test_streams_start_at_equal_distances(self):
        iterator = ParallelSequentialIterator([10, 11, 12, 13, 14, 15], 3)
        assert iterator.next() == [(10, 11), (12, 13), (14, 15)]

    def test_streams_start_at_rounded_down_places(self):
        iterator = ParallelSequentialIterator([10, 11, 12, 13, 14], 3)
        assert iterator.next() == [(10, 11), (11, 12), (13, 14)]

    def test_streams_move_on_by_a_token(self):
        iterator = ParallelSequentialIterator([10, 11, 12, 13, 14, 15], 2)
        iterator.next()
        assert iterator.next() == [(11, 12), (14, 15)]

    def test_streams_wrap_round_the_end(self):
        iterator = ParallelSequentialIterator([10, 11, 12, 13], 2)
        assert take(iterator, 3)[1:] == [[(11, 12), (13, 10)], [(12, 13), (10, 11)]]

    def test_single_token_follows_itself(self):
        assert ParallelSequentialIterator([7], 2).next() == [(7, 7), (7, 7)]

    def test_is_an_iterator_of_chainer(self):
        assert isinstance(ParallelSequentialIterator([1], 1), Iterator)

    def test_step_is_a_list_of_tuples(self):
        step = ParallelSequentialIterator(np.arange(4), 2).next()
        assert [type(step), *map(type, step)] == [list, tuple, tuple]

    def test_chainer_makes_int32_arrays_of_int32_tokens(self):
        step = ParallelSequentialIterator(np.arange(4, dtype=np.int32), 2).next()
        assert [array.dtype for array in concat_examples(step)] == [np.int32, np.int32]

    def test_for_loop_stops_when_every_token_has_been_visited(self):
        iterator = ParallelSequentialIterator([1, 2, 3, 4, 5], 2, repeat=False)
        assert list(iterator) == [[(1, 2), (3, 4)], [(2, 3), (4, 5)], [(3, 4), (5, 1)]]

    def test_goes_on_unless_told_to_stop(self):
        assert len(take(ParallelSequentialIterator([1, 2], 2), 100)) == 100

    @given(lengths, batch_sizes, st.booleans(), st.integers(0, 130))
    @quickly
    def test_equal_the_tutorials(self, length, batch_size, repeat, n_steps):
        tokens = list(range(100, 100 + length))
        ours = ParallelSequentialIterator(tokens, batch_size, repeat)
        tutorials = TutorialsIterator(tokens, batch_size, repeat)
        assert state(ours) == state(tutorials)
        for _ in range(n_steps):
            try:
                expected = tutorials.next()
            except StopIteration:
                with pytest.raises(StopIteration):
                    ours.next()
            else:
                assert ours.next() == expected
            assert state(ours) == state(tutorials)


class TestEpochs:
    def test_epoch_counts_completed_sweeps(self):
        iterator = ParallelSequentialIterator([1, 2, 3, 4, 5], 2)
        epochs = [iterator.epoch for _ in range(6) if iterator.next()]
        assert epochs == [0, 0, 1, 1, 2, 2]

    def test_is_new_epoch_after_the_step_that_completes_a_sweep(self):
        iterator = ParallelSequentialIterator([1, 2, 3, 4, 5], 2)
        flags = [iterator.is_new_epoch for _ in range(6) if iterator.next()]
        assert flags == [False, False, True, False, True, False]

    def test_no_new_epoch_before_the_first_step(self):
        assert ParallelSequentialIterator([1], 1).is_new_epoch is False

    def test_several_sweeps_in_a_step(self):
        iterator = ParallelSequentialIterator([1, 2], 5)
        assert [iterator.epoch for _ in range(3) if iterator.next()] == [2, 5, 7]

    def test_epoch_detail_holds_the_fraction(self):
        iterator = ParallelSequentialIterator([1, 2, 3, 4, 5], 2)
        take(iterator, 4)
        assert iterator.epoch_detail == 1.6

    def test_no_previous_epoch_detail_before_the_first_step(self):
        assert ParallelSequentialIterator([1, 2, 3], 1).previous_epoch_detail is None

    def test_previous_epoch_detail_is_zero_after_the_first_step(self):
        iterator = ParallelSequentialIterator([1, 2, 3], 1)
        iterator.next()
        assert iterator.previous_epoch_detail == 0

    @given(lengths, batch_sizes, st.integers(0, 100))
    @quickly
    def test_previous_epoch_detail_is_that_before_the_last_step(self, length, batch_size, n_steps):
        iterator = ParallelSequentialIterator(list(range(length)), batch_size)
        take(iterator, n_steps)
        before = iterator.epoch_detail
        iterator.next()
        assert iterator.previous_epoch_detail == before


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
        tutorials = TutorialsIterator(list(range(length)), batch_size, repeat)
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


class TestDatasets:
    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64])
    def test_array_of_another_integer_type(self, dtype):
        iterator = ParallelSequentialIterator(np.array([5, 6, 7, 8], dtype), 2)
        assert as_lists(iterator.next_window(2)) == ([[5, 7], [6, 8]], [[6, 8], [7, 5]])

    @pytest.mark.parametrize("kind", [list, tuple])
    def test_sequence_of_python(self, kind):
        iterator = ParallelSequentialIterator(kind([5, 6, 7, 8]), 2)
        assert as_lists(iterator.next_window(2)) == ([[5, 7], [6, 8]], [[6, 8], [7, 5]])

    def test_array_with_gaps(self):
        iterator = ParallelSequentialIterator(np.arange(10)[::-2], 1)
        assert iterator.next_window(5)[0].ravel().tolist() == [9, 7, 5, 3, 1]

    def test_array_of_the_other_byte_order(self):
        iterator = ParallelSequentialIterator(np.array([5, 6], ">i4"), 1)
        assert as_lists(iterator.next_window(2)) == ([[5], [6]], [[6], [5]])

    def test_read_only_array(self):
        tokens = np.arange(4)
        tokens.flags.writeable = False
        assert ParallelSequentialIterator(tokens, 1).next() == [(0, 1)]

    def test_memory_mapped_file(self, tmp_path):
        np.array([5, 6, 7, 8], np.uint16).tofile(tmp_path / "tokens")
        tokens = np.memmap(tmp_path / "tokens", np.uint16, mode="r")
        iterator = ParallelSequentialIterator(tokens, 2)
        assert as_lists(iterator.next_window(2)) == ([[5, 7], [6, 8]], [[6, 8], [7, 5]])

    def test_window_of_a_memory_mapped_file_is_in_memory(self, tmp_path):
        np.arange(8, dtype=np.int32).tofile(tmp_path / "tokens")
        tokens = np.memmap(tmp_path / "tokens", np.int32, mode="r")
        window = ParallelSequentialIterator(tokens, 2).next_window(2)
        assert not any(np.shares_memory(array, tokens) for array in window)

    def test_attribute_is_the_dataset_itself(self):
        tokens = np.arange(4)
        assert ParallelSequentialIterator(tokens, 2).dataset is tokens

    def test_array_is_read_in_place(self):
        tokens = np.arange(4)
        iterator = ParallelSequentialIterator(tokens, 1)
        tokens[1] = 100
        assert iterator.next() == [(0, 100)]

    def test_memory_mapped_file_is_read_in_place(self, tmp_path):
        np.arange(4, dtype=np.int32).tofile(tmp_path / "tokens")
        tokens = np.memmap(tmp_path / "tokens", np.int32, mode="r+")
        iterator = ParallelSequentialIterator(tokens, 1)
        tokens[1] = 100
        assert iterator.next() == [(0, 100)]

    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
    @pytest.mark.parametrize("mapped", [False, True], ids=["array", "memmap"])
    def test_array_is_never_copied_whole(self, tmp_path, dtype, mapped):
        tokens = np.zeros(4_000_000, dtype)
        if mapped:
            tokens.tofile(tmp_path / "tokens")
            tokens = np.memmap(tmp_path / "tokens", dtype, mode="r")
        tracemalloc.start()
        try:
            iterator = ParallelSequentialIterator(tokens, 10, repeat=False)
            iterator.next()
            iterator.next_window(100)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 400_000  # a tenth of the smallest of the datasets

    @pytest.mark.parametrize(
        "tokens",
        [
            np.array([0, 2**31], np.int64),
            np.array([0, 2**31], np.uint32),
            np.array([0, 2**63], np.uint64),
            np.array([0, 2**32], np.int64),  # 0, if the upper half were dropped
            np.array([0, -(2**31) - 1], np.int64),
            np.array([0, 2**31, 2**40], np.int64),  # the first of them
            [0, 2**31],
        ],
        ids=repr,
    )
    def test_token_that_does_not_fit_into_int32_is_named(self, tokens):
        iterator = ParallelSequentialIterator(tokens, 1)
        with pytest.raises(ValueError, match=f"int32.* {tokens[1]}\\b"):
            iterator.next_window(len(tokens))

    @pytest.mark.parametrize("token", [2**31 - 1, -(2**31)])
    def test_token_that_just_fits_into_int32(self, token):
        iterator = ParallelSequentialIterator(np.array([token], np.int64), 1)
        assert as_lists(iterator.next_window(1)) == ([[token]], [[token]])


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


class TestBadArguments:
    @pytest.mark.parametrize("empty", [[], np.zeros(0, np.int32), np.zeros((0, 3), np.int32)])
    def test_empty_dataset(self, empty):
        with pytest.raises(ValueError, match=r"dataset .* empty"):
            ParallelSequentialIterator(empty, 1)

    @pytest.mark.parametrize("shape", [(2, 3), (6, 1), ()], ids=str)
    def test_dataset_that_is_not_one_dimensional(self, shape):
        with pytest.raises(ValueError, match=r"dataset .*one-dimensional"):
            ParallelSequentialIterator(np.zeros(shape, np.int32), 1)

    @pytest.mark.parametrize(
        "tokens",
        [[1.0, 2.0], np.ones(3, np.float32), np.ones(3, bool), ["a", "b"], "ab", [None], [2**70]],
        ids=repr,
    )
    def test_dataset_that_holds_no_integers(self, tokens):
        with pytest.raises(ValueError, match=r"dataset .*integers"):
            ParallelSequentialIterator(tokens, 1)

    @pytest.mark.parametrize("batch_size", [0, -1, 2.5, 2.0, "2", None], ids=repr)
    def test_batch_size_that_is_no_positive_whole_number(self, batch_size):
        with pytest.raises(ValueError, match="batch_size .*" + str(batch_size)):
            ParallelSequentialIterator([1, 2, 3], batch_size)

    @pytest.mark.parametrize("streams", [range(0), range(-1, 1), range(1, 3)])
    def test_streams_that_are_not_of_the_batch(self, streams):
        with pytest.raises(ValueError, match="streams must be some of the 2"):
            ParallelSequentialIterator([1, 2, 3], 2, streams=streams)

    @pytest.mark.parametrize("length", [0, -1, 2.5, 2.0, "2", None], ids=repr)
    def test_length_of_a_window_that_is_no_positive_whole_number(self, length):
        with pytest.raises(ValueError, match="length .*" + str(length)):
            ParallelSequentialIterator([1, 2, 3], 1).next_window(length)

    @pytest.mark.parametrize("length", [0, -1, 2.5])
    def test_window_that_cannot_be_read_leaves_the_iterator_where_it_was(self, length):
        iterator = ParallelSequentialIterator([1, 2, 3], 1)
        iterator.next()
        with pytest.raises(Exception):  # noqa: B017 - which one is the test above's concern
            iterator.next_window(length)
        assert iterator.iteration == 1


class TestReset:
    def test_reads_from_the_start_again(self):
        iterator = ParallelSequentialIterator(list(range(7)), 3)
        take(iterator, 5)
        iterator.reset()
        assert take(iterator, 9) == take(ParallelSequentialIterator(list(range(7)), 3), 9)

    def test_state_is_that_of_a_new_iterator(self):
        iterator = ParallelSequentialIterator(list(range(7)), 3)
        take(iterator, 5)
        iterator.reset()
        assert full_state(iterator) == full_state(ParallelSequentialIterator(list(range(7)), 3))

    def test_reads_again_after_the_end(self):
        iterator = ParallelSequentialIterator([1, 2, 3], 2, repeat=False)
        first = list(iterator)
        iterator.reset()
        assert list(iterator) == first


class TestSerialize:
    @given(lengths, batch_sizes, st.booleans(), st.integers(0, 60))
    @settings(deadline=None, max_examples=30)
    def test_restored_iterator_goes_on_as_if_it_had_not_stopped(
        self, tmp_path_factory, length, batch_size, repeat, n_steps
    ):
        original, restored = (
            ParallelSequentialIterator(np.arange(length), batch_size, repeat) for _ in range(2)
        )
        n_steps = n_steps if repeat else min(n_steps, -(-length // batch_size))
        take(original, n_steps)
        file = tmp_path_factory.getbasetemp() / "iterator.npz"
        save_npz(file, original)
        load_npz(file, restored)
        assert full_state(restored) == full_state(original)
        for _ in range(5):
            assert next(restored, "end") == next(original, "end")
            assert full_state(restored) == full_state(original)

    def test_restored_iterator_has_forgotten_where_it_was(self, tmp_path):
        original, restored = (ParallelSequentialIterator(list(range(9)), 2) for _ in range(2))
        take(original, 3)
        take(restored, 50)
        save_npz(tmp_path / "iterator.npz", original)
        load_npz(tmp_path / "iterator.npz", restored)
        assert full_state(restored) == full_state(original)

    def test_restored_iteration_is_a_plain_int(self, tmp_path):
        iterator = ParallelSequentialIterator([1, 2, 3], 1)
        save_npz(tmp_path / "iterator.npz", iterator)
        load_npz(tmp_path / "iterator.npz", iterator)
        assert type(iterator.iteration) is int

    def test_file_of_the_tutorials_iterator_loads(self, tmp_path):
        tutorials = TutorialsIterator(list(range(9)), 2)
        take(tutorials, 7)
        np.savez(tmp_path / "tutorials.npz", iteration=7, epoch=1)
        ours = ParallelSequentialIterator(list(range(9)), 2)
        load_npz(tmp_path / "tutorials.npz", ours)
        assert take(ours, 5) == take(tutorials, 5)

    def test_file_holds_what_the_tutorials_iterator_reads(self, tmp_path):
        iterator = ParallelSequentialIterator(list(range(9)), 2)
        take(iterator, 12)
        save_npz(tmp_path / "iterator.npz", iterator)
        with np.load(tmp_path / "iterator.npz", allow_pickle=False) as file:
            assert (int(file["iteration"]), int(file["epoch"])) == (12, 2)


def test_examples_in_the_docstrings_run():
    failed, attempted = doctest.testmod(parallel_sequential_iterator)
    assert attempted >= 2 and failed == 0
