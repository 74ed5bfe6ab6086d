"""Data that somebody changes while a training reads them."""

import os
import shlex

import numpy as np
import pytest

import own_data.mapped_ids
import own_data.sequence_file
from tests.faults.forked import run

OPTIONS = shlex.split("-u 3 -l 5 -b 2 -e 99 --data ids.npy --snapshot-every 5 --keep 2")


def change_after(n_reads, change):
    """Make all arrays large ones, and have one changed before it is read for the n-th time."""

    def prepare():
        own_data.sequence_file._SMALL = 0
        check = own_data.mapped_ids.Watch.check

        def counting_check(watch):
            nonlocal n_reads
            n_reads -= 1
            if n_reads == 0:
                change("ids.npy")
            check(watch)

        own_data.mapped_ids.Watch.check = counting_check

    return prepare


@pytest.mark.parametrize("n_reads", [1, 2, 30, 31])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, 130),
        lambda path: np.save(path, np.full(100, 70)),
    ],
    ids=["shorter", "other ids"],
)
def test_end_the_training_in_one_line_and_nothing_is_lost(tmp_path, change, n_reads):
    np.save(tmp_path / "ids.npy", np.arange(100) % 7)
    os.utime(tmp_path / "ids.npy", (1, 1))
    ended = run("train_simple_sequence.py", OPTIONS, tmp_path, change_after(n_reads, change))
    ended.check(1)
    line = "train_simple_sequence.py: error: ids.npy is no longer what it was when it was opened"
    assert ended.code == 1 and ended.err.startswith(line)
    if n_reads > 2:
        name = ended.err.rpartition("; the last good snapshot is ")[2].strip()
        np.save(tmp_path / "ids.npy", np.arange(100) % 7)
        run("train_simple_sequence.py", [*OPTIONS, "-e", "5", "-r", name], tmp_path).check(0)
