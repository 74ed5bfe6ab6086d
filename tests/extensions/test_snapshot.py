import json
import os
import pathlib
import time

import chainer_compat

import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.serializers import DictionarySerializer, save_npz
from chainer.training import Trainer

from bptt_updater import BPTTUpdater
from extensions.finite_loss import FiniteLoss
from extensions.log import LogReport
from extensions.snapshot import Snapshot
from models import ARCHS
from parallel_sequential_iterator import ParallelSequentialIterator
from support.command_line import CommandError, UsageError
from support.files import read_arrays, write_arrays
from training.processes import Processes
from training.stop import Stop

FIXED = {"--arch": "rnn", "--unit": 3}
CHANGEABLE = {"--lr": 0.001, "--gradclip": None, "--epoch": 2}
TOKENS = np.array([1, 2, 2, 3, 3, 3] * 2, np.int32)  # six updates an epoch
LAST = 12

each_arch = pytest.mark.parametrize("arch", ARCHS)
# A run of a name that as a word comes before or after any that a run gives itself.
each_other_run = pytest.mark.parametrize("run", ["", "~"], ids=["before", "after"])


def training(folder, arch="rnn", units=3, epochs=2, every=1, seed=0, keep=None, **options):
    """A trainer of a few parameters, and its Snapshot."""
    np.random.seed(seed)
    optimizer = optimizers.Adam().setup(L.Classifier(ARCHS[arch](n_vocab=4, n_units=units)))
    updater = BPTTUpdater(ParallelSequentialIterator(TOKENS, 1), optimizer, 2, device=-1)
    trainer = Trainer(updater, Stop(epochs), str(folder))
    trainer.extend(LogReport())
    fixed = {**FIXED, **options.get("fixed", {})}
    changeable = {**CHANGEABLE, **options.get("changeable", {})}
    snapshot = Snapshot(fixed, changeable, keep)
    trainer.extend(snapshot, trigger=(every, "iteration"))
    return trainer, snapshot


def train(folder, **options):
    trainer, snapshot = training(folder, **options)
    trainer.run(show_loop_exception_msg=False)
    return trainer, snapshot


def state(trainer):
    """All that the next update depends on, and the log."""
    serializer = DictionarySerializer()
    serializer.save(trainer.updater)
    arrays = {name: np.array(array) for name, array in serializer.target.items()}
    log = trainer.get_extension("LogReport").log
    return arrays, [{**entry, "elapsed_time": None} for entry in log]


def assert_same_state(trainer, expected):
    arrays, log = state(trainer)
    expected_arrays, expected_log = expected
    assert arrays.keys() == expected_arrays.keys()
    for name, array in expected_arrays.items():
        assert arrays[name].tobytes() == array.tobytes(), name
    assert log == expected_log


def iterations(folder):
    names = [path.name for path in pathlib.Path(folder).iterdir()]
    return sorted(int(name[len("snapshot_iter_") :]) for name in names if name.startswith("snap"))


def about(path):
    return json.loads(str(read_arrays(str(path))["snapshot"]))


def give_to_run(path, run):
    """Let a snapshot say that it is of the run of this name, the earliest of all."""
    said = json.dumps({**about(path), "run": run, "order": 0})
    write_arrays(str(path), {**read_arrays(str(path)), "snapshot": said})


