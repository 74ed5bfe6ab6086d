"""Stops a training as soon as its loss is NaN or infinite."""

import math

import chainer_compat

from chainer.training import PRIORITY_EDITOR, Trainer, make_extension

from command_line import CommandError


@make_extension(trigger=(1, "iteration"), priority=PRIORITY_EDITOR)
def finite_loss(trainer: Trainer) -> None:
    """Raise CommandError, naming iteration and last good snapshot, if the loss is not finite.

    Chainer's FailOnNonNumber looks at the parameters, which turn bad one update later, and knows
    of no snapshot.
    """
    loss = float(trainer.observation["main/loss"].array)
    if not math.isfinite(loss):
        advice = trainer.get_extension("snapshot").advice()
        raise CommandError(
            f"the loss is {loss} at iteration {trainer.updater.iteration}; {advice}; "
            "a smaller --lr or --gradclip may help"
        )
