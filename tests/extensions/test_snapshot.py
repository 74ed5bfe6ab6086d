"""Snapshots: when they are saved, kept, taken back."""

import errno
import os

import numpy as np
import pytest
from snapshot_trainings import (
    CHANGEABLE,
    FIXED,
    LAST,
    Breaks,
    about,
    break_at,
    give_to_run,
    iterations,
    spoil_at,
    train,
    training,
)

from extensions.finite_loss import FiniteLoss, NotFinite
from support.files import write_arrays


class TestSaving:
    def test_follows_the_trigger(self, tmp_path):
        train(tmp_path, every=4)
        assert iterations(tmp_path) == [4, 8, 12]

    def test_is_done_once_more_at_the_end(self, tmp_path):
        train(tmp_path, every=5)
        assert iterations(tmp_path) == [5, 10, LAST]

    def test_is_not_done_twice_for_one_update(self, tmp_path, monkeypatch):
        written = []
        monkeypatch.setattr(
            "extensions.snapshot_file.write_arrays", lambda path, _: written.append(path)
        )
        train(tmp_path, every=4)
        assert [os.path.basename(path) for path in written] == [
            "snapshot_iter_4",
            "snapshot_iter_8",
            "snapshot_iter_12",
        ]

    def test_is_not_done_again_where_a_training_is_resumed_at_its_end(self, tmp_path, monkeypatch):
        train(tmp_path, epochs=50, every=300)
        monkeypatch.setattr("extensions.snapshot_file.write_arrays", None)
        trainer, snapshot = training(tmp_path, epochs=50)
        snapshot.resume_newest(trainer)
        trainer.run(show_loop_exception_msg=False)
        assert trainer.updater.iteration == 300

    def test_is_not_done_before_the_first_update(self, tmp_path):
        trainer, _ = training(tmp_path)
        trainer.stop_trigger.signal = 15
        trainer.run()
        assert iterations(tmp_path) == []

    def test_is_not_done_after_a_failure(self, tmp_path):
        trainer, _ = training(tmp_path, every=2)
        break_at(trainer, 5)
        with pytest.raises(Breaks):
            trainer.run(show_loop_exception_msg=False)
        assert iterations(tmp_path) == [2, 4]

    def test_writes_what_the_training_was_with(self, tmp_path):
        train(tmp_path, keep=1)
        written = about(tmp_path / "snapshot_iter_12")
        assert (written["fixed"], written["changeable"]) == (FIXED, CHANGEABLE)

    def test_gives_a_run_one_name(self, tmp_path):
        train(tmp_path)
        assert len({about(path)["run"] for path in tmp_path.glob("snapshot_iter_*")}) == 1

    def test_gives_each_run_its_own_name(self, tmp_path):
        train(tmp_path / "a", every=12)
        train(tmp_path / "b", every=12)
        names = {about(path)["run"] for path in tmp_path.glob("*/snapshot_iter_*")}
        assert len(names) == 2

    def test_says_where_the_last_one_is(self, tmp_path):
        _, snapshot = train(tmp_path, every=5)
        assert snapshot.last == str(tmp_path / "snapshot_iter_12")
        assert (
            snapshot.advice(diverged=True)
            == f"; the last good snapshot is {tmp_path}/snapshot_iter_10"
        )

    def test_says_nothing_of_where_there_is_none(self, tmp_path):
        _, snapshot = training(tmp_path)
        assert snapshot.advice(diverged=True) == ""

    def test_that_fails_is_an_error_and_leaves_the_last_one(self, tmp_path, monkeypatch):
        trainer, snapshot = training(tmp_path)

        def occupy(trainer):
            if trainer.updater.iteration == 5:
                (tmp_path / "snapshot_iter_5").mkdir()

        trainer.extend(occupy, name="occupy", trigger=(1, "iteration"), priority=1)
        with pytest.raises(OSError):
            trainer.run(show_loop_exception_msg=False)
        assert snapshot.last == str(tmp_path / "snapshot_iter_4")