def damage(path):
    content = bytearray(pathlib.Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    pathlib.Path(path).write_bytes(content)


class Breaks(Exception):
    pass


def break_at(trainer, iteration):
    """Let a training fail after an update, before that is saved."""

    def extension(trainer):
        if trainer.updater.iteration == iteration:
            raise Breaks

    trainer.extend(extension, trigger=(1, "iteration"), priority=1)


def spoil_at(trainer, iteration, value=np.nan):
    """Let a parameter turn bad in an update."""

    def extension(trainer):
        if trainer.updater.iteration == iteration:
            model = trainer.updater.get_optimizer("main").target
            model.predictor.l1.W.array[1, 2] = value

    trainer.extend(extension, trigger=(1, "iteration"), priority=1)


class First(Processes):
    """Rank 0 of two, if it is the first to do anything."""

    def __init__(self):
        self.told = []

    def once(self, work, *args):
        self.told.append(work(*args))
        return self.told[-1]


class Second(Processes):
    """Rank 1, which hears the same."""

    rank = 1

    def __init__(self, first):
        self.told = first.told

    def once(self, work, *args):
        return self.told.pop(0)


def become(processes, monkeypatch):
    """Let this process be one of several."""
    monkeypatch.setattr("extensions.snapshot.here", processes)
    monkeypatch.setattr("extensions.snapshot_file.here", processes)


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
        assert snapshot.advice() == f"the last good snapshot is {tmp_path}/snapshot_iter_12"

    def test_says_where_there_is_none(self, tmp_path):
        _, snapshot = training(tmp_path)
        assert snapshot.advice() == "no good snapshot was saved before"

    def test_that_fails_is_an_error_and_leaves_the_last_one(self, tmp_path, monkeypatch):
        trainer, snapshot = training(tmp_path)
        (tmp_path / "snapshot_iter_5").mkdir()
        with pytest.raises(OSError):
            trainer.run(show_loop_exception_msg=False)
        assert snapshot.last == str(tmp_path / "snapshot_iter_4")


class TestBadParameter:
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_is_not_saved(self, tmp_path, value):
        trainer, _ = training(tmp_path)
        spoil_at(trainer, 5, value)
        with pytest.raises(CommandError):
            trainer.run(show_loop_exception_msg=False)
        assert iterations(tmp_path) == [1, 2, 3, 4]

    def test_is_not_saved_over_a_good_one(self, tmp_path):
        train(tmp_path)
        good = (tmp_path / "snapshot_iter_5").read_bytes()
        trainer, _ = training(tmp_path)
        spoil_at(trainer, 5)
        with pytest.raises(CommandError):
            trainer.run(show_loop_exception_msg=False)
        assert (tmp_path / "snapshot_iter_5").read_bytes() == good

    def test_is_not_saved_at_the_end(self, tmp_path):
        trainer, _ = training(tmp_path, every=5)
        spoil_at(trainer, LAST)
        with pytest.raises(CommandError):
            trainer.run(show_loop_exception_msg=False)
        assert iterations(tmp_path) == [5, 10]

    def test_is_named_with_the_iteration_and_the_last_good_snapshot(self, tmp_path):
        trainer, _ = training(tmp_path)
        spoil_at(trainer, 5)
        with pytest.raises(CommandError) as error:
            trainer.run(show_loop_exception_msg=False)
        assert str(error.value) == (
            "parameter /predictor/l1/W is not finite after iteration 5; "
            f"the last good snapshot is {tmp_path}/snapshot_iter_4"
        )


class TestBadLoss:
    """Of update 7, with a snapshot of each, or of every second: 6 gives it and so is not good."""

    @pytest.mark.parametrize("every, left", [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), (5, [5])])
    def test_takes_back_the_snapshot_that_gives_it(self, tmp_path, every, left):
        trainer, snapshot = training(tmp_path, every=every)
        snapshot_7 = lambda trainer: trainer.updater.iteration == 7 and snapshot.withdraw(6)  # noqa: E731
        trainer.extend(snapshot_7, name="bad loss", trigger=(1, "iteration"), priority=2)
        break_at(trainer, 7)
        with pytest.raises(Breaks):
            trainer.run(show_loop_exception_msg=False)
        assert iterations(tmp_path) == left
        assert snapshot.last == str(tmp_path / f"snapshot_iter_{left[-1]}")

    @pytest.mark.parametrize("iteration", [1, 6])
    def test_takes_back_those_after_it(self, tmp_path, iteration):
        """That are there on a GPU, where the loss is looked at later."""
        _, snapshot = train(tmp_path)
        snapshot.withdraw(iteration)
        assert iterations(tmp_path) == list(range(1, iteration))
        path = str(tmp_path / f"snapshot_iter_{iteration - 1}")
        assert snapshot.last == (path if iteration > 1 else None)

    def test_of_the_first_update_leaves_none_to_go_back_to(self, tmp_path):
        _, snapshot = training(tmp_path)
        snapshot.withdraw(0)
        assert snapshot.last is None

    def test_takes_back_none_from_before_a_resume(self, tmp_path):
        train(tmp_path)
        trainer, snapshot = training(tmp_path)
        snapshot.resume(str(tmp_path / "snapshot_iter_12"), trainer)
        snapshot.initialize(trainer)
        snapshot.withdraw(11)
        assert iterations(tmp_path)[-2:] == [11, 12]
        assert snapshot.last == str(tmp_path / "snapshot_iter_10")

    def test_names_the_one_resumed_from_though_it_is_elsewhere(self, tmp_path):
        """And those that were saved before it are not, if it is good."""
        train(tmp_path, every=4)
        elsewhere = (tmp_path / "snapshot_iter_12").rename(tmp_path / "elsewhere")
        trainer, snapshot = training(tmp_path, epochs=3)
        snapshot.resume(str(elsewhere), trainer)
        trainer.run()
        snapshot.withdraw(13)
        assert snapshot.last == str(elsewhere)
        snapshot.withdraw(12)
        assert snapshot.last == str(tmp_path / "snapshot_iter_8")

    def test_is_withdrawn_by_one_process_only(self, tmp_path, monkeypatch):
        first = First()
        become(first, monkeypatch)
        _, snapshot = train(tmp_path)
        become(Second(first), monkeypatch)
        _, other = train(tmp_path)
        other.withdraw(6)
        assert iterations(tmp_path)[-1] == LAST
        assert other.last == str(tmp_path / "snapshot_iter_5")
        become(first, monkeypatch)
        snapshot.withdraw(6)
        assert iterations(tmp_path)[-1] == 5


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
        assert iterations(tmp_path) == [3, 6, 9, 12]

    @each_other_run
    def test_does_not_count_those_of_another_run(self, tmp_path, run):
        train(tmp_path, epochs=1)
        give_to_run(tmp_path / "snapshot_iter_5", run)
        trainer, snapshot = training(tmp_path, keep=LAST - 1)
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        trainer.run()
        assert iterations(tmp_path) == list(range(1, LAST + 1))

    def test_removes_no_file_that_it_cannot_read_and_says_nothing_of_it(self, tmp_path, capsys):
        (tmp_path / "snapshot_iter_1").write_text("what is this?")
        write_arrays(str(tmp_path / "snapshot_iter_2"), {"snapshot": "{}"})
        train(tmp_path, every=6, keep=1)
        assert iterations(tmp_path) == [1, 2, 12]
        assert capsys.readouterr().out == ""

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
        assert iterations(tmp_path) == [LAST]

    @each_other_run
    def test_removes_no_snapshot_that_another_run_has_put_in_its_place(self, tmp_path, run):
        trainer, _ = training(tmp_path, keep=1, every=6)

        def replace(trainer):
            if trainer.updater.iteration == 7:
                give_to_run(tmp_path / "snapshot_iter_6", run)

        trainer.extend(replace, name="replace", trigger=(1, "iteration"))
        trainer.run()
        assert iterations(tmp_path) == [6, 12]


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

    def test_names_the_resumed_snapshot_as_the_last_good_one(self, tmp_path):
        train(tmp_path)
        trainer, snapshot = training(tmp_path)
        snapshot.resume(str(tmp_path / "snapshot_iter_7"), trainer)
        assert snapshot.advice() == f"the last good snapshot is {tmp_path}/snapshot_iter_7"

    def test_stays_the_same_run(self, tmp_path):
        train(tmp_path, epochs=1)
        trainer, snapshot = training(tmp_path, changeable={"--epoch": 3})
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        trainer.run()
        names = {(about(path)["run"], about(path)["order"]) for path in tmp_path.glob("snap*")}
        assert len(names) == 1

    def test_stays_the_same_run_though_other_options_were_trained_later(self, tmp_path):
        run = train(tmp_path, every=LAST)[1].about["run"]
        train(tmp_path, epochs=1, fixed={"--unit": 4})
        trainer, snapshot = training(tmp_path)
        snapshot.resume(str(tmp_path / f"snapshot_iter_{LAST}"), trainer)
        assert snapshot.about["run"] == run

    @pytest.mark.parametrize("changed", [{"--lr": 0.1}, {"--gradclip": 5.0}])
    def test_that_changes_the_way_is_a_new_run(self, tmp_path, changed):
        train(tmp_path, epochs=1)
        trainer, snapshot = training(tmp_path, changeable=changed)
        snapshot.resume(str(tmp_path / "snapshot_iter_6"), trainer)
        trainer.run()
        old, new = (about(tmp_path / f"snapshot_iter_{i}") for i in (6, 7))
        assert old["run"] != new["run"]
        assert old["order"] < new["order"]


