"""Arrays that somebody changes while they are in use."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import own_data.sequence_file
from own_data.mapped_ids import FileChanged, MappedIds
from own_data.sequence_file import read_sequence
from own_data.vocabulary import IntegerVocabulary
from parallel_sequential_iterator import ParallelSequentialIterator
from tests.commands import ROOT


@pytest.fixture
def path(tmp_path):
    """An array of 0 1 2 0 1 2 ... that was written long ago."""
    path = tmp_path / "ids.npy"
    np.save(path, np.arange(30_000) % 3)
    os.utime(path, (1, 1))
    return path


@pytest.fixture
def ids(path, monkeypatch):
    monkeypatch.setattr(own_data.sequence_file, "_SMALL", 0)
    return read_sequence(str(path), IntegerVocabulary())


def cut(path):
    os.truncate(path, 1000)


def rewrite(path):
    np.save(path, np.full(30_000, 7))


@pytest.mark.parametrize("change", [cut, rewrite])
def test_a_small_one_is_as_it_was(path, change):
    ids = read_sequence(str(path), IntegerVocabulary())
    change(path)
    assert ids.tolist() == 10_000 * [0, 1, 2]


@pytest.mark.parametrize("change", [cut, rewrite])
def test_a_large_one_is_not_read_any_more(path, ids, change):
    iterator = ParallelSequentialIterator(ids[:-3000], batch_size=2)
    iterator.next_window(5)
    change(path)
    message = f"^{re.escape(str(path))} is no longer what it was when it was op"
    for read in iterator.next, lambda: iterator.next_window(5), lambda: ids[20_000]:
        with pytest.raises(FileChanged, match=message):
            read()


@pytest.mark.parametrize("small", [0, 2**26])
def test_one_that_becomes_shorter_while_it_is_checked_is_refused(path, monkeypatch, small):
    monkeypatch.setattr(own_data.sequence_file, "_SMALL", small)

    class Vocabulary(IntegerVocabulary):
        def learn_ids(self, ids):
            cut(path)

    with pytest.raises(FileChanged):
        read_sequence(str(path), Vocabulary())


@pytest.mark.parametrize("change", [os.remove, lambda path: os.replace(path, f"{path}.old")])
def test_one_whose_name_alone_is_gone_stays(path, ids, change):
    change(path)
    assert ids[[0, 1, 29_999]].tolist() == [0, 1, 2]


def test_one_that_cannot_be_asked_for_is_not_read(path, ids, monkeypatch):
    def fail():
        raise OSError("stale file handle")

    monkeypatch.setattr(ids._watch, "_state", fail)
    with pytest.raises(FileChanged):
        ids[[1, 2]]


def test_a_map_gives_what_the_array_holds(path, ids):
    assert isinstance(ids, MappedIds) and not ids.flags.writeable
    expected = np.load(path)
    window = ParallelSequentialIterator(ids, 7).next_window(11)
    of_array = ParallelSequentialIterator(expected, 7).next_window(11)
    for got, right in zip(window, of_array, strict=True):
        assert type(got) is np.ndarray and np.array_equal(got, right)


SIGBUS = """
import os, sys
import own_data.sequence_file
from own_data.vocabulary import IntegerVocabulary
import numpy as np
own_data.sequence_file._SMALL = 0
ids = own_data.sequence_file.read_sequence(sys.argv[1], IntegerVocabulary())
os.truncate(sys.argv[1], 1000)
np.asarray(ids)[20_000]  # as if it had happened after the look at the file
"""


def test_a_disk_that_fails_ends_the_program_with_a_word(path):
    process = subprocess.run(
        [sys.executable, "-c", SIGBUS, path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert process.returncode == -signal.SIGBUS
    assert process.stderr.startswith("Fatal Python error: Bus error")