class TestBadParameter:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_is_not_saved(self, tmp_path, value):
        trainer, _ = training(tmp_path)
        spoil_at(trainer, 5, value)
        with pytest.raises(NotFinite):
            trainer.run(show_loop_exception_msg=False)
        assert iterations(tmp_path) == [1, 2, 3, 4]

    def test_is_not_saved_over_a_good_one(self, tmp_path):
        """Which a run that does not see us may have put there."""
        train(tmp_path / "other")
        trainer, _ = training(tmp_path)
        good = (tmp_path / "other" / "snapshot_iter_5").read_bytes()
        trainer.extend(
            lambda trainer: (tmp_path / "snapshot_iter_5").write_bytes(good), name="other"
        )
        spoil_at(trainer, 5)
        with pytest.raises(NotFinite):
            trainer.run(show_loop_exception_msg=False)
        assert (tmp_path / "snapshot_iter_5").read_bytes() == good

    def test_is_not_saved_at_the_end(self, tmp_path):
        trainer, _ = training(tmp_path, every=5)
        spoil_at(trainer, LAST)
        with pytest.raises(NotFinite):
            trainer.run(show_loop_exception_msg=False)
        assert iterations(tmp_path) == [5, 10]

    def test_is_named_with_the_iteration(self, tmp_path):
        trainer, _ = training(tmp_path)
        spoil_at(trainer, 5)
        with pytest.raises(NotFinite) as error:
            trainer.run(show_loop_exception_msg=False)
        assert str(error.value) == "parameter /predictor/l1/W is not finite after iteration 5"


class TestGood:
    """A snapshot is good once the next update from it has kept all numbers finite."""

    def test_is_the_one_before_the_last_until_an_update_has_followed(self, tmp_path):
        trainer, snapshot = training(tmp_path, every=5)
        trainer.extend(FiniteLoss())
        advice = {}
        trainer.extend(
            lambda trainer: advice.update(
                {trainer.updater.iteration: snapshot.advice(diverged=True)}
            ),
            name="advice",
            trigger=(1, "iteration"),
            priority=-1000,
        )
        trainer.run()
        good = "; the last good snapshot is " + str(tmp_path / "snapshot_iter_")
        assert advice[5] == good.replace("last good", "last") + "5, whose next update fails"
        assert advice[6] == advice[9] == advice[10] == f"{good}5"
        assert advice[11] == f"{good}10"

    @pytest.mark.parametrize("what", ["parameter", "m", "v"])
    @pytest.mark.parametrize("value", [np.inf, np.nan])
    def test_is_none_from_which_an_update_leads_to_no_number(self, tmp_path, what, value):
        trainer, snapshot = training(tmp_path, every=4)
        trainer.extend(FiniteLoss())

        def spoil(trainer):
            if trainer.updater.iteration == 9:
                param = trainer.updater.get_optimizer("main").target.predictor.l1.W
                array = param.array if what == "parameter" else param.update_rule.state[what]
                array[0, 0] = value

        trainer.extend(spoil, name="spoil", trigger=(1, "iteration"), priority=1000)
        with pytest.raises(NotFinite, match=r"is not finite after iteration 9$"):
            trainer.run(show_loop_exception_msg=False)
        assert iterations(tmp_path) == [4, 8]
        assert (
            snapshot.advice(diverged=True)
            == f"; the last good snapshot is {tmp_path}/snapshot_iter_4"
        )

    def test_is_what_led_to_the_one_resumed(self, tmp_path):
        train(tmp_path, every=4)
        trainer, snapshot = training(tmp_path, epochs=3)
        snapshot.resume(str(tmp_path / "snapshot_iter_12"), trainer)
        snapshot.initialize(trainer)
        assert (
            snapshot.advice(diverged=True)
            == f"; the last good snapshot is {tmp_path}/snapshot_iter_8"
        )
        assert snapshot.last == str(tmp_path / "snapshot_iter_12")


