"""The commands that a training prints do what they say when they are pasted into a shell."""

import os
import subprocess
import sys

import pytest

from support.command_line import path_word, shell_command
from tests.commands import ROOT

SMALL = ["-u", "3", "--repeat", "2", "-e", "1"]


@pytest.mark.parametrize("name", [b"-folder", b"a folder", b"\xff", b"'\xff \\\n", "ü 数".encode()])
def test_work_for_any_name_of_a_folder(tmp_path, name):
    command = [sys.executable, ROOT / "train_simple_sequence.py", *SMALL, b"--out=" + name]
    options = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    printed = subprocess.run(command, **options, check=True).stdout.splitlines()
    for beginning, result in (b"Let it run free: ", b"agree"), (b"Train longer: ", b"Written to"):
        (line,) = [line for line in printed if line.startswith(beginning)]
        paste = ["bash", "-c", line.removeprefix(beginning)]
        done = subprocess.run(paste, **options, check=False)
        assert done.returncode == 0, done.stdout
        assert result in done.stdout
    assert os.listdir(os.fsencode(tmp_path)) == [name]


def test_names_stay_readable_where_they_can():
    assert shell_command(["a", "b c", "ü"]) == "a 'b c' 'ü'"
    assert shell_command([os.fsdecode(b"a-\xff 1")]) == r"$'a-\377\0401'"


def test_a_path_is_no_option():
    assert path_word("-x/a") == "./-x/a"
    assert path_word("x/-a") == "x/-a"
