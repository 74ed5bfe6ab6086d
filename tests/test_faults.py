"""What a run survives: being killed, a full disk, a folder that is lost, files that are damaged.

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

import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.serializers import DictionarySerializer, save_npz
from chainer.training import Trainer

from bptt_updater import BPTTUpdater
from command_line import CommandError
from extensions.log_report import LogReport
from extensions.snapshot import Snapshot
from extensions.stop import Stop
from models import ARCHS
from models.model_file import load_model, save_model
from parallel_sequential_iterator import ParallelSequentialIterator
from safe_files import BadFile, read_arrays, write_arrays
from simple_sequence.simple_sequence_dataset import get_simple_sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent
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
    """A log, as text, in a form that can be compared."""
    return [{**entry, "elapsed_time": None} for entry in json.loads(log)]


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
    log = without_time(str(arrays.pop("extensions/LogReport/_log")))
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
    logs = [without_time((place / "log").read_text()) for place in (folder, reference)]
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
    @pytest.mark.parametrize("seed", [1, 2])
    @pytest.mark.parametrize("arch", ARCHS)
    def test_many_times_a_run_ends_as_if_undisturbed(self, tmp_path, undisturbed, arch, seed):
        self.survive(tmp_path, undisturbed(arch, 12), arch, epochs=12, n_kills=12, seed=seed)

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


def damages(content, n_flips, n_cuts, seed):
    """Copies of a file's content, each with one bit turned or its end cut off, and what was done.

    The seed is new for each file, the same in each run of the tests.
    """
    chance = random.Random(seed)
    for _ in range(n_flips):
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        yield f"bit {bit} of byte {place}", bytes(damaged)
    for _ in range(n_cuts):
        length = chance.randrange(len(content))
        yield f"cut to {length}", content[:length]


def sealed_again(content):
    """The content with a seal that fits, as who damages a file on purpose would write it."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


def tiny_training(arch, folder):
    """A trainer of a few parameters that saves each update, and its Snapshot extension."""
    np.random.seed(0)
    tokens = get_simple_sequence(4, 5)
    model = L.Classifier(ARCHS[arch](n_vocab=4, n_units=3))
    optimizer = optimizers.Adam().setup(model)
    updater = BPTTUpdater(ParallelSequentialIterator(tokens, 2), optimizer, 3, device=-1)
    trainer = Trainer(updater, Stop(1), str(folder))
    trainer.extend(LogReport())
    snapshot = Snapshot(fixed={"--arch": arch}, changeable={"--lr": 0.001})
    trainer.extend(snapshot, trigger=(1, "iteration"))
    return trainer, snapshot


def state_of(trainer):
    serializer = DictionarySerializer()
    serializer.save(trainer.updater)
    return {name: np.array(array) for name, array in serializer.target.items()}


@pytest.mark.parametrize("arch", ARCHS)
class TestDamagedSnapshot:
    @pytest.fixture
    def saved(self, arch, tmp_path):
        """A snapshot, what it holds, and a trainer that has not begun."""
        trainer, _ = tiny_training(arch, tmp_path)
        trainer.run()
        path = max(snapshots(tmp_path).items())[1]
        fresh, snapshot = tiny_training(arch, tmp_path)
        return path, state_of(trainer), fresh, snapshot

    def test_is_always_refused_and_changes_nothing(self, saved):
        path, _, trainer, snapshot = saved
        before = state_of(trainer)
        for damage, content in damages(path.read_bytes(), 150, 50, seed=str(path.name)):
            path.write_bytes(content)
            with pytest.raises(CommandError) as refusal:
                snapshot.resume(str(path), trainer)
            assert str(path) in str(refusal.value), damage
            assert_same_arrays(state_of(trainer), before)

    def test_whose_checksum_was_made_to_fit_is_refused_or_loads_right(self, saved):
        path, expected, trainer, snapshot = saved
        before = state_of(trainer)
        for _, content in damages(path.read_bytes(), 150, 50, seed=str(path.name)):
            path.write_bytes(sealed_again(content))
            try:
                snapshot.resume(str(path), trainer)
            except CommandError:
                assert_same_arrays(state_of(trainer), before)
            else:
                assert_same_arrays(state_of(trainer), expected)
                trainer, snapshot = tiny_training(snapshot.about["fixed"]["--arch"], trainer.out)

    def test_that_lacks_an_array_is_refused_and_changes_nothing(self, saved):
        path, _, trainer, snapshot = saved
        arrays = read_arrays(path)
        before = state_of(trainer)
        for name in arrays:
            write_arrays(path, {other: arrays[other] for other in arrays if other != name})
            with pytest.raises(CommandError):
                snapshot.resume(str(path), trainer)
            assert_same_arrays(state_of(trainer), before)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("save", [save_model, save_npz], ids=["ours", "chainers"])
def test_damaged_model_is_refused_or_loads_right(tmp_path, arch, save):
    model = ARCHS[arch](n_vocab=4, n_units=3)
    path = str(tmp_path / "model")
    save(path, model)
    content = pathlib.Path(path).read_bytes()
    expected = load(path)
    n_refused = 0
    for damage, damaged in damages(content, 150, 50, seed=arch):
        pathlib.Path(path).write_bytes(damaged)
        try:
            loaded_arch, loaded = load_model(path)
        except BadFile:
            n_refused += 1
        else:
            assert loaded_arch == arch, damage
            assert_same_arrays({n[1:]: p.array for n, p in loaded.namedparams()}, expected)
    assert n_refused > 100


class TestDamagedFileGivenToACommand:
    @staticmethod
    def check(folder, script, arguments, path, n_flips, n_cuts, exit_codes):
        content = path.read_bytes()
        names = sorted(os.listdir(path.parent))
        for damage, damaged in damages(content, n_flips, n_cuts, seed=script):
            path.write_bytes(damaged)
            result = subprocess.run(
                [sys.executable, str(ROOT / script), *arguments, str(path)],
                cwd=folder,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert result.returncode in exit_codes, damage
            if result.returncode:
                assert len(result.stderr.splitlines()) == 1, damage
                assert str(path) in result.stderr, damage
                assert sorted(os.listdir(path.parent)) == names, damage
        path.write_bytes(content)

    @pytest.fixture
    def trained(self, tmp_path, undisturbed):
        shutil.copytree(undisturbed("rnn", 3), tmp_path / "result")
        return tmp_path / "result"

    def check_train(self, folder, n_flips, n_cuts):
        path = folder / "snapshot_iter_20"
        arguments = [*SMALL, "-e", "3", "-r"]
        self.check(folder, "train_simple_sequence.py", arguments, path, n_flips, n_cuts, {1})

    def check_predict(self, folder, n_flips, n_cuts):
        path = folder / "rnn_simple_sequence.model"
        self.check(folder, "predict_simple_sequence.py", ["-m"], path, n_flips, n_cuts, {0, 1})

    def test_train_says_so_in_one_line(self, trained):
        self.check_train(trained, n_flips=3, n_cuts=2)

    def test_predict_says_so_in_one_line(self, trained):
        self.check_predict(trained, n_flips=3, n_cuts=2)

    @pytest.mark.faults
    def test_train_says_so_in_one_line_however_it_is_damaged(self, trained):
        self.check_train(trained, n_flips=40, n_cuts=20)

    @pytest.mark.faults
    def test_predict_says_so_in_one_line_however_it_is_damaged(self, trained):
        self.check_predict(trained, n_flips=40, n_cuts=20)


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
