"""The learning rate along a cosine, on a training of six updates an epoch."""

import numpy as np
from chainer.serializers import NpzDeserializer
from snapshot_trainings import state, training

from extensions.cosine import Cosine
from extensions.snapshot_file import arrays_of
from tests.trainings import SMALL, succeed

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


def test_that_it_rises_again_where_a_training_becomes_longer_is_said(tmp_path):
    options = [*SMALL, "--lr", "0.001", "--lr-cosine", "-r", "auto", "-e"]
    lines = succeed(tmp_path, *options, "3")
    assert len([line for line in lines if line.startswith(("Train longer", "The learning"))]) == 1
    assert lines[-1] == (
        "The learning rate has fallen to 0; a larger --epoch on resuming would raise it again."
    )
    lines = succeed(tmp_path, *options, "6")
    (said,) = [line for line in lines if line.startswith("The learning rate goes on from 0.00049")]
    assert said.endswith(" and falls to 0 by the end of epoch 6.")
    assert len(succeed(tmp_path, *options, "6")) < len(lines)  # nothing is left to be trained
