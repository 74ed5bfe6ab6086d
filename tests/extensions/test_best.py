"""The best model and the falling learning rate, with validation losses that the tests dictate."""

import math
import os

import chainer.links as L
import numpy as np
import pytest
from chainer import report
from chainer.optimizers import Adam
from chainer.serializers import DictionarySerializer, NpzDeserializer
from chainer.training import Extension, Trainer

from bptt_updater import BPTTUpdater
from extensions.best import Best
from models import RNN
from models.model_file import Trained, load_model
from own_data.vocabulary import CharVocabulary
from parallel_sequential_iterator import ParallelSequentialIterator
from training.stop import Stop

TOKENS = np.array([1, 2, 2, 3, 3, 3], np.int32)  # three windows of 2 an epoch
RATE = 0.01


def trainer_of(folder, losses, best_path="best.model", **options):
    """A training whose validation loss after each epoch is that of ``losses``."""
    np.random.seed(0)
    model = RNN(4, 3)
    optimizer = Adam(alpha=RATE).setup(L.Classifier(model))
    updater = BPTTUpdater(ParallelSequentialIterator(TOKENS, 1), optimizer, 2, device=-1)
    trainer = Trainer(updater, Stop(len(losses)), str(folder))
    path = best_path and os.path.join(folder, best_path)
    trainer.extend(Best(model, path, **options))
    trainer.lr, trainer.parameters = [], [parameters(model)]

    def evaluate(trainer):
        report({"validation/main/loss": losses[updater.epoch - 1]})
        trainer.parameters.append(parameters(model))

    trainer.extend(evaluate, trigger=(1, "epoch"), priority=300, name="evaluate")
    trainer.extend(
        lambda trainer: trainer.lr.append(trainer.observation.get("lr")),
        trigger=(1, "epoch"),
        priority=100,
        name="note",
    )
    return trainer


def run(folder, losses, **options):
    trainer = trainer_of(folder, losses, **options)
    trainer.run(show_loop_exception_msg=False)
    return trainer


def parameters(model):
    return {name: param.array.copy() for name, param in model.namedparams()}


def assert_holds(path, expected):
    _, model, _ = load_model(str(path))
    for name, param in model.namedparams():
        np.testing.assert_array_equal(param.array, expected[name], err_msg=name)


def state_of(trainer):
    serializer = DictionarySerializer()
    serializer.save(trainer)
    return {name: np.array(array) for name, array in serializer.target.items()}


@pytest.mark.parametrize(
    "losses, best",
    [
        ([3, 2, 1], 3),
        ([1, 2, 3], 1),
        ([3, 1, 2, 1], 2),  # of equal ones the first
        ([3, math.nan, 2, math.inf], 3),
    ],
)
def test_file_holds_the_parameters_after_the_epoch_with_the_lowest_loss(tmp_path, losses, best):
    trainer = run(tmp_path, losses)
    assert_holds(tmp_path / "best.model", trainer.parameters[best])
    extension = trainer.get_extension("Best")
    assert (extension.epoch, extension.loss) == (best, losses[best - 1])


def test_file_is_there_as_soon_as_the_epoch_is_over(tmp_path):
    trainer = trainer_of(tmp_path, [2, 1])
    seen = []
    trainer.extend(
        lambda trainer: seen.append((tmp_path / "best.model").exists()), trigger=(1, "iteration")
    )
    trainer.run()
    assert seen == [False, False, True, True, True, True]


def test_file_says_what_it_was_trained_on(tmp_path):
    run(tmp_path, [1], trained=Trained("own data", CharVocabulary("abcd")))
    assert os.listdir(tmp_path) == ["best.model"]
    assert load_model(str(tmp_path / "best.model"))[2].vocabulary.tokens() == list("abcd")


def test_without_a_path_nothing_is_written(tmp_path):
    run(tmp_path, [1, 2], best_path=None, decay=0.5)
    assert not list(tmp_path.iterdir())


def test_rate_falls_after_each_epoch_that_is_not_the_best_so_far(tmp_path):
    trainer = run(tmp_path, [3, 4, 3, 2, 2, 1], decay=0.5)
    np.testing.assert_allclose(trainer.lr, RATE * np.array([1, 1, 0.5, 0.25, 0.25, 0.125]))


def test_without_decay_the_rate_stays_and_is_not_reported(tmp_path):
    trainer = run(tmp_path, [1, 2, 3])
    assert trainer.lr == [None] * 3
    assert trainer.updater.get_optimizer("main").alpha == RATE


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_training_that_goes_on_ends_as_one_without_a_break(tmp_path, epochs):
    losses = [3, 1, 2, 1.5, 1.5]
    whole = run(tmp_path / "whole", losses, decay=0.5)
    first = run(tmp_path / "first", losses[:epochs], decay=0.5)
    second = trainer_of(tmp_path / "second", losses, decay=0.5)
    NpzDeserializer(state_of(first)).load(second)
    second.run()
    assert first.lr + second.lr == whole.lr
    best = "best.model"
    content = (tmp_path / "whole" / best).read_bytes()
    assert (tmp_path / "second" / best).read_bytes() == content


def test_a_finished_training_that_goes_on_writes_its_best_model_again(tmp_path):
    first = run(tmp_path / "first", [1, 2])
    second = trainer_of(tmp_path / "second", [1, 2])
    NpzDeserializer(state_of(first)).load(second)
    second.run()
    assert_holds(tmp_path / "second" / "best.model", first.parameters[1])


def test_state_that_knows_nothing_of_it_begins_anew(tmp_path):
    first = run(tmp_path / "first", [1])
    state = {n: a for n, a in state_of(first).items() if "extensions/Best" not in n}
    second = trainer_of(tmp_path / "second", [1, 5])
    NpzDeserializer(state).load(second)
    second.run()
    assert second.get_extension("Best").epoch == 2


class Ending(Extension):
    """Takes note of its end, which comes after that of the best model."""

    ended = False

    def __call__(self, trainer):
        pass

    def finalize(self):
        self.ended = True


def test_a_file_that_cannot_be_written_keeps_no_other_extension_from_its_end(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no room")

    monkeypatch.setattr("extensions.best.save_parameters", fail)
    trainer = trainer_of(tmp_path, [1])
    ending = Ending()
    trainer.extend(ending)
    with pytest.raises(OSError, match="no room"):
        trainer.run(show_loop_exception_msg=False)
    assert ending.ended
