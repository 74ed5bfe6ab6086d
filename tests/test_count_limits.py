import contextlib
import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

import chainer_compat

import pytest

import count_limits
from counting.limits import Cell
from models import ARCHS

ROOT = pathlib.Path(count_limits.__file__).parent
SMALL = ("--archs", "rnn", "--vocabularies", 3, 4, "--seeds", 2, "-u", 10, "--processes", 2)


def rows(folder):
    with open(folder / "count_limits.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A small sweep that has been run: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("sweep")
    command = [sys.executable, ROOT / "count_limits.py", *map(str, SMALL), "--budget", "600"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


class TestSweep:
    def test_trains_every_kind_with_every_seed(self, sweep):
        found = {(row["arch"], row["n_vocab"], row["seed"]) for row in rows(sweep[0] / "result")}
        assert found == {("rnn", n_vocab, seed) for n_vocab in "34" for seed in "01"}

    def test_succeeds_where_counting_is_easy(self, sweep):
        for row in rows(sweep[0] / "result"):
            assert 10 <= int(row["updates"]) <= 600
            assert row["longest_free_run"] == {"3": "6", "4": "12"}[row["n_vocab"]]

    def test_draws(self, sweep):
        path = sweep[0] / "result" / "count_limits.png"
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_prints_a_line_for_each(self, sweep):
        for row in rows(sweep[0] / "result"):
            line = f"rnn   vocabulary   {row['n_vocab']} seed {row['seed']}: {row['updates']} upd"
            assert line in sweep[1]

    def test_draws_no_bar_into_a_file(self, sweep):
        assert "\r" not in sweep[1] and "\033" not in sweep[1]

    def test_goes_on_after_what_is_there(self, sweep, run):
        before = (sweep[0] / "result" / "count_limits.csv").read_bytes()
        done = run("count_limits.py", *SMALL, "--budget", 600, cwd=sweep[0])
        assert done.stdout.splitlines()[0].startswith("4 of 4 trainings are in result/count_lim")
        assert (sweep[0] / "result" / "count_limits.csv").read_bytes() == before

    def test_with_other_settings_is_another(self, sweep, run):
        options = ("--archs", "rnn", "--vocabularies", 3, "--seeds", 1, "-u", 10, "--budget", 5)
        done = run("count_limits.py", *options, cwd=sweep[0])
        assert done.stdout.startswith("0 of 1 trainings")
        assert "rnn   vocabulary   3 seed 0: failed" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_that_is_killed_leaves_its_outcomes_and_no_process(tmp_path, number):
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
    try:
        for line in process.stdout:
            if "vocabulary   3" in line:
                break
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == {signal.SIGINT: 130}.get(number, -number)
        assert "Traceback" not in errors
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

    def test_finishes_a_seed_before_the_next(self):
        seeds = [cell.seed for cell in count_limits.ordered_cells(self.args)]
        assert seeds == sorted(seeds)

    def test_is_the_same_each_time(self):
        assert count_limits.ordered_cells(self.args) == count_limits.ordered_cells(self.args)

    def test_ignores_what_is_named_twice(self):
        options = ["--archs", "rnn", "rnn", "--vocabularies", "5", "5", "--seeds", "1"]
        assert len(count_limits.ordered_cells(count_limits.parse_arguments(options))) == 1


class TestBar:
    def test_tells_how_far_and_how_long(self, monkeypatch, capsys):
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        from counting.limits import Outcome

        outcome = Outcome(Cell("lstm", 10, 3, 100, 20, 50), None, 40, 2, 1.0)
        count_limits.show(outcome, done=6, total=10, n_todo=8, seconds=60)
        line, bar = capsys.readouterr().out.split("\n")
        assert line.endswith("seed 3: failed, but after reading a period 40 updates")
        assert bar == "[############........] 6 of 10 trainings, 0:01:00 left"


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--archs", "mlp"), "argument --archs: invalid choice: 'mlp'"),
            (("--vocabularies", 1), "argument --vocabularies: '1' is not a whole number from 2"),
            (("--budget", 0), "argument --budget: '0' is not"),
        ],
    )
    def test_of_what_makes_no_sense(self, run, options, message):
        done = run("count_limits.py", *options)
        assert done.returncode == 2 and done.stdout == ""
        assert message in done.stderr and len(done.stderr.splitlines()) == 1

    def test_of_a_foreign_table(self, run, tmp_path):
        (tmp_path / "count_limits.csv").write_text("date,weather\n")
        done = run("count_limits.py", "-o", tmp_path)
        assert done.returncode == 2
        assert done.stderr.rstrip().endswith("is no table of this command; move it away")
        assert (tmp_path / "count_limits.csv").read_text() == "date,weather\n"
