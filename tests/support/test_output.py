"""Where output cannot be written, in a process of its own: what counts is how it ends."""

import os
import subprocess
import sys

import pytest

from tests.commands import ROOT

PROGRAM = """
import sys
from support.command_line import ArgumentParser, CommandError, run_command

def main(argv):
    print("result")
    if "fail" in argv:
        raise CommandError("it broke")
    if "typo" in argv:
        ArgumentParser("what it does").parse_args(["--typo"])

sys.argv[0] = "command.py"
sys.exit(run_command(main, output_matters="matters" in sys.argv))
"""
FULL = "command.py: error: standard output cannot be written: No space left on device\n"
LEFT = 128 + 13  # as SIGPIPE ends other tools


@pytest.fixture
def run():
    """Run the program with some words; give its exit code and what is on stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONUNBUFFERED", None)  # or nothing is left to be written at the end

    def run_program(*words, stdout, stderr=subprocess.PIPE):
        command = [sys.executable, "-c", PROGRAM, *words]
        done = subprocess.run(
            command, stdout=stdout, stderr=stderr, text=True, env=environment, check=False
        )
        return done.returncode, done.stderr

    return run_program


@pytest.fixture
def full():
    with open("/dev/full", "w") as file:
        yield file


@pytest.fixture
def left():
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def unread():
    """A full pipe whose writers are told not to wait."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x")
    except BlockingIOError:
        pass
    yield writer
    os.close(reader)
    os.close(writer)


def test_is_written_before_the_command_ends(run, tmp_path):
    with open(tmp_path / "out", "w") as out:
        assert run(stdout=out) == (0, "")
    assert (tmp_path / "out").read_text() == "result\n"


def test_on_a_full_disk_is_missed_in_one_line(run, full):
    assert run(stdout=full) == (1, FULL)
    assert run("matters", stdout=full) == (1, FULL)


def test_that_nobody_reads_is_missed_by_nobody(run, left):
    assert run(stdout=left) == (0, "")


def test_that_mattered_ends_quietly_once_nobody_reads_on(run, left):
    assert run("matters", stdout=left) == (LEFT, "")


def test_that_is_not_read_is_missed_if_it_mattered(run, unread):
    assert run(stdout=unread) == (0, "")
    code, error = run("matters", stdout=unread)
    assert code == 1
    assert error.endswith("standard output cannot be written: Resource temporarily unavailable\n")


@pytest.mark.parametrize("word, code", [("fail", 1), ("typo", 2)])
def test_of_errors_may_be_lost_but_not_the_exit_code(run, full, left, unread, word, code):
    for stream in full, left, unread:
        assert run(word, stdout=stream, stderr=stream)[0] == code


def test_of_errors_is_written_where_only_the_other_is_lost(run, full):
    assert run("fail", stdout=full) == (1, "command.py: error: it broke\n")
