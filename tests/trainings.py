"""The training command as a user runs it: in a process of its own, looked at from outside."""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from models import ARCHS
from tests.commands import ROOT

PATIENCE = 600  # seconds for what takes one, because the machine may do twenty things beside it
SCRIPT = str(ROOT / "train_simple_sequence.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # output is to be buffered, as it is for a user
# 270 tokens in windows of 21: 12.9 updates an epoch, so that epochs end inside windows.
SMALL = ["-u", "6", "--repeat", "6", "-b", "3", "-l", "7", "-e", "3"]
LAST = 39  # updates in three such epochs
ENDLESS = [*SMALL, "-e", "100000"]
COLUMNS = (
    "epoch       main/loss   validation/main/loss  main/accuracy  validation/main/accuracy  "
    "elapsed_time"
)

each_arch = pytest.mark.parametrize("arch", ARCHS)


def start(folder, *arguments, **options):
    """Start the command in ``folder``, with its output piped."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = {"env": ENVIRONMENT, **pipes, **options}
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, text=True, **options)


def train(folder, *arguments):
    """Run the command in ``folder``; its output goes into pipes."""
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def succeed(folder, *arguments):
    """Run the command, which is to succeed without complaint; give the lines it prints."""
    result = train(folder, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def fail(folder, *arguments, exit_code):
    """Run the command, which is to fail; give the one line on stderr."""
    result = train(folder, *arguments)
    assert result.returncode == exit_code
    (line,) = result.stderr.splitlines()
    return line


def wait_until(condition, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    pytest.fail(f"nothing happened for {PATIENCE} seconds")


def read_log(folder):
    return json.loads((pathlib.Path(folder) / "log").read_text())


def numbers(folder, arch="rnn"):
    """What two runs have in common if they computed the same, bit by bit."""
    with np.load(pathlib.Path(folder) / f"{arch}_simple_sequence.model") as model:
        arrays = {name: (array.dtype, array.tobytes()) for name, array in model.items()}
    return arrays, [{**entry, "elapsed_time": None} for entry in read_log(folder)]


def snapshots(folder):
    """Iterations of the snapshots in a folder, in order."""
    paths = pathlib.Path(folder).glob("snapshot_iter_*")
    return sorted(int(path.name.removeprefix("snapshot_iter_")) for path in paths)


def parameters(snapshot):
    with np.load(snapshot) as arrays:
        return {name: arrays[name] for name in arrays if name.startswith("updater/model:main")}


def listing(folder):
    """Everything below a folder; of files the last change, which a lock makes in folders."""
    paths = pathlib.Path(folder).rglob("*")
    return {str(path): path.is_file() and path.stat().st_mtime_ns for path in paths}


def is_png(path):
    content = pathlib.Path(path).read_bytes()
    return content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
