import json
import types

import numpy as np
import pytest
from chainer.serializers import DictionarySerializer, NpzDeserializer

from extensions import log as log_module
from extensions.log import LogReport
from extensions.packed_log import BLOCK

ENTRY = {"main/loss": 0.25, "epoch": 1, "iteration": 20, "elapsed_time": 1.5}


class FakeTrainer:
    """A trainer that ends an epoch with each call of its extension."""

    is_before_training = False

    def __init__(self, folder, report):
        self.out = str(folder)
        self.updater = types.SimpleNamespace(
            epoch=0, iteration=0, epoch_detail=0.0, previous_epoch_detail=0.0
        )
        self.report = report
        self.elapsed_time = 0.0
        report.initialize(self)

    def epochs(self, count):
        for _ in range(count):
            updater = self.updater
            updater.epoch += 1
            updater.iteration += 20
            updater.previous_epoch_detail, updater.epoch_detail = updater.epoch - 1, updater.epoch
            self.elapsed_time += 0.5
            self.observation = {"main/loss": 1 / updater.epoch}
            self.report(self)


@pytest.fixture
def trainer(tmp_path):
    return FakeTrainer(tmp_path, LogReport())


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set: ``clock.now``; writing takes ``clock.write`` seconds."""
    clock = types.SimpleNamespace(now=100.0, write=0.0, written=0)
    write_file = log_module.write_file

    def write(path, content):
        write_file(path, content)
        clock.now += clock.write
        clock.written += 1

    monkeypatch.setattr(log_module, "write_file", write)
    monkeypatch.setattr(log_module, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def saved(report):
    serializer = DictionarySerializer()
    report.serialize(serializer)
    return serializer.target


class TestFile:
    def test_is_the_log_as_chainer_writes_it(self, trainer, tmp_path):
        trainer.epochs(3)
        trainer.report.finalize()
        assert (tmp_path / "log").read_text() == json.dumps(trainer.report.log, indent=4)
        assert [entry["epoch"] for entry in trainer.report.log] == [1, 2, 3]

    def test_is_not_there_before_the_first_epoch(self, trainer, tmp_path):
        trainer.report.finalize()
        assert not list(tmp_path.iterdir())

    def test_is_there_after_the_first_epoch(self, trainer, tmp_path):
        trainer.epochs(1)
        assert len(json.loads((tmp_path / "log").read_text())) == 1

    def test_is_written_after_each_epoch_that_is_long(self, trainer, tmp_path, clock):
        clock.write = 0.01
        for n_epochs in range(1, 4):
            trainer.epochs(1)
            assert len(json.loads((tmp_path / "log").read_text())) == n_epochs
            clock.now += 1.1

    def test_takes_a_hundredth_of_the_time(self, trainer, clock):
        clock.write = 0.01
        began = clock.now
        for _ in range(1000):
            clock.now += 0.002
            trainer.epochs(1)
        share = clock.written * clock.write / (clock.now - began)
        assert 0.005 < share < 0.02

    def test_holds_at_the_end_what_came_too_soon(self, trainer, tmp_path, clock):
        clock.write = 0.01
        trainer.epochs(5)
        assert len(json.loads((tmp_path / "log").read_text())) == 1
        trainer.report.finalize()
        assert len(json.loads((tmp_path / "log").read_text())) == 5

    def test_that_cannot_be_written_ends_the_training(self, tmp_path):
        trainer = FakeTrainer(tmp_path / "nowhere", LogReport())
        with pytest.raises(FileNotFoundError):
            trainer.epochs(1)

    def test_that_cannot_be_written_is_not_complained_of_twice(self, tmp_path):
        trainer = FakeTrainer(tmp_path / "nowhere", LogReport())
        with pytest.raises(FileNotFoundError) as error:
            trainer.epochs(1)
        trainer.report.on_error(trainer, error.value, None)
        trainer.report.finalize()


class TestEncoding:
    def test_is_done_once_for_each_entry(self, trainer, monkeypatch):
        """Of the file; and of the snapshots, but for those that do not fill a block."""
        dumps, pack = json.dumps, log_module.pack
        encoded, packed = [], []

        def count_dumps(entry, **options):
            encoded.append(entry)
            return dumps(entry, **options)

        def count_pack(entries):
            packed.extend(entries)
            return pack(entries)

        monkeypatch.setattr(log_module.json, "dumps", count_dumps)
        monkeypatch.setattr(log_module, "pack", count_pack)
        for _ in range(8):
            trainer.epochs(BLOCK // 2)
            saved(trainer.report)
            trainer.report._write()
        entries = [entry for entry in encoded if isinstance(entry, dict) and "epoch" in entry]
        assert len(entries) == 4 * BLOCK
        assert len(packed) == 4 * BLOCK + 4 * BLOCK // 2


class TestSnapshot:
    def test_brings_the_log_back(self, trainer, tmp_path):
        trainer.epochs(BLOCK + 3)
        report = LogReport()
        report.serialize(NpzDeserializer(saved(trainer.report)))
        assert json.dumps(report.log) == json.dumps(trainer.report.log)
        (tmp_path / "resumed").mkdir()
        FakeTrainer(tmp_path / "resumed", report)
        text = (tmp_path / "resumed" / "log").read_text()
        assert text == json.dumps(trainer.report.log, indent=4)

    def test_saved_again_is_the_same(self, trainer):
        trainer.epochs(BLOCK + 3)
        report = LogReport()
        report.serialize(NpzDeserializer(saved(trainer.report)))
        assert saved(report)["_log"].tobytes() == saved(trainer.report)["_log"].tobytes()

    def test_replaces_what_there_was(self, trainer, tmp_path):
        other = FakeTrainer(tmp_path, LogReport())
        other.epochs(BLOCK + 1)
        before = saved(other.report)
        trainer.epochs(2)
        other.report.serialize(NpzDeserializer(saved(trainer.report)))
        assert len(other.report.log) == 2
        other.epochs(1)
        other.report.finalize()
        assert json.loads((tmp_path / "log").read_text()) == other.report.log
        other.report.serialize(NpzDeserializer(before))
        assert len(other.report.log) == BLOCK + 1

    def test_of_version_1_is_read(self, trainer):
        """Which kept the log as text."""
        arrays = {**saved(trainer.report), "_log": np.asarray(json.dumps([ENTRY, ENTRY]))}
        report = LogReport()
        report.serialize(NpzDeserializer(arrays))
        assert report.log == [ENTRY, ENTRY]

    @pytest.mark.parametrize(
        "log", ["3", "[3]", "[{}]", '[{"epoch": "1", "iteration": 2, "elapsed_time": 3}]', "]"]
    )
    def test_without_a_log_is_refused(self, trainer, log):
        arrays = {**saved(trainer.report), "_log": np.asarray(log)}
        with pytest.raises(ValueError):
            LogReport().serialize(NpzDeserializer(arrays))
