"""Dropout between the layers of a model, the same for all architectures."""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from chainer import Variable, config
from chainer.serializer import AbstractSerializer
from chainer.types import NdArray

from models.recurrences.dropout import Drop, dropout_mask
from models.recurrences.embedding import Embedded, as_window
from models.stateful import Stateful


class Dropout(Stateful):
    """Mix-in for a model with dropout on the connections that are not recurrent.

    W. Zaremba et al., "Recurrent neural network regularization", 2014. It acts in training only
    (``chainer.config.train``). The place in the masks is part of the model's state, so a resumed
    training drops the same elements as an unbroken one.

    Attributes:
        dropout_ratio (float): probability that an element is dropped, in [0, 1).
        seed (int): of the masks; drawn from NumPy's global generator.
        steps (int): training steps read so far; with the seed they determine the next masks.
        first_stream (int): number of the first stream it reads, where processes share them.
    """

    state_names: tuple[str, ...] = ()
    dropout_ratio = 0.0

    def begin_dropout(self) -> None:
        """Draw the seed. Call this after the parameters are drawn: they must not depend on it."""
        self.seed = int(np.random.randint(2**31))
        self.steps = 0
        self.first_stream = 0

    def dropout(self, x: NdArray | Variable) -> Callable[[Variable | Embedded], Any]:
        """Dropout for one window of ids ``(T, B)``, or for a step ``(B,)``.

        Returns:
            callable: takes the inputs ``(T, B, n)`` of each layer in turn, including the output
            layer; returns them with elements dropped.
        """
        first_step = self.steps
        if config.train:
            self.steps += 1 if x.ndim == 1 else len(x)
        layers = itertools.count()

        def drop(h: Variable | Embedded) -> Variable | Embedded:
            if not (config.train and self.dropout_ratio):
                return h
            h = as_window(h)
            place = self.seed, next(layers), first_step, self.first_stream
            mask = dropout_mask(self.xp, self.dropout_ratio, h.shape, *place)
            return Drop(mask.astype(h.dtype, copy=False)).apply((h,))[0]

        return drop

    def serialize_state(self, serializer: AbstractSerializer) -> None:
        """Save or restore the state, and what determines the next masks."""
        super().serialize_state(serializer)
        with contextlib.suppress(KeyError):  # snapshots of 1.0 hold them for the LSTM only
            self.seed = serializer("seed", self.seed)
            self.steps = serializer("steps", self.steps)
