import contextlib
import csv
import os
import signal
import subprocess
import sys
import time

import pytest

import count_limits
from counting.sweep import Cell, Outcome
from models import ARCHS
from support.command_line import CommandError, UsageError
from support.files import Unreadable
from tests.commands import ROOT

SMALL = ("--archs", "rnn", "--vocabularies", "3", "4", "--seeds", "2", "-u", "10")


def rows(folder):
    with open(folder / "count_limits.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A small sweep that has been run: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    command = [sys.executable, ROOT / "count_limits.py", *SMALL, "--processes", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder / "result", done.stdout


def test_every_kind_is_trained_with_every_seed_until_it_counts(sweep):
    folder, printed = sweep
    assert {(row["n_vocab"], row["seed"]) for row in rows(folder)} == {
        *zip("3344", "0101", strict=True)
    }
    for row in rows(folder):
        assert row["longest_free_run"] == {"3": "6", "4": "12"}[row["n_vocab"]]
        line = f"rnn   vocabulary   {row['n_vocab']} seed {row['seed']}: {row['updates']} updates\n"
        assert line in printed
    assert (folder / "count_limits.png").read_bytes().startswith(b"\x89PNG")
    assert "\r" not in printed and "\033" not in printed  # no bar into a file


def test_goes_on_after_what_is_there(sweep, capsys):
    folder, _ = sweep
    before = (folder / "count_limits.csv").read_bytes()
    count_limits.main([*SMALL, "-o", str(folder)])
    assert capsys.readouterr().out.startswith("4 of 4 trainings are in ")
    assert (folder / "count_limits.csv").read_bytes() == before


@pytest.mark.parametrize(
    "numbers",
    [
        [signal.SIGINT],
        [signal.SIGTERM],
        [signal.SIGHUP],
        [signal.SIGTERM, signal.SIGINT],
        [signal.SIGUSR1, signal.SIGTERM],
        [signal.SIGKILL],
    ],
    ids=str,
)
def test_that_is_killed_leaves_its_outcomes_and_no_process(tmp_path, numbers):
    """The first training takes no time, the second for ever."""
    options = ["--archs", "rnn", "--vocabularies", "3", "30", "--seeds", "1", "--budget", "100000"]
    command = [sys.executable, ROOT / "count_limits.py", *options, "--processes", "2"]
    # In a group of its own, the group stands for the terminal, whose Ctrl-C reaches all.
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )

    def group(number):
        os.killpg(process.pid, number)

    try:
        for line in process.stdout:
            if "vocabulary   3" in line:
                break
        for number in numbers:
            # By its parent, or by the terminal, which sends it to all.
            (process.send_signal if number == signal.SIGKILL else group)(number)
        _, errors = process.communicate(timeout=20)
        if signal.SIGKILL in numbers:
            assert process.returncode == -signal.SIGKILL
        else:
            assert (process.returncode, errors) in [(128 + number, "") for number in numbers]
        assert [row["n_vocab"] for row in rows(tmp_path / "result")] == ["3"]
        for _ in range(100):
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
        raise AssertionError("a process is left")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_another_in_the_same_folder_is_refused_and_the_table_left_alone(tmp_path, capsys):
    code = "import os, sys, time; from support.files import held\n"
    code += (
        "with held(sys.argv[1], f'process {os.getpid()}'): print(os.getpid(), flush=True); input()"
    )
    lock = tmp_path / ".count_limits.lock"
    command = [sys.executable, "-c", code, lock]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        number = int(other.stdout.readline())
        with pytest.raises(CommandError, match=f"count_limits.csv is in use by process {number}; "):
            count_limits.main([*SMALL, "-o", str(tmp_path)])
        assert not (tmp_path / "count_limits.csv").exists()
        other.communicate("\n")
    count_limits.main([*SMALL, "--budget", "1", "-o", str(tmp_path), "--processes", "1"])
    assert {path.name for path in tmp_path.iterdir()} == {"count_limits.csv", "count_limits.png"}


class TestOrder:
    args = count_limits.parse_arguments(["--seeds", "2", "--budget", "7"])

    def test_has_every_kind_once_for_each_seed(self):
        cells = count_limits.ordered_cells(self.args)
        expected = {
            Cell(arch, n_vocab, seed, 100, 20, 7)
            for arch in ARCHS
            for n_vocab in (5, 10, 15, 20, 25)
            for seed in (0, 1)
        }
        assert len(cells) == len(expected) and set(cells) == expected

    def test_is_the_same_each_time_and_finishes_a_seed_before_the_next(self):
        cells = count_limits.ordered_cells(self.args)
        assert cells == count_limits.ordered_cells(self.args)
        assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)

    def test_ignores_what_is_named_twice(self):
        options = ["--archs", "rnn", "rnn", "--vocabularies", "5", "5", "--seeds", "1"]
        assert len(count_limits.ordered_cells(count_limits.parse_arguments(options))) == 1


class TestBar:
    outcome = Outcome(Cell("lstm", 10, 3, 100, 20, 50), None, 40, 2, 1.0)

    def test_tells_how_far_and_how_long(self, monkeypatch, capsys):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", "80")
        count_limits.show(self.outcome, done=6, total=10, n_todo=8, seconds=60)
        line, bar = capsys.readouterr().out.split("\n")
        assert line.endswith("seed 3: failed, but after reading two periods 40 updates")
        assert bar == "\033[J[############........] 6 of 10 trainings, 0:01:00 left\r"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--archs", "mlp"), "argument --archs: invalid choice: 'mlp'"),
        (("--vocabularies", "1"), "argument --vocabularies: '1' is not a whole number from 2"),
    ],
)
def test_what_makes_no_sense_is_refused(capsys, options, message):
    with pytest.raises(SystemExit) as end:
        count_limits.main(options)
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_a_foreign_table_is_refused(tmp_path):
    (tmp_path / "count_limits.csv").write_text("date,weather\n")
    with pytest.raises(UsageError, match="is not a table of this command; move it away"):
        count_limits.main(["-o", str(tmp_path)])
    assert (tmp_path / "count_limits.csv").read_text() == "date,weather\n"


def test_a_table_that_cannot_be_read_now_is_not_to_be_moved_away(tmp_path, monkeypatch):
    def fail(path):
        raise Unreadable("cannot be read: Stale file handle")

    monkeypatch.setattr(count_limits, "read_outcomes", fail)
    with pytest.raises(CommandError, match=r"count_limits\.csv cannot be read: Stale") as error:
        count_limits.main(["-o", str(tmp_path)])
    assert error.value.exit_code == 1
