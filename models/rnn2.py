"""RNN2: three Elman layers on top of each other."""

from collections.abc import Callable

import chainer.functions as F
import chainer.links as L
from chainer import Chain, Variable

from models.recurrences.elman import elman
from models.stack import Stack
from models.stateful import Stateful


class ElmanBlock(Stateful, Chain):
    """``h_t = activation(l(x_t) + r(h_{t-1}))``; the output is the state."""

    h: Variable | None

    def __init__(self, n_units: int, activation: Callable[[Variable], Variable]) -> None:
        super().__init__()
        self.activation = activation
        with self.init_scope():
            self.l = L.Linear(n_units, n_units)
            self.r = L.Linear(n_units, n_units)
        self.reset_state()

    def forward(self, x: Variable) -> Variable:
        """Outputs ``(T, B, U)`` for a window of inputs ``(T, B, U)``."""
        hs, self.h = elman(x, self.h, self.l, self.r, self.activation)
        return hs


class RNN2(Stack):
    """Three Elman blocks between an embedding and an output layer.

    Args:
        n_vocab (int): size of the vocabulary, ``V``.
        n_units (int): units of the embedding and of each block, ``U``.
        activation: of the blocks, see :func:`models.recurrences.elman.elman`.
    """

    def __init__(
        self, n_vocab: int, n_units: int, activation: Callable[[Variable], Variable] = F.tanh
    ) -> None:
        super().__init__(n_vocab, n_units, lambda: ElmanBlock(n_units, activation))
