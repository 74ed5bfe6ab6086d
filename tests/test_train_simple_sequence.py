"""What the training command prints, writes and learns."""

import os
import re
import shlex
import shutil
import sys

import chainer
import numpy as np
import pytest
from chainer.serializers import load_npz

from models import ARCHS
from tests.commands import ROOT
from tests.trainings import (
    COLUMNS,
    LAST,
    SCRIPT,
    SMALL,
    each_arch,
    fail,
    is_png,
    numbers,
    parameters,
    read_log,
    snapshots,
    succeed,
)


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
            ("-r", "--resume", "start afresh"),
            ("", "--seed", "0"),
            ("", "--lr", "0.0005"),
            ("", "--gradclip", "no limit"),
            ("", "--n-vocab", "10; with --data: as many as the data need"),
            ("", "--repeat", "100"),
            ("", "--data", "the built-in sequence"),
            ("", "--valid", "on the training data"),
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

    def test_into_the_same_folder_replaces_all_but_snapshots(self, tmp_path, undisturbed):
        """That run may have gone on for longer; its last snapshot brings the rest back."""
        folder = tmp_path / "result"
        shutil.copytree(undisturbed(), folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        lines = succeed(tmp_path, *SMALL, "-e", "1")
        assert lines[5] == "Earlier snapshots are now in result/earlier-1"
        assert [entry["epoch"] for entry in read_log(folder)] == [1]
        assert snapshots(folder) == [13]
        assert snapshots(folder / "earlier-1") == list(range(1, LAST + 1))
        last = f"snapshot_iter_{LAST}"
        succeed(tmp_path, *SMALL, "-r", f"result/earlier-1/{last}", "-o", "again")
        for name in "log", "rnn_simple_sequence.model":
            assert (tmp_path / "again" / name).read_bytes() == before[name]
        for iteration in range(1, LAST + 1):
            name = f"snapshot_iter_{iteration}"
            assert (folder / "earlier-1" / name).read_bytes() == before[name]

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
            r"the last snapshot is result/snapshot_iter_20, whose next update fails\b",
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
        assert f"snapshot is result/snapshot_iter_{newest}" in line