class TestResumeRefuses:
    def refuse(self, path, folder, kind, **options):
        """What is said; the training stays as it was."""
        trainer, snapshot = training(folder, **options)
        before = state(trainer)
        with pytest.raises(kind) as refusal:
            snapshot.resume(str(path), trainer)
        assert type(refusal.value) is kind
        assert_same_state(trainer, before)
        assert snapshot.last is None
        return str(refusal.value)

    def test_another_fixed_option(self, tmp_path):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        assert self.refuse(path, tmp_path, UsageError, fixed={"--unit": 4}) == (
            f"argument -r/--resume: {path} was trained with --unit 3, not --unit 4; "
            "give --unit 3 or another snapshot"
        )

    @pytest.mark.parametrize(
        ("before", "now", "told"),
        [
            ({}, {"--data": "of 9 tokens"}, "no --data, not --data of 9 tokens; give no --data"),
            ({"--data": "of 9 tokens"}, {}, "--data of 9 tokens, not no --data; give --data of"),
        ],
    )
    def test_a_fixed_option_more_or_less(self, tmp_path, before, now, told):
        train(tmp_path, fixed=before)
        path = tmp_path / "snapshot_iter_7"
        message = self.refuse(path, tmp_path, UsageError, fixed=now)
        assert f"{path} was trained with {told}" in message

    def test_a_path_where_nothing_is(self, tmp_path):
        message = self.refuse(tmp_path / "nothing", tmp_path, UsageError)
        assert f"{tmp_path}/nothing does not exist; expected 'auto' or a file" in message

    def test_a_folder(self, tmp_path):
        assert "is a folder; expected" in self.refuse(tmp_path, tmp_path, UsageError)

    def test_a_damaged_file(self, tmp_path):
        train(tmp_path)
        damage(tmp_path / "snapshot_iter_7")
        message = self.refuse(tmp_path / "snapshot_iter_7", tmp_path, CommandError)
        assert f"argument -r/--resume: {tmp_path}/snapshot_iter_7 is damaged" in message

    def test_a_snapshot_of_chainers(self, tmp_path):
        trainer, _ = train(tmp_path)
        save_npz(str(tmp_path / "chainers"), trainer)
        message = self.refuse(tmp_path / "chainers", tmp_path, CommandError)
        assert "is no snapshot of this program" in message

    @pytest.mark.parametrize("text", ["", "no JSON", "[]", "7", "null", "{", "{}", '{"format": 1}'])
    def test_a_snapshot_that_says_nothing_of_itself(self, tmp_path, text):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        write_arrays(str(path), {**read_arrays(str(path)), "snapshot": text})
        assert f"{path} is " in self.refuse(path, tmp_path, CommandError)

    def test_a_snapshot_of_another_version(self, tmp_path):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        other = json.dumps({**about(path), "format": 99})
        write_arrays(str(path), {**read_arrays(str(path)), "snapshot": other})
        message = self.refuse(path, tmp_path, CommandError)
        assert "is a snapshot of another version of this program" in message

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_parameter_that_is_not_finite(self, tmp_path, value):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        arrays = read_arrays(str(path))
        arrays["updater/model:main/predictor/l2/b"][1] = value
        write_arrays(str(path), arrays)
        message = self.refuse(path, tmp_path, CommandError)
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
                assert f"{path} " in self.refuse(path, tmp_path, CommandError)

    def test_a_model_of_another_size(self, tmp_path):
        """Should ever an option that tells so be forgotten among the fixed ones."""
        train(tmp_path)
        message = self.refuse(tmp_path / "snapshot_iter_7", tmp_path, CommandError, units=4)
        assert "as it is here" in message

    def test_a_snapshot_that_lacks_anything(self, tmp_path):
        train(tmp_path)
        path = tmp_path / "snapshot_iter_7"
        arrays = read_arrays(str(path))
        for name in arrays:
            write_arrays(str(path), {other: arrays[other] for other in arrays if other != name})
            assert f"{path} " in self.refuse(path, tmp_path, CommandError)

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
        assert self.resume(tmp_path).updater.iteration == 12
        assert capsys.readouterr().out.splitlines() == [
            f"Passed over {tmp_path}/snapshot_iter_15: it was trained with other options",
            f"Passed over {tmp_path}/snapshot_iter_10: it was trained with other options",
            f"Passed over {tmp_path}/snapshot_iter_5: it was trained with other options",
            f"Resuming from {tmp_path}/snapshot_iter_12",
        ]

    @each_other_run
    def test_passes_over_an_earlier_run_and_names_it(self, tmp_path, capsys, run):
        train(tmp_path, every=12)
        give_to_run(tmp_path / "snapshot_iter_12", run)
        train(tmp_path, every=5, epochs=1)
        assert self.resume(tmp_path).updater.iteration == 6
        lines = capsys.readouterr().out.splitlines()
        assert f"Passed over {tmp_path}/snapshot_iter_12: it is of an earlier run" in lines

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

    def test_takes_the_newest_run_though_the_clock_was_set_back(self, tmp_path, monkeypatch):
        monkeypatch.setattr(time, "time_ns", lambda: 10**9 + 1)
        train(tmp_path, every=12)
        monkeypatch.setattr(time, "time_ns", lambda: 10**9)
        train(tmp_path, every=5, epochs=1)
        assert self.resume(tmp_path).updater.iteration == 6
        earlier, later = (about(tmp_path / f"snapshot_iter_{i}") for i in (12, 6))
        assert (earlier["order"], later["order"]) == (10**9 + 1, 10**9 + 2)

    def test_takes_an_earlier_run_where_the_newest_has_left_nothing_usable(self, tmp_path):
        train(tmp_path, every=12)
        train(tmp_path, every=6, epochs=1)
        damage(tmp_path / "snapshot_iter_6")
        assert self.resume(tmp_path).updater.iteration == 12

    def test_takes_the_way_that_was_gone_on_with_though_another_run_began_later(self, tmp_path):
        train(tmp_path, every=8)
        train(tmp_path, every=5, epochs=1)
        trainer, snapshot = training(tmp_path, epochs=3)
        snapshot.resume(str(tmp_path / "snapshot_iter_12"), trainer)
        trainer.run()
        assert self.resume(tmp_path).updater.iteration == 18

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
            # It has restored its own trainer when it tells of the arrays.
            rank_0.setattr("extensions.snapshot.restore", None)
            become(first, rank_0)
            snapshot.resume_newest(trainer)
        said = capsys.readouterr().out
        others.resume_newest(other)
        assert said and not capsys.readouterr().out
        assert_same_state(other, state(trainer))
        assert (others.about, others.last) == (snapshot.about, snapshot.last)
