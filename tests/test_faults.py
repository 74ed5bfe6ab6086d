"""What a run survives: being killed, a full disk, a folder that is lost.

The command runs in a process group of its own. Where a fault is to strike at a certain place, the
test starts the real script from a few lines, SABOTEUR, that replace what the operating system
offers; the project knows nothing of them.

The tests marked ``faults`` are the same in the size for a night.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import chainer_compat

import numpy as np
import pytest

from extensions.packed_log import unpack
from models import ARCHS
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
    if mode != "w+b":
        return original_open(path, mode, *rest, **options)
    if strike("open"):
        fail()
    return File(io.FileIO(path, "w+"))

builtins.open = new_open
before(os, "fsync")
before(os, "replace")
sys.argv[:] = sys.argv[4:]
sys.path[0] = os.path.dirname(script)
runpy.run_path(script, run_name="__main__")
"""


def start(folder, *arguments, sabotage=None):
    """Start the training command in ``folder``, in a process group of its own.

    ``sabotage`` is a fault, a step and the how-manyth of these steps it strikes at.
    """
    program = [SCRIPT] if sabotage is None else ["-c", SABOTEUR, *map(str, sabotage), SCRIPT]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    """Wait for a command; give it with the texts of its stdout and stderr and its exit code."""
    out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def train(folder, *arguments, sabotage=None):
    return finish(start(folder, *arguments, sabotage=sabotage))


