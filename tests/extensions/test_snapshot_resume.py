"""Going on from a snapshot that is named."""

import json

import numpy as np
import pytest
from chainer.serializers import save_npz
from snapshot_trainings import (
    FIXED,
    LAST,
    Breaks,
    about,
    assert_same_state,
    break_at,
    damage,
    each_arch,
    iterations,
    state,
    train,
    training,
)

from extensions.snapshot import OtherOptions
from support.files import BadFile, NoFile, read_arrays, write_arrays


class TestResume:
    @each_arch
    @pytest.mark.parametrize("iteration", [1, 6, 11])  # the sixth ends an epoch
    def test_brings_back_the_state_of_that_update(self, tmp_path, arch, iteration):
        trainer, _ = training(tmp_path, arch)
        expected = []
        trainer.extend(
            lambda trainer: expected.append(state(trainer)),
            name="recorder",
            trigger=(1, "iteration"),
            priority=-1000,
        )
        trainer.run()
        trainer, snapshot = training(tmp_path, arch, seed=1)
        snapshot.resume(str(tmp_path / f"snapshot_iter_{iteration}"), trainer)
        assert_same_state(trainer, expected[iteration - 1])

    @each_arch
    def test_after_every_update_goes_on_as_if_not_stopped(self, tmp_path, arch):
        expected = state(train(tmp_path / "expected", arch=arch)[0])
        for iteration in range(LAST):
            trainer, snapshot = training(tmp_path, arch, seed=iteration)
            break_at(trainer, iteration + 2)
            snapshot.resume_newest(trainer)
            try:
                trainer.run(show_loop_exception_msg=False)
            except Breaks:
                assert iterations(tmp_path)[-1] == iteration + 1
        assert_same_state(trainer, expected)

    def test_says_what_it_resumes(self, tmp_path, capsys):
        train(tmp_path)
        trainer, snapshot = training(tmp_path)
        snapshot.resume(str(tmp_path / "snapshot_iter_7"), trainer)
        assert capsys.readouterr().out == f"Resuming from {tmp_path}/snapshot_iter_7\n"

    def test_says_which_options_have_changed(self, tmp_path, capsys):
        train(tmp_path)
        trainer, snapshot = training(tmp_path, changeable={"--lr": 0.1, "--gradclip": 5.0})
        snapshot.resume(str(tmp_path / "snapshot_iter_7"), trainer)
        assert capsys.readouterr().out.splitlines()[1:] == [
            "Changed since: --lr is 0.1, was 0.001",
            "Changed since: --gradclip is 5.0, was None",
        ]

    def test_stays_the_same_run(self, tmp_path):
        train(tmp_path, epochs=1)
        trainer, snapshot = training(tmp_path, changeable={"--epoch": 3})
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        trainer.run()
        assert len({about(path)["run"] for path in tmp_path.glob("snap*")}) == 1

    def test_stays_the_same_run_though_other_options_were_trained_later(self, tmp_path):
        run = train(tmp_path, every=LAST)[1].about["run"]
        train(tmp_path, epochs=1, fixed={"--unit": 4})
        trainer, snapshot = training(tmp_path)
        snapshot.resume(str(tmp_path / "earlier-1" / f"snapshot_iter_{LAST}"), trainer)
        assert snapshot.about["run"] == run

    @pytest.mark.parametrize("changed", [{"--lr": 0.1}, {"--gradclip": 5.0}])
    def test_that_changes_the_way_is_a_new_run(self, tmp_path, changed):
        train(tmp_path, epochs=1)
        trainer, snapshot = training(tmp_path, changeable=changed)
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        trainer.run()
        old, new = (about(tmp_path / f"snapshot_iter_{i}") for i in (6, 7))
        assert old["run"] != new["run"]


