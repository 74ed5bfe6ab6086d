"""The training command as a user runs it: in a process of its own, looked at from outside."""

import contextlib
import json
import os
import pathlib
import pty
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import chainer_compat

import chainer
import numpy as np
import pytest
from chainer.serializers import load_npz

from models import ARCHS
from tests.commands import ROOT

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
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, text=True, **options)


def train(folder, *arguments):
    """Run the command in ``folder``; its output goes into pipes."""
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=100)
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
    for _ in range(20_000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    pytest.fail("nothing happened for 40 seconds")


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
    """Everything below a folder, with the moment of its last change."""
    paths = pathlib.Path(folder).rglob("*")
    return {str(path): path.stat().st_mtime_ns for path in [pathlib.Path(folder), *paths]}


def is_png(path):
    content = pathlib.Path(path).read_bytes()
    return content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Run a command only once; give its lines and the folder ``result`` that it has written."""
    done = {}

    def run(*arguments):
        if arguments not in done:
            folder = tmp_path_factory.mktemp("once")
            done[arguments] = succeed(folder, *arguments), folder / "result"
        return done[arguments]

    return run


@pytest.fixture
def undisturbed(once):
    """The folder of a small run that was not disturbed, with a snapshot of every update."""
    return lambda arch="rnn": once(*SMALL, "-a", arch, "--snapshot-every", "1")[1]


@pytest.fixture
def folder_with(tmp_path, undisturbed):
    """Fill ``result`` with some snapshots of the undisturbed run of ``rnn``."""

    def fill(*iterations, arch="rnn"):
        folder = tmp_path / "result"
        folder.mkdir(exist_ok=True)
        for iteration in iterations:
            shutil.copy(undisturbed(arch) / f"snapshot_iter_{iteration}", folder)
        return folder

    return fill


@each_arch
class TestWithTheDefaults:
    @pytest.fixture
    def lines(self, once, arch):
        return once("-a", arch)[0]

    @pytest.fixture
    def folder(self, once, arch):
        return once("-a", arch)[1]

    def test_prints_the_tutorials_header(self, lines, arch):
        assert lines[:5] == [
            "GPU: -1",
            f"# Architecture: {arch}",
            "# Minibatch-size: 10",
            "# epoch: 10",
            "",
        ]

    def test_prints_the_tutorials_table(self, lines, folder):
        assert lines[5] == COLUMNS
        rows = [line.split() for line in lines[6:16]]
        log = read_log(folder)
        assert [int(row[0]) for row in rows] == list(range(1, 11))
        for row, entry in zip(rows, log, strict=True):
            assert row == [f"{entry[name]:.6g}" for name in COLUMNS.split()]

    def test_ends_with_what_it_has_written_and_what_to_do_next(self, lines, arch):
        model = f"{arch}_simple_sequence.model"
        predict = str(ROOT / "predict_simple_sequence.py")
        assert lines[16:] == [
            f"Written to result: {model}, log, loss.png, accuracy.png, counting.png",
            f"Let it run free: {shlex.join([sys.executable, predict])} -m result/{model}",
            f"Train longer: {shlex.join([sys.executable, SCRIPT])} -a {arch} --epoch 20 "
            "-r result/snapshot_iter_225",
        ]

    def test_prints_no_control_characters_into_a_pipe(self, lines):
        assert all(line.isprintable() for line in lines)

    def test_writes_its_files_and_no_others(self, folder, arch):
        names = {"log", "cg.dot", f"{arch}_simple_sequence.model"}
        names.update(("loss.png", "accuracy.png", "counting.png"))
        # Of 4500 tokens, 200 an update: an epoch ends after every 22.5.
        names.update(f"snapshot_iter_{-(-45 * epoch // 2)}" for epoch in range(1, 11))
        assert set(os.listdir(folder)) == names

    def test_logs_each_epoch(self, folder):
        log = read_log(folder)
        assert [entry["epoch"] for entry in log] == list(range(1, 11))
        assert [entry["iteration"] for entry in log] == snapshots(folder)
        times = [entry["elapsed_time"] for entry in log]
        assert times == sorted(times)
        assert {*log[0]} == {*COLUMNS.split(), "iteration", "boundary_accuracy", "free_run"}

    def test_draws_pictures(self, folder):
        assert is_png(folder / "loss.png")
        assert is_png(folder / "accuracy.png")

    def test_draws_the_graph_for_graphviz(self, folder):
        text = (folder / "cg.dot").read_text()
        assert text.startswith("digraph")
        assert text.endswith("}")

    def test_learns_to_count(self, folder, arch):
        # As the tutorial's own code does. To repeat the last number, with no counting, gives 0.8.
        bar = {"rnn": 0.95, "rnn2": 1.0, "rnn3": 1.0, "lstm": 0.70}.get(arch, 0.9)
        assert read_log(folder)[-1]["validation/main/accuracy"] >= bar

    def test_logs_the_accuracy_that_the_saved_model_has(self, folder, arch):
        """Here computed token by token, with Chainer's loader, from a fresh state."""
        period = [number for number in range(10) for _ in range(number)]
        tokens = np.array(100 * period, np.int32)
        model = ARCHS[arch](10, 100)
        load_npz(str(folder / f"{arch}_simple_sequence.model"), model)
        right = 0
        with chainer.using_config("train", False), chainer.no_backprop_mode():
            for step in range(450):
                ids = tokens[np.arange(10) * 450 + step]
                targets = tokens[(np.arange(10) * 450 + step + 1) % len(tokens)]
                right += (model(ids).array.argmax(axis=1) == targets).sum()
        accuracy = read_log(folder)[-1]["validation/main/accuracy"]
        assert accuracy == pytest.approx(right / 4500, abs=1e-6)


class TestHelp:
    @pytest.fixture
    def text(self, once):
        text = "\n".join(once("-h")[0])
        return " ".join(text.partition("\noptions:\n")[2].split())

    @pytest.mark.parametrize(
        "short, long, default",
        [
            ("-a", "--arch", "rnn"),
            ("-u", "--unit", "100"),
            ("-l", "--bproplen", "20"),
            ("-b", "--batchsize", "10"),
            ("-e", "--epoch", "10"),
            ("-g", "--gpu", "-1"),
            ("-o", "--out", "result"),
            ("-r", "--resume", "afresh"),
            ("", "--seed", "0"),
            ("", "--lr", "0.0005"),
            ("", "--gradclip", "no limit"),
            ("", "--n-vocab", "10"),
            ("", "--repeat", "100"),
            ("", "--data", "the built-in sequence"),
            ("", "--valid", "on --data"),
            ("", "--snapshot-every", "1e"),
            ("", "--keep", "keep all"),
        ],
    )
    def test_names_every_option_and_its_default(self, text, short, long, default):
        assert re.search(rf"{short}\b.*?{long} (.*?)\(default: (.*?)\)", text)[2] == default


class TestTheSameCommand:
    def test_gives_the_same_numbers(self, tmp_path, once):
        succeed(tmp_path, *SMALL, "-a", "lstm")
        assert numbers(tmp_path / "result", "lstm") == numbers(
            once(*SMALL, "-a", "lstm", "--snapshot-every", "1")[1], "lstm"
        )

    @pytest.mark.parametrize(
        "option", [("--seed", 1), ("--gradclip", 0.1)], ids=lambda pair: pair[0]
    )
    def test_with_another_option_gives_other_numbers(self, tmp_path, undisturbed, option):
        succeed(tmp_path, *SMALL, *option)
        assert numbers(tmp_path / "result")[0] != numbers(undisturbed())[0]

    def test_into_the_same_folder_replaces_what_it_writes(self, tmp_path, undisturbed):
        folder = tmp_path / "result"
        shutil.copytree(undisturbed(), folder)
        before = listing(folder)
        succeed(tmp_path, *SMALL, "-e", "1")
        after = listing(folder)
        replaced = {pathlib.Path(path).name for path in before if before[path] != after[path]}
        assert replaced == {
            "result",
            "log",
            "cg.dot",
            "loss.png",
            "accuracy.png",
            "counting.png",
            "rnn_simple_sequence.model",
            "snapshot_iter_13",
        }
        assert [entry["epoch"] for entry in read_log(folder)] == [1]

    def test_with_another_architecture_leaves_the_model_of_the_first(self, tmp_path, undisturbed):
        folder = tmp_path / "result"
        folder.mkdir()
        shutil.copy(undisturbed() / "rnn_simple_sequence.model", folder)
        content = (folder / "rnn_simple_sequence.model").read_bytes()
        succeed(tmp_path, *SMALL, "-e", "1", "-a", "rnn2")
        assert (folder / "rnn_simple_sequence.model").read_bytes() == content
        assert (folder / "rnn2_simple_sequence.model").exists()

    def test_leaves_alone_what_is_not_its_own(self, tmp_path):
        folder = tmp_path / "result"
        folder.mkdir()
        names = ["writable", ".notes.tmp", "snapshot_iter_13.bak", "notes"]
        for name in names:
            (folder / name).write_text("mine")
        succeed(tmp_path, *SMALL, "-e", "1")
        left = {path.name: path.read_text() for path in folder.iterdir() if path.name in names}
        assert left == dict.fromkeys(names, "mine")


class TestResumed:
    @each_arch
    def test_at_a_random_update_ends_as_if_not_stopped(self, undisturbed, folder_with, arch):
        iteration = random.Random(arch).randrange(1, LAST)
        folder = folder_with(iteration, arch=arch)
        resumed = ["-r", f"result/snapshot_iter_{iteration}"]
        succeed(folder.parent, *SMALL, "-a", arch, *resumed)
        assert numbers(folder, arch) == numbers(undisturbed(arch), arch)

    def test_for_more_epochs_ends_as_if_they_had_been_asked_for_at_once(
        self, tmp_path, undisturbed
    ):
        succeed(tmp_path, *SMALL, "-a", "lstm", "-e", "1")
        lines = succeed(tmp_path, *SMALL, "-a", "lstm", "-r", "result/snapshot_iter_13")
        assert "Changed since: --epoch is 3, was 1" in lines
        assert numbers(tmp_path / "result", "lstm") == numbers(undisturbed("lstm"), "lstm")


class TestResumedRun:
    def test_prints_the_rows_of_all_epochs(self, folder_with):
        folder = folder_with(20)
        lines = succeed(folder.parent, *SMALL, "-r", "result/snapshot_iter_20")
        table = lines[lines.index(COLUMNS) + 1 :][:3]
        assert [row.split()[0] for row in table] == ["1", "2", "3"]

    def test_says_what_it_resumes(self, folder_with):
        folder = folder_with(38)
        lines = succeed(folder.parent, *SMALL, "-r", "result/snapshot_iter_38")
        assert "Resuming from result/snapshot_iter_38" in lines

    def test_that_was_finished_ends_at_once_and_succeeds(self, folder_with, undisturbed):
        folder = folder_with(LAST)
        succeed(folder.parent, *SMALL, "-r", f"result/snapshot_iter_{LAST}")
        assert snapshots(folder) == [LAST]
        assert numbers(folder) == numbers(undisturbed())

    def test_may_go_on_into_another_folder(self, folder_with, undisturbed):
        folder = folder_with(38)
        before = listing(folder)
        succeed(folder.parent, *SMALL, "-r", "result/snapshot_iter_38", "-o", "other")
        assert listing(folder) == before
        assert numbers(folder.parent / "other") == numbers(undisturbed())

    def test_says_aloud_which_options_have_changed(self, folder_with):
        folder = folder_with(38)
        lines = succeed(
            folder.parent,
            *SMALL,
            *("-r", "result/snapshot_iter_38", "-o", "other", "--snapshot-every", "2e"),
            *("--lr", "0.001", "--gradclip", "5", "--keep", "2", "-e", "4"),
        )
        changes = [line for line in lines if line.startswith("Changed since")]
        assert set(changes) == {
            "Changed since: --epoch is 4, was 3",
            "Changed since: --lr is 0.001, was 0.0005",
            "Changed since: --gradclip is 5.0, was None",
            "Changed since: --out is other, was result",
            "Changed since: --snapshot-every is 2e, was 1",
            "Changed since: --keep is 2, was None",
        }

    def test_learns_at_a_rate_that_was_changed(self, folder_with, undisturbed):
        folder = folder_with(38)
        succeed(folder.parent, *SMALL, "-r", "result/snapshot_iter_38", "--lr", "0.1")
        assert numbers(folder)[0] != numbers(undisturbed())[0]

    def test_keeps_the_snapshots_of_its_run_within_bounds(self, folder_with):
        folder = folder_with(35, 36)
        options = ["--snapshot-every", "1", "--keep", "2"]
        succeed(folder.parent, *SMALL, *options, "-r", "result/snapshot_iter_36")
        assert snapshots(folder) == [38, 39]

    def test_from_before_its_newest_snapshot_does_not_remove_what_it_saves(self, folder_with):
        """What it names at its end is there."""
        folder = folder_with(10, 30)
        lines = succeed(
            *(folder.parent, *SMALL, "-e", "1", "--keep", "1"),
            *("-r", "result/snapshot_iter_10"),
        )
        assert lines[-1].endswith("-r result/snapshot_iter_13")
        assert 13 in snapshots(folder)

    @pytest.mark.parametrize(
        "option, now",
        [
            ("--arch", "rnn2"),
            ("--unit", 7),
            ("--n-vocab", 9),
            ("--repeat", 7),
            ("--batchsize", 4),
            ("--bproplen", 8),
            ("--seed", 1),
        ],
    )
    def test_refuses_a_snapshot_trained_otherwise_before_anything_is_written(
        self, folder_with, option, now
    ):
        was = {"--arch": "rnn", "--unit": 6, "--n-vocab": 10, "--repeat": 6, "--batchsize": 3}
        was.update({"--bproplen": 7, "--seed": 0})
        folder = folder_with(20)
        before = listing(folder.parent)
        resumed = ["-r", "result/snapshot_iter_20", "-o", "new"]
        line = fail(folder.parent, *SMALL, *resumed, option, now, exit_code=2)
        assert "result/snapshot_iter_20" in line
        assert f"{option} {was[option]}, not {option} {now}" in line
        assert listing(folder.parent) == before


class TestResumeAuto:
    """Resumes ever the same: few updates before the end of a small run."""

    AUTO = (*SMALL, "-r", "auto")

    def test_starts_afresh_where_there_is_nothing(self, tmp_path, undisturbed):
        lines = succeed(tmp_path, *self.AUTO)
        assert lines[5] == "No snapshot to resume from in result, starting afresh"
        assert numbers(tmp_path / "result") == numbers(undisturbed())

    def test_takes_the_newest(self, folder_with, undisturbed):
        folder = folder_with(9, 36, 38)
        lines = succeed(folder.parent, *self.AUTO)
        assert lines[5] == "Resuming from result/snapshot_iter_38"
        assert numbers(folder) == numbers(undisturbed())

    def test_falls_back_past_damaged_ones_and_names_them(self, folder_with, undisturbed):
        folder = folder_with(36, 37, 38)
        for iteration in 37, 38:
            path = folder / f"snapshot_iter_{iteration}"
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
        (folder / "snapshot_iter_39").write_bytes(b"")
        (folder / "snapshot_iter_40").mkdir()
        (folder / "snapshot_iter_41").write_text("not a snapshot")
        lines = succeed(folder.parent, *self.AUTO)
        passed = [line.split(": ")[0] for line in lines if line.startswith("Passed over")]
        assert set(passed) == {f"Passed over result/snapshot_iter_{i}" for i in range(37, 42)}
        assert "Resuming from result/snapshot_iter_36" in lines
        assert numbers(folder) == numbers(undisturbed())

    def test_passes_over_another_configuration_and_names_it(self, folder_with, undisturbed):
        folder = folder_with(37)
        shutil.copy(undisturbed("rnn2") / "snapshot_iter_38", folder)
        lines = succeed(folder.parent, *self.AUTO)
        assert "Passed over result/snapshot_iter_38: it was trained with other options" in lines
        assert "Resuming from result/snapshot_iter_37" in lines

    def test_passes_over_an_earlier_run_and_names_it(self, folder_with, once):
        """Even though that run went on for longer."""
        folder = folder_with(38)
        later = once(*SMALL, "--snapshot-every", "12", "-e", "2")[1]
        shutil.copy(later / "snapshot_iter_24", folder)
        lines = succeed(folder.parent, *self.AUTO)
        assert "Passed over result/snapshot_iter_38: it is of an earlier run" in lines
        assert "Resuming from result/snapshot_iter_24" in lines

    def test_does_not_take_a_run_with_another_seed_for_its_own(self, folder_with):
        folder = folder_with(38)
        lines = succeed(folder.parent, *self.AUTO, "--seed", "1")
        assert "No snapshot to resume from in result, starting afresh" in lines


def read_terminal(master):
    """All that is written to a pseudo-terminal until its other end is closed."""
    text = b""
    with contextlib.suppress(OSError):
        while piece := os.read(master, 4096):
            text += piece
    os.close(master)
    return text.decode()


def screen(text):
    """Lines that a terminal shows after this text."""
    lines, column = [""], 0
    for part in re.findall(r"\033\[J|\r|\n|[^\033\r\n]+", text):
        if part == "\033[J":
            lines[-1] = lines[-1][:column]
        elif part == "\r":
            column = 0
        elif part == "\n":
            lines.append("")
        else:
            lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part) :]
            column += len(part)
    assert "".join(re.findall(r"\033\[J|\r|\n|[^\033\r\n]+", text)) == text
    return lines