def wait_until(condition, process=None):
    for _ in range(20_000):
        if condition() or (process and process.poll() is not None):
            return
        time.sleep(0.002)
    pytest.fail("nothing happened for 40 seconds")


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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Folder with the results of a run that nothing disturbs, a snapshot for each update."""
    done = {}

    def run(arch, epochs):
        if (arch, epochs) not in done:
            folder = tmp_path_factory.mktemp(f"{arch}-{epochs}")
            result = train(folder, *SMALL, "-a", arch, "-e", epochs)
            assert (result.returncode, result.stderr) == (0, "")
            done[arch, epochs] = folder / "result"
        return done[arch, epochs]

    return run


class TestKilled:
    @staticmethod
    def kill_at_a_random_moment(folder, arguments, chance):
        """SIGKILL, up to 40 ms after the run has written its next snapshot."""
        process = start(folder, *arguments)
        before = snapshots(folder / "result").keys()
        wait_until(lambda: snapshots(folder / "result").keys() - before, process)
        time.sleep(chance.uniform(0, 0.04))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return finish(process)

    @staticmethod
    def kill_in_a_step(folder, arguments, chance):
        """SIGKILL from within the writing of a file."""
        step, most = chance.choice(
            [("open", 9), ("write", 2000), ("fsync", 18), ("replace", 9), ("after replace", 9)]
        )
        return train(folder, *arguments, sabotage=("SIGKILL", step, chance.randint(1, most)))

    def survive(self, folder, reference, arch, epochs, n_kills, seed):
        chance = random.Random(f"{arch} {seed}")
        arguments = [*SMALL, "-a", arch, "-e", epochs, "-r", "auto"]
        kinds = [self.kill_at_a_random_moment, self.kill_in_a_step, self.kill_in_a_step]
        while n_kills:
            result = kinds[n_kills % 3](folder, arguments, chance)
            assert result.stderr == ""
            n_kills -= result.returncode == -signal.SIGKILL
            if result.returncode == 0:  # it was over before the kill
                assert_same_results(folder / "result", reference, arch)
                shutil.rmtree(folder / "result")
            elif (folder / "result").exists():
                assert_all_whole(folder / "result")
                assert_same_snapshots(folder / "result", reference)
        result = train(folder, *arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert_same_results(folder / "result", reference, arch)
        assert_same_snapshots(folder / "result", reference)
        leftovers = [path for path in (folder / "result").iterdir() if path.suffix == ".tmp"]
        assert not leftovers

    @pytest.mark.parametrize("arch", ARCHS)
    def test_and_restarted_a_run_ends_as_if_undisturbed(self, tmp_path, undisturbed, arch):
        self.survive(tmp_path, undisturbed(arch, 3), arch, epochs=3, n_kills=3, seed=0)

    @pytest.mark.faults
    @pytest.mark.parametrize("arch", ARCHS)
    def test_many_times_a_run_ends_as_if_undisturbed(self, tmp_path, undisturbed, arch):
        self.survive(tmp_path, undisturbed(arch, 12), arch, epochs=12, n_kills=15, seed=1)

    @pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
    def test_while_writing_a_snapshot_the_one_before_is_resumed(self, tmp_path, step):
        count = {"open": 6, "write": 900, "fsync": 11, "replace": 6}[step]
        arguments = [*SMALL, "-e", "1", "-r", "auto"]
        train(tmp_path, *arguments, sabotage=("SIGKILL", step, count))
        newest = max(snapshots(tmp_path / "result"))
        process = start(tmp_path, *arguments)
        wait_until(lambda: max(snapshots(tmp_path / "result")) > newest, process)
        process.terminate()
        assert f"Resuming from result/snapshot_iter_{newest}\n" in finish(process).stdout

    def test_while_writing_leaves_a_temporary_file_that_the_next_run_removes(self, tmp_path):
        arguments = [*SMALL, "-e", "1"]
        train(tmp_path, *arguments, sabotage=("SIGKILL", "replace", 6))
        left = [path for path in (tmp_path / "result").iterdir() if path.name.startswith(".")]
        assert left
        train(tmp_path, *arguments, sabotage=("SIGKILL", "replace", 2))
        assert not [path for path in left if path.exists()]


class TestDisk:
    """Of the storage, that is: where it fails, one line, exit code 1, and all files are kept."""

    @pytest.mark.parametrize("step, count", [("open", 6), ("write", 900), ("fsync", 9)])
    def test_error_while_writing_ends_the_run_in_one_line(self, tmp_path, step, count):
        result = train(tmp_path, *SMALL, "-e", "1", sabotage=("ENOSPC", step, count))
        assert result.returncode == 1
        newest = max(snapshots(tmp_path / "result"))
        assert one_line(result).endswith(
            f"result/snapshot_iter_{newest + 1} cannot be written: No space left on device; "
            f"the last good snapshot is result/snapshot_iter_{newest}"
        )
        assert_all_whole(tmp_path / "result")
        assert not [path for path in (tmp_path / "result").iterdir() if path.suffix == ".tmp"]

    @pytest.fixture
    def small_disk(self, tmp_path):
        """A file system of 400 kB, which takes about 17 snapshots."""
        folder = tmp_path / "result"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a file system cannot be mounted here")
        yield folder
        subprocess.run(["umount", str(folder)], check=True)

    def test_full_and_freed_again_a_run_ends_as_if_undisturbed(
        self, tmp_path, small_disk, undisturbed
    ):
        result = train(tmp_path, *SMALL, "-e", "3", "-r", "auto")
        assert result.returncode == 1
        assert "No space left on device" in one_line(result)
        assert len(snapshots(small_disk)) > 5
        assert_all_whole(small_disk)
        subprocess.run(["mount", "-o", "remount,size=4M", str(small_disk)], check=True)
        assert train(tmp_path, *SMALL, "-e", "3", "-r", "auto").returncode == 0
        assert_same_results(small_disk, undisturbed("rnn", 3), "rnn")

    @pytest.fixture
    def long_run(self, tmp_path):
        """A run that has logged an epoch, and would go on for long."""
        process = start(tmp_path, *SMALL, "-e", "100000")
        wait_until(lambda: (tmp_path / "result" / "log").exists(), process)
        yield process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def test_without_the_folder_ends_the_run_in_one_line(self, tmp_path, long_run):
        (tmp_path / "result").rename(tmp_path / "elsewhere")
        result = finish(long_run)
        assert result.returncode == 1
        assert "cannot be written: No such file or directory" in one_line(result)
        assert_all_whole(tmp_path / "elsewhere")

    def test_turned_read_only_ends_the_run_in_one_line(self, tmp_path, long_run):
        folder = tmp_path / "result"
        if shutil.which("chattr") is None:
            pytest.skip("there is no chattr here")
        if subprocess.run(["chattr", "+i", folder], capture_output=True, check=False).returncode:
            pytest.skip("a folder cannot be made immutable here")
        try:
            result = finish(long_run)
        finally:
            subprocess.run(["chattr", "-i", folder], check=True)
        assert result.returncode == 1
        assert "cannot be written: Operation not permitted" in one_line(result)
        assert_all_whole(folder)
        assert f"the last good snapshot is result/snapshot_iter_{max(snapshots(folder))}" in (
            result.stderr
        )

    def test_read_only_from_a_write_on_ends_the_run_in_one_line(self, tmp_path):
        """As above, where nothing can be made immutable."""
        result = train(tmp_path, *SMALL, "-e", "1", sabotage=("EROFS", "open", 9))
        assert result.returncode == 1
        assert "cannot be written: Read-only file system" in one_line(result)

    def test_refusing_the_model_leaves_a_snapshot_of_the_last_update(self, tmp_path):
        (tmp_path / "result" / "rnn_simple_sequence.model").mkdir(parents=True)
        result = train(tmp_path, *SMALL, "-e", "1")
        assert result.returncode == 1
        assert "rnn_simple_sequence.model cannot be written" in one_line(result)
        assert "the last good snapshot is result/snapshot_iter_13" in one_line(result)

    def test_refusing_a_picture_does_not_end_the_run(self, tmp_path):
        (tmp_path / "result" / "loss.png").mkdir(parents=True)
        result = train(tmp_path, *SMALL, "-e", "1")
        assert result.returncode == 0
        assert result.stderr == "warning: result/loss.png cannot be drawn: Is a directory\n"
        assert_whole(tmp_path / "result" / "accuracy.png")
        assert_whole(tmp_path / "result" / "rnn_simple_sequence.model")


class TestMemory:
    @staticmethod
    def growth(folder, n_updates):
        """Bytes by which a run grows from its first tenth to its end, at 25 tokens an update."""
        arguments = f"-u 5 -b 5 -l 5 --n-vocab 5 --repeat {5 * n_updates // 2} -e 1".split()
        process = start(folder, *arguments, "--snapshot-every", n_updates // 10)
        sizes = []
        for tenth in range(1, 10):
            path = folder / "result" / f"snapshot_iter_{tenth * n_updates // 10}"
            wait_until(path.exists, process)
            status = pathlib.Path(f"/proc/{process.pid}/statm").read_text()
            sizes.append(int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        os.killpg(process.pid, signal.SIGKILL)
        finish(process)
        return max(sizes) - sizes[0]

    pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")

    def test_stays_flat(self, tmp_path):
        assert self.growth(tmp_path, 3000) < 2**20

    @pytest.mark.faults
    def test_stays_flat_for_long(self, tmp_path):
        assert self.growth(tmp_path, 100_000) < 2**20
