"""The loss of each update: its mean over all processes, and a stop if it is not finite."""

import math
from types import TracebackType
from typing import SupportsFloat

import numpy as np
from chainer.backend import get_array_module
from chainer.backends import cuda
from chainer.training import PRIORITY_EDITOR, PRIORITY_WRITER, Extension, Trainer
from chainer.types import NdArray

from support.processes import here


class NotFinite(Exception):
    """A number of the training is NaN or infinite; the text says which and when."""


class FiniteLoss(Extension):
    """Raises NotFinite, naming the iteration, if a loss is not finite.

    Chainer's FailOnNonNumber checks the parameters, which turn bad one update later, and ignores
    snapshots.

    Reading a number from a GPU waits for all of its pending work. So losses on a GPU are checked
    together, at the latest when an epoch ends and its means are reported. A snapshot in between is
    safe: it checks the parameters itself.
    """

    trigger = 1, "iteration"
    priority = PRIORITY_EDITOR
    default_name = "finite_loss"
    most_unseen = 100  # updates after which a GPU's losses are checked

    def __init__(self) -> None:
        self._unseen: list[NdArray] = []

    def __call__(self, trainer: Trainer) -> None:
        """Note the loss of the last update; check all noted losses when it is time.

        Raises:
            NotFinite: if one of them, or the validation loss, is not finite.
        """
        loss = trainer.observation["main/loss"].array
        self._unseen.append(loss)
        is_here = isinstance(loss, np.ndarray)
        if is_here or len(self._unseen) == self.most_unseen or trainer.updater.is_new_epoch:
            self._look(trainer)
        validation = trainer.observation.get("validation/main/loss", 0)
        _check("validation loss", validation, trainer.updater.iteration)

    def _look(self, trainer: Trainer) -> None:
        iteration = trainer.updater.iteration - len(self._unseen)
        losses = self._unseen
        if get_array_module(*losses) is cuda.cupy:
            losses = cuda.cupy.stack(losses).get()  # one copy instead of one for each
        for loss in losses:
            iteration += 1
            _check("loss", loss, iteration)
        self._unseen.clear()
        trainer.get_extension("snapshot").confirm()


def _check(name: str, loss: SupportsFloat, iteration: int) -> None:
    if not math.isfinite(loss):
        raise NotFinite(f"the {name} is {float(loss)} at iteration {iteration}")


class GlobalMeans(Extension):
    """Replaces the means over this process's streams by those over the batch.

    ChainerMN's ObservationAggregator sends pickled objects back and forth for each value, weights
    all processes alike, and removes the graph that DumpGraph draws.
    """

    priority = PRIORITY_WRITER + 1  # before the evaluation, whose means are over the batch already

    @staticmethod
    def trigger(trainer: Trainer) -> bool:  # type: ignore[override]
        """Every iteration. Chainer's triggers would add their state to snapshots."""
        return True

    def __call__(self, trainer: Trainer) -> None:
        """Replace the values within the observed arrays."""
        arrays = [variable.array for variable in trainer.observation.values()]
        batch_size = trainer.updater.get_iterator("main").batch_size
        here.average(arrays, batch_size)

    def on_error(
        self, trainer: Trainer, exception: Exception, traceback: TracebackType | None
    ) -> None:
        """Tell the other processes at once; saving and drawing may take a while."""
        here.leave()