class TestOnATerminal:
    @staticmethod
    def train(folder, *arguments):
        master, slave = pty.openpty()
        process = start(folder, *arguments, stdout=slave)
        os.close(slave)
        text = read_terminal(master)
        assert (process.wait(), process.stderr.read()) == (0, "")
        process.stderr.close()
        return text

    def test_shows_a_progress_bar(self, tmp_path):
        text = self.train(tmp_path, *SMALL, "-e", "1")
        assert re.search(
            r"\[#*\.*\] epoch \d+\.\d\d/1, iteration \d+, [\d,]+ tokens/s, \d:\d\d:\d\d left\r",
            text,
        )

    def test_takes_the_bar_away_at_the_end(self, tmp_path):
        lines = screen(self.train(tmp_path, *SMALL))
        assert lines[:6] == [
            "GPU: -1",
            "# Architecture: rnn",
            "# Minibatch-size: 3",
            "# epoch: 3",
            "",
            COLUMNS,
        ]
        assert [line.split()[0] for line in lines[6:9]] == ["1", "2", "3"]
        assert lines[9].startswith("Written to result")
        assert not [line for line in lines if "tokens/s" in line]

    def test_resumes_what_was_begun_without_one(self, folder_with, undisturbed):
        folder = folder_with(30)
        self.train(folder.parent, *SMALL, "-r", "auto")
        assert numbers(folder) == numbers(undisturbed())


