"""Stops a training as soon as its loss is NaN or infinite."""

import math

import chainer_compat

import numpy as np
from chainer.training import PRIORITY_EDITOR, Extension, Trainer
from chainer.types import NdArray

from command_line import CommandError


class FiniteLoss(Extension):
    """Raises CommandError, naming iteration and last good snapshot, if a loss is not finite.

    Chainer's FailOnNonNumber looks at the parameters, which turn bad one update later, and knows
    of no snapshot.

    Reading a number from a GPU is waiting until it has done all that it was told to, so there the
    losses are looked at together, at the latest when an epoch ends and its means are reported. A
    snapshot in between is safe: it looks at the parameters itself.
    """

    trigger = 1, "iteration"
    priority = PRIORITY_EDITOR
    default_name = "finite_loss"
    most_unseen = 100  # updates that a training on a GPU may go on with bad numbers

    def __init__(self) -> None:
        self._unseen: list[NdArray] = []

    def __call__(self, trainer: Trainer) -> None:
        """Note the loss of the last update, and look at all that were noted, if it is time to.

        Raises:
            CommandError: if one is not finite.
        """
        loss = trainer.observation["main/loss"].array
        self._unseen.append(loss)
        is_here = isinstance(loss, np.ndarray)
        if is_here or len(self._unseen) == self.most_unseen or trainer.updater.is_new_epoch:
            self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        iteration = trainer.updater.iteration - len(self._unseen)
        for loss in self._unseen:
            iteration += 1
            if not math.isfinite(loss):
                advice = trainer.get_extension("snapshot").advice()
                raise CommandError(
                    f"the loss is {float(loss)} at iteration {iteration}; {advice}; "
                    "a smaller --lr or --gradclip may help"
                )
        self._unseen.clear()
