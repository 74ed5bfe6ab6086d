"""A learning rate that falls to zero by the end of a training, along half a cosine wave."""

import math

from chainer import report
from chainer.training import PRIORITY_WRITER, Extension, Trainer


class Cosine(Extension):
    """Sets the optimizer's learning rate before each update, and reports it as ``lr``.

    After the share ``p`` of all epochs it is ``(1 + cos(pi p)) / 2`` of its initial value (I.
    Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    without the restarts). It depends only on the training's progress, so nothing is saved.
    """

    priority = PRIORITY_WRITER
    default_name = "Cosine"
    _first = 0.0

    @staticmethod
    def trigger(trainer: Trainer) -> bool:  # type: ignore[override]
        """Every iteration. Chainer's triggers would add their state to snapshots."""
        return True

    def initialize(self, trainer: Trainer) -> None:
        """Set the rate of the first update; after a snapshot say which, as it depends on ``-e``."""
        self._first = trainer.updater.get_optimizer("main").alpha
        self._set(trainer)
        n_epochs, _ = trainer.stop_trigger.get_training_length()
        if 0 < trainer.updater.epoch_detail < n_epochs:
            rate = trainer.updater.get_optimizer("main").alpha
            print(
                f"The learning rate goes on from {rate:.3g} and falls to 0 "
                f"by the end of epoch {n_epochs}."
            )

    def __call__(self, trainer: Trainer) -> None:
        """Report the rate of the last update; set that of the next."""
        report({"lr": trainer.updater.get_optimizer("main").alpha})
        self._set(trainer)

    def _set(self, trainer: Trainer) -> None:
        n_epochs, _ = trainer.stop_trigger.get_training_length()
        share = min(trainer.updater.epoch_detail / n_epochs, 1)
        trainer.updater.get_optimizer("main").alpha = (
            self._first * (1 + math.cos(math.pi * share)) / 2
        )
