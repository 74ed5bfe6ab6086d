"""Trainings of two and four processes, for real, against one process that does it all.

A batch of 7 streams, which neither 2 nor 4 divide, whose streams are at different places of the
sequence, and of which a window is an epoch: so the log has an entry for each update.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers

from support.command_line import UsageError
from support.files import read_arrays
from support.processes import Processes
from tests.commands import ROOT
from training.options import parse_arguments

SCRIPT = str(ROOT / "train_simple_sequence.py")
MPIEXEC = shutil.which(
    "mpiexec", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
)
# As it is printed: the one on the PATH needs no folder.
BESIDE = bool(MPIEXEC) and os.path.dirname(MPIEXEC) == os.path.dirname(sys.executable)
PRINTED = MPIEXEC if BESIDE else "mpiexec"
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    # Tests run beside other things: whoever waits is to give its core away.
    "MPIR_CVAR_ENABLE_HEAVY_YIELD": "1",
    "MPIR_CVAR_POLLS_BEFORE_YIELD": "10",
}
# 135 tokens in windows of 7 * 20. An LSTM, because of its dropout.
SMALL = ["-a", "lstm", "-u", "8", "--repeat", "3", "-b", "7", "--lr", "0.01", "--gradclip", "9"]
ENDLESS = [*SMALL, "-e", "100000", "--snapshot-every", "1"]

with_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="there is no MPI; pip install -r requirements/mpi.txt",
)


def start(folder, n_processes, *arguments, environment=ENVIRONMENT):
    """Start a training in ``folder``; without mpiexec if for one process."""
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    if n_processes > 1:
        command = [MPIEXEC, "-n", str(n_processes), *command, "--distributed"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def finish(process):
    """Exit code and what was printed."""
    try:
        out, err = process.communicate(timeout=100)
    finally:
        process.kill()  # which takes the processes of the job along
    return process.returncode, out, err


def train(folder, n_processes, *arguments, **options):
    return finish(start(folder, n_processes, *arguments, **options))


def succeed(folder, n_processes, *arguments):
    code, out, err = train(folder, n_processes, *arguments)
    assert (code, err) == (0, "")
    return out


def log(folder):
    entries = json.loads((folder / "result" / "log").read_text())
    return [{**entry, "elapsed_time": 0} for entry in entries]


def assert_same_training(folder, expected_folder):
    """Check that every entry of the logs and every parameter and state agree to 1e-4."""
    entries, expected = log(folder), log(expected_folder)
    assert len(entries) == len(expected) == 12
    for entry, expected_entry in zip(entries, expected, strict=True):
        assert entry == pytest.approx(expected_entry, abs=1e-4)
    for name in "snapshot_iter_12", "lstm_simple_sequence.model":
        arrays = read_arrays(str(folder / "result" / name))
        expected_arrays = read_arrays(str(expected_folder / "result" / name))
        assert arrays.keys() == expected_arrays.keys()
        for key, array in arrays.items():
            if array.dtype == np.float32:  # parameters, moments and states
                np.testing.assert_allclose(array, expected_arrays[key], atol=1e-4, err_msg=key)


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > deadline or process.poll() is not None:
            process.kill()
            raise AssertionError(f"there is no {path.name}")
        time.sleep(0.02)


def process_of(job, rank):
    """Number of the process of a rank, a grandchild of mpiexec."""
    for status in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = status.read_bytes().split(b"\0")
            proxy = int(status.with_name("stat").read_text().rpartition(")")[2].split()[1])
            parent = pathlib.Path(f"/proc/{proxy}/stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if f"PMI_RANK={rank}".encode() in environment and int(parent) == job.pid:
            return int(status.parent.name)
    raise AssertionError(f"no process of rank {rank}")


def left_by_mpich():
    """Files that MPICH leaves where a job is aborted, always here, whatever TMPDIR says."""
    return {*pathlib.Path("/tmp").glob("hydra_hwloc_xmlfile_*")}


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left():
    before = left_by_mpich()
    yield
    for path in left_by_mpich() - before:
        with contextlib.suppress(OSError):
            path.unlink()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Folder of a training of 12 updates by one process."""
    folder = tmp_path_factory.mktemp("alone")
    succeed(folder, 1, *SMALL, "-e", "12", "--snapshot-every", "4")
    return folder