@pytest.fixture
def endless(tmp_path):
    """Start a run that has logged an epoch and would go on for long; it is ended with the test."""
    processes = []

    def run(*arguments):
        process = start(tmp_path, *ENDLESS, *arguments)
        processes.append(process)
        wait_until((tmp_path / "result" / "log").exists, process)
        return process

    yield run
    for process in processes:
        with process:
            process.kill()


def catches_sigint(process):
    """Whether a process has a handler for this signal."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> signal.SIGINT - 1 & 1)


class TestSignal:
    @pytest.fixture
    def stopped(self, endless, number):
        """Exit code, lines and stderr of a run that was sent the signal."""
        process = endless()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        return process.returncode, out.splitlines(), err

    each_signal = pytest.mark.parametrize(
        "number, exit_code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
    )

    @each_signal
    def test_saves_draws_and_says_how_to_go_on(self, tmp_path, stopped, exit_code):
        code, lines, err = stopped
        assert (code, err) == (exit_code, "")
        folder = tmp_path / "result"
        (newest,) = snapshots(folder)[-1:]
        assert newest >= read_log(folder)[-1]["iteration"]
        assert is_png(folder / "loss.png")
        assert is_png(folder / "accuracy.png")
        assert re.fullmatch(
            r"Stopped. Go on with: .*python.* .*train_simple_sequence.py "
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
        text = process.communicate(timeout=60)[0]
        assert process.returncode == 130
        command = text.splitlines()[-1].removeprefix("Stopped. Go on with: ")
        result = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert numbers(out, "lstm") == numbers(tmp_path / "reference", "lstm")

    def test_a_second_time_ends_the_run_at_once_with_no_broken_file(self, tmp_path, endless):
        process = endless()
        process.send_signal(signal.SIGINT)
        wait_until(lambda: not catches_sigint(process), process)  # now it draws the pictures
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
        assert (process.returncode, err) == (-signal.SIGINT, "")
        folder = tmp_path / "result"
        assert read_log(folder)
        for iteration in snapshots(folder):
            assert parameters(folder / f"snapshot_iter_{iteration}")
        assert all(is_png(path) for path in folder.glob("*.png"))

    def test_while_it_starts_ends_the_run_without_a_traceback(self, tmp_path):
        process = start(tmp_path, *SMALL)
        maps = pathlib.Path(f"/proc/{process.pid}/maps")
        wait_until(lambda: "numpy" in maps.read_text(), process)
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
        assert (process.returncode, err) == (130, "")


class TestNotANumber:
    """A learning rate that drives parameters beyond all bounds, from a good snapshot on."""

    HUGE = ("--lr", "1e36", "-r", "result/snapshot_iter_20")

    @each_arch
    def test_in_loss_or_parameters_ends_the_run_and_names_the_last_good_snapshot(
        self, folder_with, arch
    ):
        folder = folder_with(20, arch=arch)
        line = fail(folder.parent, *SMALL, "-a", arch, *self.HUGE, exit_code=1)
        assert re.search(
            r"(the (validation )?loss is (nan|inf) at|parameter \S+ is not finite after) "
            r"iteration 2[1-9]; "
            r"the last good snapshot is result/snapshot_iter_20\b",
            line,
        )
        assert snapshots(folder) == [20]
        assert not (folder / f"{arch}_simple_sequence.model").exists()

    def test_is_never_saved(self, folder_with):
        folder = folder_with(20)
        options = ["--snapshot-every", "1"]
        line = fail(folder.parent, *SMALL, *self.HUGE, *options, exit_code=1)
        newest = snapshots(folder)[-1]
        for iteration in snapshots(folder):
            arrays = parameters(folder / f"snapshot_iter_{iteration}")
            assert all(np.isfinite(array).all() for array in arrays.values())
        assert f"iteration {newest + 1}" in line
        assert f"the last good snapshot is result/snapshot_iter_{newest}" in line


CANNOT_BE_WRITTEN = "train_simple_sequence.py: error: standard output cannot be written"


class TestStandardOutput:
    def test_that_is_full_ends_the_run_in_one_line(self, tmp_path):
        with open("/dev/full", "w") as full:
            process = start(tmp_path, *SMALL, stdout=full)
            err = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert err == f"{CANNOT_BE_WRITTEN}: No space left on device\n"

    def test_that_nobody_reads_any_more_ends_the_run_in_one_line(self, tmp_path):
        process = start(tmp_path, *ENDLESS)
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        assert process.wait(60) == 1
        assert err == f"{CANNOT_BE_WRITTEN}: Broken pipe\n"

    def test_that_is_closed_after_the_table_ends_the_run_in_one_line(self, tmp_path):
        process = start(tmp_path, *SMALL)
        while not process.stdout.readline().startswith("3 "):
            pass
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        assert process.wait(60) == 1
        assert err == f"{CANNOT_BE_WRITTEN}: Broken pipe\n"

    def test_that_was_closed_from_the_beginning_does_not_matter(self, tmp_path):
        """As a program is started by some supervisors."""
        command = f"exec {shlex.join([sys.executable, SCRIPT, *SMALL])} -e 1 >&-"
        result = subprocess.run(
            command, shell=True, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, check=False
        )
        assert (result.returncode, result.stderr) == (0, b"")
