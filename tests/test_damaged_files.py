"""Files that are damaged, by chance or on purpose: one line, and nothing is half loaded.

Hundreds of cases, each the same in every run of the tests.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random

import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.serializers import DictionarySerializer, NpzDeserializer, save_npz
from chainer.training import Trainer
from test_wrong_input import SMALL, run_here

from bptt_updater import BPTTUpdater
from extensions.log import LogReport
from extensions.snapshot import OtherOptions, Snapshot
from models import ARCHS
from models.model_file import load_model, save_model
from parallel_sequential_iterator import ParallelSequentialIterator
from simple_sequence.simple_sequence_dataset import get_simple_sequence
from support.files import BadFile, Unreadable
from tests.faults.trainings import assert_same_arrays, load, snapshots
from training.stop import Stop


def damages(content, number, seed):
    """Copies of a file's content, each damaged somewhere, and what was done to it.

    The seed is new for each file, the same in each run of the tests.
    """
    chance = random.Random(seed)
    for n in range(number):
        damaged = bytearray(content)
        place, other = sorted(chance.sample(range(len(content)), 2))
        kind = ("bit turned", "cut", "bytes added", "bytes swapped", "bytes lost", "zeros")[n % 6]
        if kind == "bit turned":
            damaged[place] ^= 1 << chance.randrange(8)
        elif kind == "cut":
            del damaged[place:]
        elif kind == "bytes added":
            damaged[place:place] = chance.randbytes(chance.randrange(1, 99))
        elif kind == "bytes swapped":
            damaged[place], damaged[other] = damaged[other], damaged[place]
        elif kind == "bytes lost":
            del damaged[place : place + chance.randrange(1, 99)]
        else:
            damaged[place : place + 99] = bytes(len(damaged[place : place + 99]))
        if damaged != content:
            yield f"{kind} at {place}, {other}", bytes(damaged)


def sealed_again(content):
    """The content with a seal that fits, as who damages a file on purpose would write it."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


def tiny_training(arch, folder):
    """A trainer of a few parameters that saves each update, and its Snapshot extension."""
    np.random.seed(0)
    tokens = get_simple_sequence(4, 5)
    model = L.Classifier(ARCHS[arch](n_vocab=4, n_units=3))
    optimizer = optimizers.Adam().setup(model)
    updater = BPTTUpdater(ParallelSequentialIterator(tokens, 2), optimizer, 3, device=-1)
    trainer = Trainer(updater, Stop(1), str(folder))
    trainer.extend(LogReport())
    snapshot = Snapshot(fixed={"--arch": arch}, changeable={"--lr": 0.001})
    trainer.extend(snapshot, trigger=(1, "iteration"))
    return trainer, snapshot


def state_of(trainer):
    serializer = DictionarySerializer()
    serializer.save(trainer.updater)
    return {name: np.array(array) for name, array in serializer.target.items()}


@pytest.mark.parametrize("arch", ARCHS)
class TestSnapshot:
    @pytest.fixture
    def saved(self, arch, tmp_path):
        """A snapshot, what it holds, and a trainer that has not begun."""
        trainer, _ = tiny_training(arch, tmp_path)
        trainer.run()
        path = max(snapshots(tmp_path).items())[1]
        fresh, snapshot = tiny_training(arch, tmp_path)
        return path, state_of(trainer), fresh, snapshot

    def test_is_always_refused_and_changes_nothing(self, saved):
        path, _, trainer, snapshot = saved
        before = state_of(trainer)
        for damage, content in damages(path.read_bytes(), 120, seed=str(path.name)):
            path.write_bytes(content)
            with pytest.raises((BadFile, OtherOptions)) as refusal:
                snapshot.resume(str(path), trainer)
            assert refusal.type is not Unreadable, damage
            assert_same_arrays(state_of(trainer), before)

    def test_whose_checksum_was_made_to_fit_is_refused_or_loads_right(self, saved):
        path, expected, trainer, snapshot = saved
        before = state_of(trainer)
        for _, content in damages(path.read_bytes(), 120, seed=str(path.name)):
            path.write_bytes(sealed_again(content))
            try:
                snapshot.resume(str(path), trainer)
            except (BadFile, OtherOptions):
                assert_same_arrays(state_of(trainer), before)
            else:
                assert_same_arrays(state_of(trainer), expected)
                trainer, snapshot = tiny_training(snapshot.about["fixed"]["--arch"], trainer.out)


def test_log_with_a_number_that_nobody_could_draw_is_refused():
    serializer = DictionarySerializer()
    LogReport().serialize(serializer)
    for number, damaged in (2**62, False), (10**400, True):
        log = [{"epoch": 1, "iteration": 2, "elapsed_time": 0.5, "main/loss": number}]
        arrays = {**serializer.target, "_log": np.array(json.dumps(log))}
        with pytest.raises(ValueError) if damaged else contextlib.nullcontext():
            LogReport().serialize(NpzDeserializer(arrays))


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("save", [save_model, save_npz], ids=["ours", "chainers"])
def test_model_is_refused_or_loads_right(tmp_path, arch, save):
    model = ARCHS[arch](n_vocab=4, n_units=3)
    path = str(tmp_path / "model")
    save(path, model)
    content = pathlib.Path(path).read_bytes()
    expected = load(path)
    n_refused = 0
    for damage, damaged in damages(content, 200, seed=arch):
        pathlib.Path(path).write_bytes(damaged)
        try:
            loaded_arch, loaded, _ = load_model(path)
        except BadFile:
            n_refused += 1
        else:
            assert loaded_arch == arch, damage
            assert_same_arrays({n[1:]: p.array for n, p in loaded.namedparams()}, expected)
    assert n_refused > 100


@pytest.mark.parametrize("arch", ARCHS)
class TestGivenToACommand:
    """One line that names the file, and nothing is written."""

    @pytest.fixture
    def trained(self, tmp_path, arch):
        """The folder of a finished training."""
        options = [*SMALL, "-a", arch, "--snapshot-every", "9", "-o", "."]
        assert run_here("train_simple_sequence.py", tmp_path, options) == (0, "")
        return tmp_path

    @staticmethod
    def check(script, arguments, path, seed, exit_codes):
        content = path.read_bytes()
        names = sorted(os.listdir(path.parent))
        for damage, damaged in damages(content, 60, seed):
            path.write_bytes(damaged)
            code, err = run_here(script, path.parent, [*arguments, path.name])
            assert code in exit_codes, damage
            if code:
                assert err.startswith(f"{script}: error: argument "), damage
                assert f" {path.name} " in err and err.count("\n") == 1, damage
                assert sorted(os.listdir(path.parent)) == names, damage

    def test_train_says_so(self, trained, arch):
        options = [*SMALL, "-a", arch, "-r"]
        self.check("train_simple_sequence.py", options, trained / "snapshot_iter_9", arch, {1})

    def test_predict_says_so(self, trained, arch):
        path = trained / f"{arch}_simple_sequence.model"
        self.check("predict_simple_sequence.py", ["-l", "3", "-m"], path, arch, {0, 1})