@with_mpi
def test_four_processes_then_one_then_two_train_as_one(alone, tmp_path):
    options = [*SMALL, "--snapshot-every", "4", "-r", "auto"]
    out = succeed(tmp_path, 4, *options, "-e", "4")
    assert "# Processes: 4\n" in out
    assert out.count("Written to result") == 1
    assert f"Train longer: {shlex.join([PRINTED, '-n', '4', sys.executable, SCRIPT])}" in out
    out = succeed(tmp_path, 1, *options, "-e", "8")
    assert "Resuming from result/snapshot_iter_4" in out
    out = succeed(tmp_path, 2, *options, "-e", "12")
    assert out.count("Resuming from result/snapshot_iter_8") == 1
    assert_same_training(tmp_path, alone)
    files = {path.name for path in (tmp_path / "result").iterdir()}
    assert files == {path.name for path in (alone / "result").iterdir()}


@with_mpi
def test_killing_a_process_ends_the_job_and_auto_goes_on(alone, tmp_path):
    process = start(tmp_path, 2, *ENDLESS)
    wait_for(tmp_path / "result" / "snapshot_iter_2", process)
    pid = process_of(process, 1)
    shared = re.findall("/mpich_shm.*", pathlib.Path(f"/proc/{pid}/maps").read_text())
    assert all(line.endswith("(deleted)") for line in shared)  # else it would be left in /dev/shm
    os.kill(pid, signal.SIGKILL)
    code, out, _ = finish(process)
    assert code == signal.SIGKILL
    assert "Killed (signal 9)" in out
    for path in (tmp_path / "result").glob("snapshot_iter_*"):
        if int(path.name.rpartition("_")[2]) > 11:
            path.unlink()
    out = succeed(tmp_path, 2, *SMALL, "-e", "12", "-r", "auto")
    assert "Resuming from result/snapshot_iter_" in out
    assert_same_training(tmp_path, alone)


@with_mpi
def test_a_signal_to_one_process_stops_all_of_them(tmp_path):
    process = start(tmp_path, 2, *ENDLESS)
    wait_for(tmp_path / "result" / "snapshot_iter_2", process)
    os.kill(process_of(process, 1), signal.SIGTERM)
    code, out, err = finish(process)
    assert (code, err) == (128 + signal.SIGTERM, "")
    last = max(int(path.name[14:]) for path in (tmp_path / "result").glob("snapshot_iter_*"))
    command = out.splitlines()[-1]
    start_again = shlex.join([PRINTED, "-n", "2", sys.executable, SCRIPT])
    assert command.startswith(f"Stopped. Go on with: {start_again}")
    assert command.endswith(f"-r result/snapshot_iter_{last}")


@with_mpi
def test_what_all_processes_fail_for_is_told_once(tmp_path):
    (tmp_path / "result" / "lstm_simple_sequence.model").mkdir(parents=True)
    code, _, err = train(tmp_path, 2, *SMALL)
    assert code == 1
    assert re.fullmatch(
        "train_simple_sequence.py: error: result/lstm_simple_sequence.model cannot be written: "
        r"Is a directory; the last good snapshot is result/snapshot_iter_\d+\n",
        err,
    )


@with_mpi
def test_a_process_that_fails_alone_ends_the_job_and_says_why(tmp_path):
    # Rank 1 alone finds something in the way of its module.
    spoiled = tmp_path / "spoiled"
    spoiled.mkdir()
    (spoiled / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('PMI_RANK') == '1':\n"
        f"    sys.path.insert(0, {str(ROOT)!r})\n"
        "    import bptt_updater\n"
        "    def fail(updater):\n"
        "        raise MemoryError\n"
        "    bptt_updater.BPTTUpdater.update_core = fail\n"
    )
    environment = {**ENVIRONMENT, "PYTHONPATH": str(spoiled)}
    code, _, err = train(tmp_path, 2, *SMALL, environment=environment)
    assert code == 1
    assert err.startswith(
        "process 1 of 2: train_simple_sequence.py: error: not enough memory for these sizes\n"
    )


