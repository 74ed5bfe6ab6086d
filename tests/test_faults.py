"""What a run survives: being killed, a full disk, a folder that is lost.

The tests marked ``faults`` are the same in a larger size.
"""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest

from models import ARCHS
from tests.faults.trainings import (
    SMALL,
    assert_all_whole,
    assert_same_results,
    assert_same_snapshots,
    assert_whole,
    finish,
    nothing_is_left_running,  # noqa: F401 - a fixture
    one_line,
    snapshots,
    start,
    train,
    wait_until,
)


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
        self.survive(tmp_path, undisturbed(arch, 6), arch, epochs=6, n_kills=6, seed=1)

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
        left = [path for path in (tmp_path / "result").iterdir() if path.suffix == ".tmp"]
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
        assert self.growth(tmp_path, 50_000) < 2**20
