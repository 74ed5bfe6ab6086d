import doctest
import tracemalloc

import numpy as np
import pytest
from chainer.dataset import Iterator, concat_examples
from chainer.serializers import load_npz, save_npz
from hypothesis import given, settings
from hypothesis import strategies as st

import parallel_sequential_iterator
from benchmarks.peer_step_by_step import StepIterator
from parallel_sequential_iterator import ParallelSequentialIterator
from tests.iterating import as_lists, batch_sizes, full_state, lengths, quickly, state, take


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
        tutorials = StepIterator(tokens, batch_size, repeat)
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
        tutorials = StepIterator(list(range(9)), 2)
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
