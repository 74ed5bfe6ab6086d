import io
import os
import sys
import time

import chainer.links as L
import numpy as np
import pytest
from chainer import optimizers
from chainer.training import Trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train_simple_sequence
from bptt_updater import BPTTUpdater
from counting.figure import draw_counting
from counting.scores import periods
from extensions.evaluation import WindowEvaluator
from extensions.log import LogReport
from extensions.tensorboard import TensorBoard
from models import ARCHS
from parallel_sequential_iterator import ParallelSequentialIterator
from simple_sequence.simple_sequence_dataset import get_simple_sequence
from support.command_line import UsageError
from training.options import parse_arguments

V, U, B = 4, 5, 2


def test_absence_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "tensorboard.compat", raising=False)
    monkeypatch.delitem(sys.modules, "tensorboard.compat.proto", raising=False)
    with pytest.raises(UsageError, match=r"--tensorboard: .* -r requirements/tensorboard\.txt$"):
        parse_arguments("", ["--tensorboard"])


def test_importing_this_needs_none(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "extensions.tensorboard")
    import extensions.tensorboard  # noqa: F401


def train(folder, n_epochs=3, arch="rnn", picture=True):
    """Train with TensorBoard; return the trainer, whose model is as at the last epoch."""
    np.random.seed(0)
    model = L.Classifier(ARCHS[arch](V, U))
    evaluated = model.copy()
    data = get_simple_sequence(V, 4)
    updater = BPTTUpdater(
        ParallelSequentialIterator(data, B), optimizers.Adam(0.01).setup(model), 6, -1
    )
    trainer = Trainer(updater, (n_epochs, "epoch"), out=str(folder))
    os.makedirs(folder, exist_ok=True)
    validation = ParallelSequentialIterator(data, B, repeat=False)
    trainer.extend(WindowEvaluator(validation, evaluated, device=-1, two_periods=periods(V, 2)))
    trainer.extend(LogReport())
    figure = (lambda: draw_counting(evaluated.predictor, arch)) if picture else None
    trainer.extend(TensorBoard(figure))
    trainer.run()
    return trainer


def read(folder):
    """The events as TensorBoard reads them."""
    sizes = {"scalars": 0, "images": 0, "histograms": 0}  # all
    return EventAccumulator(str(folder / "tensorboard"), sizes).Reload()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trainer = train(folder)
    return trainer, read(folder)


class TestEvents:
    def test_hold_the_scalars_of_the_log(self, run):
        trainer, events = run
        log = trainer.get_extension("LogReport").log
        names = set(log[0]) - {"epoch", "iteration"}
        assert set(events.Tags()["scalars"]) == names
        assert {"main/loss", "validation/main/accuracy", "boundary_accuracy", "free_run"} <= names
        for name in names:
            scalars = events.Scalars(name)
            assert [event.step for event in scalars] == [1, 2, 3]
            expected = [entry[name] for entry in log]
            np.testing.assert_allclose([event.value for event in scalars], expected, rtol=1e-6)

    def test_hold_a_histogram_of_every_parameter(self, run):
        trainer, events = run
        params = dict(trainer.updater.get_optimizer("main").target.predictor.namedparams())
        assert set(events.Tags()["histograms"]) == {f"parameters{path}" for path in params}
        for path, param in params.items():
            histograms = events.Histograms(f"parameters{path}")
            assert [event.step for event in histograms] == [1, 2, 3]
            last = histograms[-1].histogram_value
            assert last.num == sum(last.bucket) == param.size
            array = param.array.astype(np.float64)
            np.testing.assert_allclose((last.min, last.max), (array.min(), array.max()))
            np.testing.assert_allclose(last.sum, array.sum())
            np.testing.assert_allclose(last.sum_squares, (array**2).sum())
            below = np.searchsorted(np.sort(array.ravel()), last.bucket_limit[:-1])
            assert np.cumsum(last.bucket)[:-1].tolist() == below.tolist()

    def test_hold_the_counting_figure(self, run):
        _, events = run
        images = events.Images("counting")
        assert [event.step for event in images] == [1, 2, 3]
        for event in images:
            picture = Image.open(io.BytesIO(event.encoded_image_string))
            assert picture.format == "PNG"
            assert picture.size == (event.width, event.height)
        assert images[0].encoded_image_string != images[2].encoded_image_string


def test_picture_is_left_out_where_there_is_none(tmp_path):
    train(tmp_path, 1, picture=False)
    assert read(tmp_path).Tags()["images"] == []


def test_picture_is_left_out_where_the_free_run_overflows(tmp_path, monkeypatch):
    def draw(*_):
        raise FloatingPointError

    monkeypatch.setattr(f"{__name__}.draw_counting", draw)
    train(tmp_path, 1)
    assert read(tmp_path).Tags()["images"] == [] and read(tmp_path).Tags()["scalars"]


def test_drawing_leaves_the_training_as_it_would_be(tmp_path):
    models = [
        train(tmp_path / name, 2, "lstm", picture).updater.get_optimizer("main").target
        for name, picture in (("with", True), ("without", False))
    ]
    for one, other in zip(*(model.params() for model in models), strict=True):
        np.testing.assert_array_equal(one.array, other.array)


def test_second_training_replaces_the_first(tmp_path, monkeypatch):
    first = train(tmp_path, 3, picture=False).get_extension("LogReport").log
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 2)
    second = train(tmp_path, 2, picture=False).get_extension("LogReport").log
    assert len(os.listdir(tmp_path / "tensorboard")) == 2
    scalars = read(tmp_path).Scalars("elapsed_time")
    assert [event.step for event in scalars] == [1, 2]
    assert scalars[0].value == np.float32(second[0]["elapsed_time"]) != first[0]["elapsed_time"]


def test_failure_to_write_is_a_warning_and_ends_no_training(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("in the way")
    trainer = train(tmp_path, 2)
    assert trainer.updater.epoch == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ") and "tensorboard" in line


def test_command_writes_and_names_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["-e", "1", "-u", "5", "--repeat", "4", "-b", "2"]
    assert train_simple_sequence.main(["--tensorboard", *small]) == 0
    assert "counting.png, tensorboard\n" in capsys.readouterr().out
    tags = read(tmp_path / "result").Tags()
    assert "free_run" in tags["scalars"] and tags["images"] == ["counting"]
