"""What a training does when it is sent a signal."""

import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import ROOT
from tests.trainings import (
    ENVIRONMENT,
    PATIENCE,
    SMALL,
    is_png,
    numbers,
    read_log,
    snapshots,
    start,
    succeed,
    wait_until,
)


def ignoring(*numbers):
    """What a shell does for ``nohup``, and in the background: an argument of ``start``."""

    def ignore():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return {"preexec_fn": ignore}


def end(process):
    """Exit code, lines and stderr of a process, which is to come to its end."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out.splitlines(), err


STOPPING = [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGXCPU]
SAVING = [signal.SIGUSR1, signal.SIGUSR2]


class TestToStop:
    @pytest.mark.parametrize("number", STOPPING)
    def test_saves_draws_and_says_how_to_go_on(self, tmp_path, endless, number):
        process = endless()
        process.send_signal(number)
        code, lines, err = end(process)
        assert (code, err) == (128 + number, "")
        folder = tmp_path / "result"
        newest = snapshots(folder)[-1]
        assert newest >= read_log(folder)[-1]["iteration"]
        assert is_png(folder / "loss.png")
        assert is_png(folder / "accuracy.png")
        assert re.fullmatch(
            r"Stopped. Go on with: .*python.* .*train_simple_sequence.py.* "
            rf".*-e 100000 -r result/snapshot_iter_{newest}",
            lines[-1],
        )
        assert not (folder / "rnn_simple_sequence.model").exists()

    def test_prints_a_command_that_ends_the_run_as_if_not_stopped(self, tmp_path):
        """In a shell, with a space in the folder's name."""
        arguments = [*SMALL, "-a", "lstm", "-e", "20"]
        succeed(tmp_path, *arguments, "-o", "reference")
        out = str(tmp_path / "my result")
        process = start(ROOT, *arguments, "--snapshot-every", "1", "--out", out)
        wait_until(lambda: snapshots(out), process)
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=PATIENCE)[0]
        assert process.returncode == 130
        command = text.splitlines()[-1].removeprefix("Stopped. Go on with: ")
        result = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert numbers(out, "lstm") == numbers(tmp_path / "reference", "lstm")

    def test_together_with_another_shows_no_traceback(self, tmp_path, endless):
        process = endless()
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            process.send_signal(number)
        code, lines, err = end(process)
        assert (code, err) == (130, "")
        assert lines[-1].startswith("Stopped. Go on with: ")
        assert snapshots(tmp_path / "result")

    @pytest.mark.parametrize("number", STOPPING)
    def test_while_it_starts_ends_the_run_without_a_traceback(self, tmp_path, number):
        process = start(tmp_path, *SMALL)
        wait_for_numpy(process)
        process.send_signal(number)
        assert end(process) == (128 + number, [], "")

    @pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
    def test_that_was_ignored_stays_ignored(self, tmp_path, number):
        process = start(tmp_path, *SMALL, "-e", "30", **ignoring(number))
        wait_for_numpy(process)
        process.send_signal(number)
        wait_until((tmp_path / "result" / "log").exists, process)
        process.send_signal(number)
        code, lines, err = end(process)
        assert (code, err) == (0, "")
        assert lines[-1].startswith("Train longer")


def wait_for_numpy(process):
    """Until a command has begun to import what takes long."""
    maps = pathlib.Path(f"/proc/{process.pid}/maps")
    wait_until(lambda: "numpy" in maps.read_text(), process)


class TestToSave:
    @pytest.mark.parametrize("number", SAVING)
    def test_saves_and_changes_nothing_else(self, tmp_path, number):
        arguments = [*SMALL, "-a", "lstm", "-e", "30", "--snapshot-every", "1000"]
        succeed(tmp_path, *arguments, "-o", "reference")
        folder = tmp_path / "result"
        process = start(tmp_path, *arguments)
        wait_until((folder / "log").exists, process)
        process.send_signal(number)
        wait_until(lambda: snapshots(folder), process)
        assert end(process)[::2] == (0, "")
        saved, last = snapshots(folder)
        assert saved < last
        assert numbers(folder, "lstm") == numbers(tmp_path / "reference", "lstm")
        succeed(tmp_path, *arguments, "-r", f"result/snapshot_iter_{saved}")
        assert numbers(folder, "lstm") == numbers(tmp_path / "reference", "lstm")

    @pytest.mark.parametrize("number", SAVING)
    def test_before_there_is_anything_changes_nothing(self, tmp_path, number):
        process = start(tmp_path, *SMALL, "-e", "1")
        wait_for_numpy(process)
        process.send_signal(number)
        assert end(process)[::2] == (0, "")


class TestAgain:
    """In a training that never sees that it was asked to stop."""

    PROGRAM = """
import time
from training.stop import Stop
with Stop(1).on_signals():
    print("begun", flush=True)
    while True:
        time.sleep(0.01)
"""

    @pytest.fixture
    def process(self):
        with subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == "begun\n"
            yield process
            process.kill()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ends_it_at_once(self, process, number):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        assert process.poll() is None
        for _ in range(PATIENCE):
            # Ignored for half a second after the first, which a busy machine delivers when it can.
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
                break
        assert end(process) == (128 + number, [], "")

    @pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGXCPU])
    def test_without_anybodys_doing_changes_nothing(self, process, number):
        """A shell passes SIGHUP on that the kernel has sent already."""
        process.send_signal(number)
        time.sleep(1)
        process.send_signal(number)
        time.sleep(0.2)
        assert process.poll() is None