class TestResumeRefuses:
    def refuse(self, path, folder, kind=BadFile, **options):
        """What is raised; the training stays as it was."""
        trainer, snapshot = training(folder, **options)
        before = state(trainer)
        with pytest.raises(kind) as refusal:
            snapshot.resume(str(path), trainer)
        assert type(refusal.value) is kind
        assert_same_state(trainer, before)
        assert snapshot.last is None
        return refusal.value

    def test_another_fixed_option(self, tmp_path):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        refusal = self.refuse(path, tmp_path, OtherOptions, fixed={"--unit": 4})
        assert refusal.args == (FIXED, {**FIXED, "--unit": 4})

    @pytest.mark.parametrize("before, now", [({}, {"--data": "9"}), ({"--data": "9"}, {})])
    def test_a_fixed_option_more_or_less(self, tmp_path, before, now):
        train(tmp_path, fixed=before)
        self.refuse(tmp_path / "snapshot_iter_7", tmp_path, OtherOptions, fixed=now)

    def test_a_path_where_nothing_is(self, tmp_path):
        assert str(self.refuse(tmp_path / "nothing", tmp_path, NoFile)) == "does not exist"

    def test_a_folder(self, tmp_path):
        assert str(self.refuse(tmp_path, tmp_path, NoFile)) == "is a folder"

    def test_a_damaged_file(self, tmp_path):
        train(tmp_path)
        damage(tmp_path / "snapshot_iter_7")
        assert str(self.refuse(tmp_path / "snapshot_iter_7", tmp_path)).startswith("is damaged")

    def test_a_snapshot_of_chainers(self, tmp_path):
        trainer, _ = train(tmp_path)
        save_npz(str(tmp_path / "chainers"), trainer)
        message = str(self.refuse(tmp_path / "chainers", tmp_path))
        assert "is not a snapshot of this program" in message

    @pytest.mark.parametrize("text", ["", "no JSON", "[]", "7", "null", "{", "{}", '{"format": 1}'])
    def test_a_snapshot_that_says_nothing_of_itself(self, tmp_path, text):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        write_arrays(str(path), {**read_arrays(str(path)), "snapshot": text})
        assert str(self.refuse(path, tmp_path)).startswith("is ")

    def test_a_snapshot_of_another_version(self, tmp_path):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        other = json.dumps({**about(path), "format": 99})
        write_arrays(str(path), {**read_arrays(str(path)), "snapshot": other})
        message = str(self.refuse(path, tmp_path))
        assert "is a snapshot of another version of this program" in message

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_parameter_that_is_not_finite(self, tmp_path, value):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        arrays = read_arrays(str(path))
        arrays["updater/model:main/predictor/l2/b"][1] = value
        write_arrays(str(path), arrays)
        message = str(self.refuse(path, tmp_path))
        assert "holds a number that is not finite, parameter /predictor/l2/b" in message

    @pytest.mark.parametrize(
        "change",
        [lambda a: a[:-1], lambda a: a[None], lambda a: a.astype("f8"), lambda a: a.astype("S9")],
    )
    def test_a_snapshot_that_holds_anything_of_another_kind(self, tmp_path, change):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        arrays = read_arrays(str(path))
        for name, array in arrays.items():
            if array.ndim:
                write_arrays(str(path), {**arrays, name: change(array)})
                self.refuse(path, tmp_path)

    def test_a_model_of_another_size(self, tmp_path):
        """Should ever an option that tells so be forgotten among the fixed ones."""
        train(tmp_path)
        message = str(self.refuse(tmp_path / "snapshot_iter_7", tmp_path, units=4))
        assert "as it is here" in message

    def test_a_snapshot_that_lacks_anything(self, tmp_path):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        arrays = read_arrays(str(path))
        for name in arrays:
            write_arrays(str(path), {other: arrays[other] for other in arrays if other != name})
            self.refuse(path, tmp_path)

    def test_more_memory_than_the_model_could_need(self, tmp_path, monkeypatch):
        """A limit that grows with the model: parameters and Adam's two moments have to fit."""
        limits = []

        def record(path, only=None, limit=None):
            if limit is not None:
                limits.append(limit)
            return read_arrays(path, only=only, limit=limit)

        def limit_and_size(units):
            train(tmp_path, units=units, every=LAST)
            trainer, snapshot = training(tmp_path, units=units)
            snapshot.resume(str(tmp_path / f"snapshot_iter_{LAST}"), trainer)
            params = trainer.updater.get_optimizer("main").target.params()
            return limits[-1], sum(param.array.nbytes for param in params)

        monkeypatch.setattr("extensions.snapshot_file.read_arrays", record)
        (small, small_size), (large, large_size) = limit_and_size(3), limit_and_size(100)
        assert small < 2**29
        assert large - small >= 3 * (large_size - small_size)


THEN = {"NumPy": "2.4.6", "BLAS": "openblas 0.3.30", "BLAS kernel": "Zen", "BLAS threads": 2}


class TestArithmetic:
    """Numbers agree bit by bit where NumPy, BLAS, its kernel and its threads are the same."""

    @pytest.fixture
    def resume(self, tmp_path, monkeypatch, capsys):
        """Train with one arithmetic, go on with another; give what is said of it."""

        def run(**changed):
            monkeypatch.setattr("extensions.snapshot.arithmetic", lambda: THEN)
            monkeypatch.setattr("extensions.snapshot.use_threads_as_before", self.threads.append)
            train(tmp_path)
            now = {**THEN, **{name.replace("_", " "): new for name, new in changed.items()}}
            monkeypatch.setattr("extensions.snapshot.arithmetic", lambda: now)
            trainer, snapshot = training(tmp_path)
            snapshot.resume(str(tmp_path / "snapshot_iter_7"), trainer)
            return capsys.readouterr().out.splitlines()[1:]

        self.threads = []
        return run

    def test_that_is_the_same_is_not_spoken_of(self, resume):
        assert resume() == []

    def test_that_has_changed_is_told_in_one_line(self, resume):
        assert resume(NumPy="2.5.0", BLAS_kernel="Haswell") == [
            "Changed since: NumPy is 2.5.0, was 2.4.6; BLAS kernel is Haswell, was Zen; "
            "numbers will differ in their last digits"
        ]

    def test_runs_on_as_many_threads_as_before(self, resume):
        resume()
        assert self.threads == [2]
