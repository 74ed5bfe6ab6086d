"""What tests of snapshots share: trainings of a few parameters, and what can happen to them."""

import json
import pathlib
import pickle

import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.serializers import DictionarySerializer
from chainer.training import Trainer

from bptt_updater import BPTTUpdater
from extensions.log import LogReport
from extensions.snapshot import Snapshot
from models import ARCHS
from parallel_sequential_iterator import ParallelSequentialIterator
from support.files import read_arrays, write_arrays
from support.processes import Processes
from training.stop import Stop

FIXED = {"--arch": "rnn", "--unit": 3}
CHANGEABLE = {"--lr": 0.001, "--gradclip": None, "--epoch": 2}
TOKENS = np.array([1, 2, 2, 3, 3, 3] * 2, np.int32)  # six updates an epoch
LAST = 12

each_arch = pytest.mark.parametrize("arch", ARCHS)


def training(folder, arch="rnn", units=3, epochs=2, every=1, seed=0, keep=None, **options):
    """A trainer of a few parameters, and its Snapshot."""
    np.random.seed(seed)
    optimizer = optimizers.Adam().setup(L.Classifier(ARCHS[arch](n_vocab=4, n_units=units)))
    updater = BPTTUpdater(ParallelSequentialIterator(TOKENS, 1), optimizer, 2, device=-1)
    trainer = Trainer(updater, Stop(epochs), str(folder))
    trainer.extend(LogReport())
    fixed = {**FIXED, **options.get("fixed", {})}
    changeable = {**CHANGEABLE, **options.get("changeable", {})}
    snapshot = Snapshot(fixed, changeable, ("--lr", "--gradclip"), keep)
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
    """Let a snapshot say that it is of the run of this name."""
    said = json.dumps({**about(path), "run": run})
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
        result = work(*args)
        self.told.append(pickle.dumps(result))
        return result


class Second(Processes):
    """Rank 1, which hears the same."""

    rank = 1

    def __init__(self, first):
        self.told = first.told

    def once(self, work, *args):
        return pickle.loads(self.told.pop(0))


def become(processes, monkeypatch):
    """Let this process be one of several."""
    monkeypatch.setattr("extensions.snapshot.here", processes)
    monkeypatch.setattr("extensions.snapshot_file.here", processes)
