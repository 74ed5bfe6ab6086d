"""The learning rate along a cosine, on a training of six updates an epoch."""

import numpy as np
from chainer.serializers import NpzDeserializer
from snapshot_trainings import state, training

from extensions.cosine import Cosine
from extensions.snapshot_file import arrays_of

RATE = 0.001  # Chainer's default, which these trainings have


def trainer_of(folder, epochs):
    trainer, _ = training(folder, epochs=epochs, every=1000)
    trainer.extend(Cosine())
    trainer.rates = []

    def note(trainer):
        trainer.rates.append(trainer.observation["lr"])

    trainer.extend(note, trigger=(1, "iteration"), priority=100)
    return trainer


def test_rate_falls_from_all_to_nothing_along_half_a_wave(tmp_path):
    trainer = trainer_of(tmp_path, epochs=2)
    trainer.run()
    expected = RATE * (1 + np.cos(np.pi * np.arange(12) / 12)) / 2
    np.testing.assert_allclose(trainer.rates, expected)


def test_after_the_last_epoch_nothing_is_left(tmp_path):
    trainer = trainer_of(tmp_path, epochs=1)
    trainer.run()
    assert trainer.updater.get_optimizer("main").alpha == 0


def test_a_training_that_goes_on_ends_as_one_without_a_break(tmp_path):
    whole = trainer_of(tmp_path / "whole", epochs=2)
    whole.run()
    first = trainer_of(tmp_path / "first", epochs=2)
    first.stop_trigger = lambda trainer: trainer.updater.iteration == 5
    first.stop_trigger.get_training_length = lambda: (2, "epoch")
    first.run()
    second = trainer_of(tmp_path / "second", epochs=2)
    NpzDeserializer(arrays_of(first)).load(second)
    second.run()
    assert first.rates + second.rates == whole.rates
    for name, array in state(whole)[0].items():
        np.testing.assert_array_equal(state(second)[0][name], array, err_msg=name)