class TestKeep:
    def test_removes_all_but_the_newest(self, tmp_path):
        train(tmp_path, keep=3)
        assert iterations(tmp_path) == [10, 11, 12]

    def test_keeps_all_unless_told(self, tmp_path):
        train(tmp_path)
        assert iterations(tmp_path) == list(range(1, 13))

    def test_removes_no_snapshot_of_another_run(self, tmp_path):
        train(tmp_path, every=3)
        train(tmp_path, epochs=1, every=2, keep=1)
        assert iterations(tmp_path) == [4, 6]
        assert iterations(tmp_path / "earlier-1") == [3, 6, 9, 12]

    def test_does_not_count_those_of_another_run(self, tmp_path):
        train(tmp_path, epochs=1)
        give_to_run(tmp_path / "snapshot_iter_5", "another")
        trainer, snapshot = training(tmp_path, keep=LAST - 1)
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        trainer.run()
        assert iterations(tmp_path) == list(range(1, LAST + 1))

    def test_removes_no_file_that_it_cannot_read_and_says_nothing_of_it(self, tmp_path, capsys):
        train(tmp_path, every=6, epochs=1)
        (tmp_path / "snapshot_iter_1").write_text("what is this?")
        write_arrays(str(tmp_path / "snapshot_iter_2"), {"snapshot": "{}"})
        trainer, snapshot = training(tmp_path, keep=1)
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        capsys.readouterr()
        trainer.run()
        assert iterations(tmp_path) == [1, 2, 11, 12]
        assert capsys.readouterr() == ("", "")

    def test_removes_no_file_of_another_name(self, tmp_path):
        train(tmp_path, every=6)
        name = tmp_path / "best_snapshot_iter_6"
        (tmp_path / "snapshot_iter_6").rename(name)
        trainer, snapshot = training(tmp_path, epochs=3, keep=1)
        snapshot.resume(str(tmp_path / "snapshot_iter_12"), trainer)
        trainer.run()
        assert name.exists()
        assert (tmp_path / "snapshot_iter_18").exists()

    def test_counts_those_from_before_a_resume(self, tmp_path):
        train(tmp_path, epochs=1)
        trainer, snapshot = training(tmp_path, keep=2)
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        trainer.run()
        assert iterations(tmp_path) == [11, 12]

    def test_never_removes_the_one_just_saved(self, tmp_path):
        """Though, after going back, the run has saved later updates before."""
        train(tmp_path)
        trainer, snapshot = training(tmp_path, epochs=1, keep=1)
        snapshot.resume(str(tmp_path / "snapshot_iter_4"), trainer)
        trainer.run()
        assert os.path.exists(snapshot.last)

    def test_removes_none_before_the_next_loss_is_known(self, tmp_path):
        """Until then the new one may be of parameters that are beyond all bounds."""
        trainer, _ = training(tmp_path, keep=1)
        trainer.extend(FiniteLoss())
        seen = []
        trainer.extend(
            lambda trainer: seen.append(iterations(tmp_path)), name="seen", priority=-1000
        )
        trainer.run()
        assert seen[:3] == [[1], [1, 2], [2, 3]]
        assert iterations(tmp_path) == [LAST - 1, LAST]

    def test_removes_no_snapshot_that_another_run_has_put_in_its_place(self, tmp_path):
        """Where the file system has no locks."""
        trainer, _ = training(tmp_path, keep=1, every=6)

        def replace(trainer):
            if trainer.updater.iteration == 7:
                give_to_run(tmp_path / "snapshot_iter_6", "another")

        trainer.extend(replace, name="replace", trigger=(1, "iteration"))
        trainer.run()
        assert iterations(tmp_path) == [6, 12]

    def test_goes_on_where_an_old_one_cannot_be_removed(self, tmp_path, monkeypatch, capsys):
        def refuse(path):
            raise PermissionError(errno.EPERM, "Operation not permitted", path)

        trainer, snapshot = training(tmp_path, keep=1, every=4)
        with monkeypatch.context() as patch:
            patch.setattr(os, "remove", refuse)
            trainer.run(show_loop_exception_msg=False)
        assert iterations(tmp_path) == [4, 8, 12]
        path = tmp_path / "snapshot_iter_4"
        message = f"warning: {path} cannot be removed: Operation not permitted\n"
        assert capsys.readouterr().err == message
        assert snapshot.last == f"{tmp_path}/snapshot_iter_12"


class TestAdvice:
    def test_names_no_snapshot_that_is_gone(self, tmp_path):
        _, snapshot = train(tmp_path)
        (tmp_path / "snapshot_iter_11").unlink()
        assert (
            snapshot.advice(diverged=True)
            == f"; the last good snapshot is {tmp_path}/snapshot_iter_10"
        )