@with_mpi
def test_too_few_streams_are_refused_in_one_line(tmp_path):
    code, out, err = train(tmp_path, 4, "-b", "3")
    assert (code, out) == (2, "")
    assert err == (
        "train_simple_sequence.py: error: argument -b/--batchsize: 3 streams are too few for 4 "
        "processes; choose at least 4, or start fewer processes\n"
    )
    assert list(tmp_path.iterdir()) == []


@with_mpi
def test_an_mpiexec_of_another_mpi_is_refused(run, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    result = run("train_simple_sequence.py", "--distributed")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert "has started 2 processes, but mpi4py's MPI finds 1" in result.stderr


def test_a_printed_mpiexec_is_the_one_beside_the_interpreter(monkeypatch, tmp_path):
    folder = tmp_path / "an environment"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    processes = Processes()
    assert processes.command("python train.py") == "python train.py"
    processes._world, processes.size = object(), 2
    assert processes.command("python train.py") == "mpiexec -n 2 python train.py"
    (folder / "mpiexec").touch(0o755)
    assert processes.command("python train.py") == f"'{folder}/mpiexec' -n 2 python train.py"


def test_without_mpi_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    expected = r"--distributed: needs mpi4py and an MPI \(.*\): pip install -r requirements/mpi.txt"
    with pytest.raises(UsageError, match=expected):
        Processes().connect(None, batch_size=4, gpu=-1)


def test_a_communicator_that_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match="--communicator: pure_nccl is for GPUs"):
        Processes().connect("pure_nccl", batch_size=4, gpu=-1)
    with pytest.raises(UsageError, match="--communicator: naive is for the CPU"):
        Processes().connect("naive", batch_size=4, gpu=0)
    with pytest.raises(UsageError, match="--communicator: naive works only with --distributed"):
        parse_arguments("", ["--communicator", "naive"])


def test_one_process_loads_no_mpi(tmp_path):
    probe = (
        "import sys, train_simple_sequence\n"
        "train_simple_sequence.main(['-e', '1', '--repeat', '1', '-l', '9'])\n"
        "sys.exit(' '.join({'chainermn', 'mpi4py'} & set(sys.modules)))\n"
    )
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.stderr.strip() == b""


def test_alone_everything_is_its_own():
    alone = Processes()
    states = np.arange(6).reshape(3, 2)
    assert alone.own(states) is states
    assert alone.gather("a") == ["a"]
    assert alone.once(str.upper, "b") == "B"
    assert alone.highest(15) == 15
    assert alone.streams(3) == range(3)
    alone.average([states], 3)
    assert states.tolist() == [[0, 1], [2, 3], [4, 5]]


@with_mpi
@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("compare_architectures.py", ["rnn", "-e", "1", "--repeat", "1"]),
        ("predict_simple_sequence.py", []),
        ("count_limits.py", []),
    ],
)
def test_every_command_has_the_same_door(tmp_path, script, options):
    command = [MPIEXEC, "-n", "2", sys.executable, str(ROOT / script), *options, "--distributed"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    code, out, err = finish(subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, **pipes))
    if script == "compare_architectures.py":
        assert (code, err) == (0, "")
        assert out.count("# Processes: 2\n") == out.count("Written: result/comparison.png\n") == 1
    else:
        assert (code, out) == (2, "")
        assert err.count("\n") == 1 and "unrecognized arguments: --distributed" in err


@pytest.mark.parametrize("weight", [0.5, 1.5])
def test_gradients_are_weighted_by_the_number_of_streams(weight, monkeypatch):
    """Two processes of one and three streams: the mean over both is that over all four."""

    class Comm:
        def multi_node_mean_grad(self, model, zero_fill):
            self.seen = model.W.grad.copy()

        def bcast_data(self, model):
            pass

    processes = Processes()
    processes.rank, processes.size = int(weight > 1), 2
    monkeypatch.setattr(processes, "streams", lambda size: range(1) if weight < 1 else range(1, 4))
    processes._comm = Comm()
    link = L.Linear(2, 2)
    optimizer = processes.set_up(optimizers.SGD(), link, batch_size=4)
    link.W.grad, link.b.grad = np.ones((2, 2), np.float32), np.ones(2, np.float32)
    optimizer.update()
    assert processes._comm.seen.tolist() == [[weight] * 2] * 2
