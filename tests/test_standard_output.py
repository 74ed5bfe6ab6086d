"""A training whose standard output, or standard error, cannot be written."""

import os
import shlex
import subprocess
import sys

import pytest

from tests.test_on_a_terminal import open_terminal
from tests.trainings import ENVIRONMENT, SCRIPT, SMALL, read_log, start

MODEL = "rnn_simple_sequence.model"


@pytest.fixture
def assert_goes_on(tmp_path):
    """Check that a training comes to its end, with a good code and without a word."""

    def check(process):
        assert (process.wait(100), process.stderr.read()) == (0, "")
        process.stderr.close()
        assert len(read_log(tmp_path / "result")) == 3
        assert (tmp_path / "result" / MODEL).exists()

    return check


def test_a_full_disk_is_told_once_the_training_is_done(tmp_path):
    with open("/dev/full", "w") as full:
        process = start(tmp_path, *SMALL, stdout=full)
        err = process.communicate(timeout=100)[1]
    assert process.returncode == 1
    assert err == (
        "train_simple_sequence.py: error: standard output cannot be written: "
        "No space left on device\n"
    )
    assert (tmp_path / "result" / MODEL).exists()


@pytest.mark.parametrize("last_line", ["GPU", "1 ", "Written"])
def test_a_reader_that_leaves_does_not_end_the_training(tmp_path, assert_goes_on, last_line):
    process = start(tmp_path, *SMALL)
    while not process.stdout.readline().startswith(last_line):
        pass
    process.stdout.close()
    assert_goes_on(process)


def test_a_terminal_that_goes_does_not_end_the_training(tmp_path, assert_goes_on):
    """With a progress bar, which is drawn until the end."""
    master, slave = open_terminal()
    process = start(tmp_path, *SMALL, stdout=slave)
    os.close(slave)
    os.read(master, 1)
    os.close(master)
    assert_goes_on(process)


def test_a_reader_that_does_not_read_does_not_end_the_training(tmp_path, assert_goes_on):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, bytes(1000))
        except BlockingIOError:
            break
    process = start(tmp_path, *SMALL, stdout=writer)
    os.close(writer)
    assert_goes_on(process)
    os.close(reader)


def test_warnings_that_nobody_can_read_do_not_end_the_training(tmp_path):
    (tmp_path / "result" / "loss.png").mkdir(parents=True)
    reader, writer = os.pipe()
    os.close(reader)
    process = start(tmp_path, *SMALL, stderr=writer)
    os.close(writer)
    process.communicate(timeout=100)
    assert process.returncode == 0
    assert (tmp_path / "result" / MODEL).exists()


def test_that_was_closed_from_the_beginning_does_not_matter(tmp_path):
    """As a program is started by some supervisors."""
    command = f"exec {shlex.join([sys.executable, SCRIPT, *SMALL])} -e 1 >&-"
    result = subprocess.run(
        command, shell=True, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")
