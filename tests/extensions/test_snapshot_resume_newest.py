"""Going on from the newest snapshot."""

import errno
import io
import json
import os
import re

import pytest
from snapshot_trainings import (
    LAST,
    First,
    Second,
    about,
    assert_same_state,
    become,
    damage,
    iterations,
    state,
    train,
    training,
)

from support import files
from support.command_line import CommandError
from support.files import read_arrays, write_arrays


class TestResumeNewest:
    def resume(self, folder, **options):
        trainer, snapshot = training(folder, **options)
        snapshot.resume_newest(trainer)
        return trainer

    def test_takes_the_one_of_most_updates(self, tmp_path):
        """By number: as words, snapshot_iter_9 comes last."""
        train(tmp_path)
        assert self.resume(tmp_path).updater.iteration == 12

    def test_takes_no_file_of_another_name(self, tmp_path):
        train(tmp_path)
        (tmp_path / "snapshot_iter_12").rename(tmp_path / "snapshot_iter_12.bak")
        (tmp_path / "snapshot_iter_11").rename(tmp_path / "old_snapshot_iter_11")
        assert self.resume(tmp_path).updater.iteration == 10

    @pytest.mark.parametrize("folder", ["empty", "missing"])
    def test_starts_afresh_where_there_is_none(self, tmp_path, capsys, folder):
        (tmp_path / "empty").mkdir()
        assert self.resume(tmp_path / folder).updater.iteration == 0
        assert capsys.readouterr().out == (
            f"No snapshot to resume from in {tmp_path / folder}, starting afresh\n"
        )

    def test_passes_over_damaged_ones_and_names_them(self, tmp_path, capsys):
        train(tmp_path)
        damage(tmp_path / "snapshot_iter_12")
        (tmp_path / "snapshot_iter_11").write_bytes(b"")
        assert self.resume(tmp_path).updater.iteration == 10
        lines = capsys.readouterr().out.splitlines()
        assert {line.split(": it is ")[0] for line in lines[:-1]} == {
            f"Passed over {tmp_path}/snapshot_iter_11",
            f"Passed over {tmp_path}/snapshot_iter_12",
        }
        assert lines[-1] == f"Resuming from {tmp_path}/snapshot_iter_10"

    @pytest.mark.parametrize("text", ["no JSON", "[]", "{}", '{"format": 1}'])
    def test_passes_over_one_that_says_nothing_of_itself(self, tmp_path, text):
        train(tmp_path)
        path = str(tmp_path / "snapshot_iter_12")
        write_arrays(path, {**read_arrays(path), "snapshot": text})
        assert self.resume(tmp_path).updater.iteration == 11

    def test_passes_over_other_options_and_names_them(self, tmp_path, capsys):
        train(tmp_path, every=4)
        train(tmp_path, every=5, epochs=3, fixed={"--unit": 4})
        (tmp_path / "snapshot_iter_18").unlink()
        capsys.readouterr()
        assert self.resume(tmp_path).updater.iteration == 12
        assert capsys.readouterr().out.splitlines() == [
            f"Passed over 3 snapshots in {tmp_path}: trained with other options",
            f"Resuming from {tmp_path}/earlier-1/snapshot_iter_12",
        ]

    def test_passes_over_an_earlier_run_though_it_went_on_for_longer(self, tmp_path):
        train(tmp_path, every=12)
        train(tmp_path, every=5, epochs=1)
        assert self.resume(tmp_path).updater.iteration == 6

    def test_takes_the_newest_of_earlier_runs(self, tmp_path, capsys):
        """With these options: the last training had others."""
        train(tmp_path)
        train(tmp_path, epochs=1)
        train(tmp_path, epochs=1, fixed={"--unit": 4})
        assert self.resume(tmp_path).updater.iteration == 6
        path = tmp_path / "earlier-2" / "snapshot_iter_6"
        assert capsys.readouterr().out.splitlines()[-1] == f"Resuming from {path}"

    def test_takes_the_branch_that_was_made_last(self, tmp_path):
        """A run that was resumed with another learning rate, for fewer updates."""
        train(tmp_path)
        other = {"--lr": 0.1}
        trainer, snapshot = training(tmp_path, epochs=1, changeable=other)
        snapshot.resume(str(tmp_path / "snapshot_iter_4"), trainer)
        trainer.run()
        assert self.resume(tmp_path, changeable=other).updater.iteration == 6

    def test_starts_truly_afresh_where_the_only_one_lacks_something(self, tmp_path):
        train(tmp_path, every=12)
        path = str(tmp_path / "snapshot_iter_12")
        arrays = read_arrays(path)
        del arrays["updater/state/predictor/h"]
        write_arrays(path, arrays)
        fresh = state(training(tmp_path)[0])
        assert_same_state(self.resume(tmp_path), fresh)

    def test_brings_back_the_newest_after_one_that_lacks_something(self, tmp_path):
        train(tmp_path, every=6)
        path = str(tmp_path / "snapshot_iter_12")
        arrays = read_arrays(path)
        del arrays["updater/state/predictor/h"]
        write_arrays(path, arrays)
        trainer, snapshot = training(tmp_path)
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        assert_same_state(self.resume(tmp_path), state(trainer))

    def test_takes_an_earlier_run_where_the_newest_has_left_nothing_usable(self, tmp_path):
        train(tmp_path, every=12)
        train(tmp_path, every=6, epochs=1)
        damage(tmp_path / "snapshot_iter_6")
        assert self.resume(tmp_path).updater.iteration == 12

    def test_takes_the_way_that_was_gone_on_with_though_another_run_began_later(self, tmp_path):
        train(tmp_path, every=8)
        train(tmp_path, every=5, epochs=1)
        trainer, snapshot = training(tmp_path, epochs=3)
        snapshot.resume(str(tmp_path / "earlier-1" / "snapshot_iter_12"), trainer)
        trainer.run()
        assert self.resume(tmp_path).updater.iteration == 18

    @pytest.mark.parametrize("version", [1, 2])
    def test_sets_a_snapshot_of_an_earlier_version_aside(self, tmp_path, capsys, version):
        train(tmp_path, every=12)
        path = str(tmp_path / "snapshot_iter_12")
        said = {**about(path), "format": version}
        write_arrays(path, {**read_arrays(path), "snapshot": json.dumps(said)})
        capsys.readouterr()
        self.resume(tmp_path).run()
        passed = f"it is of format {version}, which only earlier versions can resume"
        assert capsys.readouterr().out.startswith(f"Passed over {path}: {passed}\n")
        assert (tmp_path / "earlier-1" / "snapshot_iter_12").exists()

    @pytest.mark.parametrize("n_bad", [1, 2])
    def test_goes_back_to_one_from_which_an_update_keeps_all_numbers_finite(
        self, tmp_path, capsys, n_bad
    ):
        train(tmp_path)
        for iteration in range(LAST - n_bad + 1, LAST + 1):
            path = str(tmp_path / f"snapshot_iter_{iteration}")
            arrays = read_arrays(path)
            # Finite themselves, but the sum of the logits' exponentials is not, nor is the loss.
            arrays["updater/model:main/predictor/l2/W"][:] = 3e38
            write_arrays(path, arrays)
        capsys.readouterr()
        trainer = self.resume(tmp_path)
        assert trainer.updater.iteration == LAST - n_bad
        assert capsys.readouterr().out.count("the next update from it is not finite") == n_bad
        assert len(iterations(tmp_path)) == LAST  # nothing is deleted

    def test_reads_no_more_than_it_must(self, tmp_path, monkeypatch):
        """Of thousands it starts within a second."""
        train(tmp_path)
        read = []

        def record(path, only=None, limit=None):
            read.append(os.path.basename(path))
            return read_arrays(path, only=only, limit=limit)

        monkeypatch.setattr("extensions.snapshot_file.read_arrays", record)
        self.resume(tmp_path)
        assert set(read) == {"snapshot_iter_12"}

    def test_ends_where_no_update_keeps_the_numbers_finite(self, tmp_path):
        """As at a rate that is too large: starting afresh would move snapshots that may be good."""
        train(tmp_path, every=6)
        trainer, snapshot = training(tmp_path)
        trainer.updater.get_optimizer("main").alpha = 1e38
        trainer.updater.get_optimizer("main").eps = 0
        with pytest.raises(CommandError, match="a smaller learning rate may help"):
            snapshot.resume_newest(trainer)
        assert iterations(tmp_path) == [6, 12]

    def test_goes_by_what_a_snapshot_says_and_not_by_its_name(self, tmp_path):
        train(tmp_path, every=3)
        (tmp_path / "snapshot_iter_3").rename(tmp_path / "snapshot_iter_99")
        assert self.resume(tmp_path).updater.iteration == 12

    def test_saves_the_update_that_the_snapshot_resumed_from_is_named_after(self, tmp_path):
        train(tmp_path, every=5, epochs=1)
        (tmp_path / "snapshot_iter_6").unlink()
        (tmp_path / "snapshot_iter_5").rename(tmp_path / "snapshot_iter_12")
        self.resume(tmp_path).run()
        assert about(tmp_path / "snapshot_iter_12")["iteration"] == 12

    @pytest.mark.parametrize("found", [True, False], ids=["some", "none"])
    def test_brings_another_process_to_the_same_state(self, tmp_path, capsys, monkeypatch, found):
        if found:
            train(tmp_path)
        first = First()
        become(first, monkeypatch)
        trainer, snapshot = training(tmp_path)
        become(Second(first), monkeypatch)
        other, others = training(tmp_path, seed=1 if found else 0)
        with monkeypatch.context() as rank_0:
            become(first, rank_0)
            snapshot.resume_newest(trainer)
        said = capsys.readouterr().out
        others.resume_newest(other)
        assert said and not capsys.readouterr().out
        assert_same_state(other, state(trainer))
        assert (others.about, others.last) == (snapshot.about, snapshot.last)


