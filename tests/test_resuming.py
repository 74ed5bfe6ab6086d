"""Going on from a snapshot."""

import random
import shutil
import subprocess
import sys

import pytest

from tests.trainings import (
    COLUMNS,
    ENVIRONMENT,
    LAST,
    SCRIPT,
    SMALL,
    each_arch,
    fail,
    listing,
    numbers,
    snapshots,
    succeed,
)


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
        assert "Passed over a snapshot in result: trained with --arch rnn2, not --arch rnn" in lines
        assert "Resuming from result/snapshot_iter_37" in lines

    def test_passes_over_an_earlier_run(self, folder_with):
        """Even though that run went on for longer."""
        folder = folder_with(38)
        succeed(folder.parent, *SMALL, "--snapshot-every", "12", "-e", "2")
        lines = succeed(folder.parent, *self.AUTO)
        assert "Resuming from result/snapshot_iter_26" in lines
        assert snapshots(folder / "earlier-1") == [38]

    def test_goes_on_though_other_options_were_trained_in_between(self, folder_with, undisturbed):
        folder = folder_with(38)
        succeed(folder.parent, *SMALL, "-a", "rnn2", "-e", "1")
        lines = succeed(folder.parent, *self.AUTO)
        assert "Passed over a snapshot in result: trained with --arch rnn2, not --arch rnn" in lines
        assert "Resuming from result/earlier-1/snapshot_iter_38" in lines
        assert numbers(folder) == numbers(undisturbed())

    @pytest.mark.parametrize("step", ["listdir", "open"])
    def test_ends_where_the_disk_fails_for_a_moment(self, folder_with, step):
        """It does not begin anew, and writes nothing: the good snapshot is there."""
        folder = folder_with(38)
        before = listing(folder.parent)
        program = (
            "import builtins, errno, os, runpy, sys\n"
            f"module = {'os' if step == 'listdir' else 'builtins'}\n"
            f"original, calls = module.{step}, __import__('itertools').count()\n"
            "def failing(path, *rest, **options):\n"
            "    name = str(path)\n"
            "    if name.startswith('result') and ('_iter_' in name or next(calls) == 1):\n"
            "        raise OSError(errno.EIO, os.strerror(errno.EIO), path)\n"
            "    return original(path, *rest, **options)\n"
            f"module.{step} = failing\n"
            "sys.argv[:] = sys.argv[1:]\n"
            "sys.path.insert(0, os.path.dirname(sys.argv[0]))\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        command = [sys.executable, "-c", program, SCRIPT, *self.AUTO]
        result = subprocess.run(
            command, cwd=folder.parent, env=ENVIRONMENT, capture_output=True, text=True, check=False
        )
        named = "result" if step == "listdir" else "result/snapshot_iter_38"
        reason = "Input/output error" if step == "listdir" else "cannot be read: Input/output error"
        colon = ":" if step == "listdir" else ""
        assert result.stderr == f"train_simple_sequence.py: error: {named}{colon} {reason}\n"
        assert result.returncode == 1
        assert listing(folder.parent) == before

    def test_does_not_take_a_run_with_another_seed_for_its_own(self, folder_with):
        folder = folder_with(38)
        lines = succeed(folder.parent, *self.AUTO, "--seed", "1")
        assert "No snapshot to resume from in result, starting afresh" in lines
