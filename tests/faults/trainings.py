"""Trainings in processes of their own, where a fault strikes when a test wants it to.

Where it is to strike at a certain place, the real script is started from a few lines, SABOTEUR,
which replace what the operating system offers; the project knows nothing of them. And what there is
to be said of the files that are left.
"""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from extensions.packed_log import unpack
from tests.commands import ROOT

SCRIPT = str(ROOT / "train_simple_sequence.py")
# 270 tokens in windows of 21: 12.9 updates an epoch, so that epochs end inside windows.
SMALL = ["-u", "6", "--repeat", "6", "-b", "3", "-l", "7", "--snapshot-every", "1"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)  # output is to be buffered, as it is for a user

SABOTEUR = """
import builtins, errno, io, os, runpy, signal, sys

fault, step, count, script = sys.argv[1:5]
count = int(count)

def strike(where):
    global count
    count -= where == step
    if where == step and count == 0:
        return True

def fail():
    if fault == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))

def before(module, name):
    original = getattr(module, name)
    def replacement(*arguments):
        if strike(name):
            fail()
        result = original(*arguments)
        if strike("after " + name):
            fail()
        return result
    setattr(module, name, replacement)

class File(io.BufferedRandom):
    def write(self, data):
        if strike("write"):
            super().write(bytes(data)[: len(data) // 2])
            self.flush()
            fail()
        return super().write(data)

original_open = open

def new_open(path, mode="r", *rest, **options):
    if mode != "x+b":
        return original_open(path, mode, *rest, **options)
    if strike("open"):
        fail()
    return File(io.FileIO(path, "x+"))

builtins.open = new_open
before(os, "fsync")
before(os, "replace")
sys.argv[:] = sys.argv[4:]
sys.path[0] = os.path.dirname(script)
runpy.run_path(script, run_name="__main__")
"""


PATIENCE = 600  # seconds for what takes one, because the machine may do twenty things beside it
_started = []


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    """End what a test that has failed has left."""
    yield
    while _started:
        with _started.pop() as process:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def start(folder, *arguments, sabotage=None):
    """Start the training command in ``folder``, in a process group of its own.

    ``sabotage`` is a fault, a step and the how-manyth of these steps it strikes at.
    """
    program = [SCRIPT] if sabotage is None else ["-c", SABOTEUR, *map(str, sabotage), SCRIPT]
    process = subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _started.append(process)
    return process


def finish(process):
    """Wait for a command; give it with the texts of its stdout and stderr and its exit code."""
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def train(folder, *arguments, sabotage=None):
    return finish(start(folder, *arguments, sabotage=sabotage))


def wait_until(condition, process=None):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition() or (process and process.poll() is not None):
            return
        time.sleep(0.002)
    pytest.fail(f"nothing happened for {PATIENCE} seconds")


def snapshots(folder):
    """Path of every snapshot by its iteration."""
    paths = pathlib.Path(folder).glob("snapshot_iter_*")
    return {int(path.name.rsplit("_", 1)[1]): path for path in paths}


def without_time(log):
    """A log in a form that can be compared."""
    return [{**entry, "elapsed_time": None} for entry in log]


def assert_same_arrays(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype, name
        assert actual[name].tobytes() == array.tobytes(), name


def load(path):
    """Arrays of a file, with NumPy's own reader."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def training_state(path):
    """What a snapshot holds that the next update depends on, and the log."""
    arrays = load(path)
    log = without_time(unpack(arrays.pop("extensions/LogReport/_log").tobytes()))
    names = ("updater/", "extensions/LogReport/_summary")
    return {name: array for name, array in arrays.items() if name.startswith(names)}, log


def assert_whole(path):
    """A file is complete, judged without the help of the code that has written it."""
    content = path.read_bytes()
    if path.name == "log":
        assert json.loads(content)
    elif path.suffix == ".png":
        assert content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82"), path
    elif path.suffix == ".dot":
        assert content.startswith(b"digraph") and content.rstrip().endswith(b"}"), path
    else:
        assert content[-64:] == hashlib.sha256(content[:-64]).hexdigest().encode(), path
        load(path)


def assert_all_whole(folder):
    """Every file under a final name is complete."""
    for path in pathlib.Path(folder).iterdir():
        if not path.name.startswith("."):
            assert_whole(path)


def assert_same_snapshots(folder, reference):
    expected = snapshots(reference)
    for iteration, path in snapshots(folder).items():
        state, log = training_state(path)
        expected_state, expected_log = training_state(expected[iteration])
        assert_same_arrays(state, expected_state)
        assert log == expected_log


def assert_same_results(folder, reference, arch):
    """Model and log are those of the undisturbed run, bit by bit."""
    model = f"{arch}_simple_sequence.model"
    assert_same_arrays(load(folder / model), load(reference / model))
    logs = [without_time(json.loads((place / "log").read_text())) for place in (folder, reference)]
    assert logs[0] == logs[1]


def one_line(result):
    """The only line on stderr."""
    (line,) = result.stderr.splitlines()
    assert line.startswith("train_simple_sequence.py: error: ")
    return line