class TestWhatCannotBeReadNow:
    """Nothing is known against it: what is passed over as damaged, or as absent, is lost."""

    @pytest.fixture
    def resume(self, tmp_path):
        train(tmp_path)
        trainer, snapshot = training(tmp_path)
        return lambda: snapshot.resume_newest(trainer)

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
    def test_a_folder_that_cannot_be_listed_is_not_empty(self, resume, monkeypatch, number):
        monkeypatch.setattr(os, "listdir", failing(os.listdir, number))
        with pytest.raises(OSError) as error:
            resume()
        assert error.value.errno == number

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
    def test_a_file_that_cannot_be_opened_is_not_damaged(
        self, resume, tmp_path, monkeypatch, number
    ):
        monkeypatch.setattr(files, "open", failing(open, number), raising=False)
        with pytest.raises(
            CommandError, match=rf"^{re.escape(str(tmp_path))}/snapshot_iter_12 .*be read"
        ):
            resume()

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
    def test_a_file_whose_reading_fails_is_not_damaged(self, resume, tmp_path, monkeypatch, number):
        """Wherever it fails, in Python's readers of zip and of arrays, or in ours."""
        count = 0

        class Failing(io.FileIO):
            def fail(self, read, *arguments):
                nonlocal left
                left -= 1
                if left == 0:
                    raise OSError(number, os.strerror(number))
                return read(*arguments)

            def readinto(self, buffer):
                return self.fail(super().readinto, buffer)

            def readall(self):
                return self.fail(super().readall)

        def open_failing(path, mode):
            return io.BufferedReader(Failing(path))

        monkeypatch.setattr(files, "open", open_failing, raising=False)
        while True:
            count += 1
            left = count
            try:
                resume()
            except CommandError as error:
                reason = os.strerror(number)
                assert str(error) == f"{tmp_path}/snapshot_iter_12 cannot be read: {reason}"
            else:
                break
        assert left > 0 and count > 8


def failing(call, number):
    """The call, but the operating system refuses."""

    def fail(path, *arguments):
        raise OSError(number, os.strerror(number), path)

    return fail
