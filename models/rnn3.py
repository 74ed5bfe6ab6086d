"""RNN3: three layers that map input and state, joined, to output and next state."""

from collections.abc import Callable

import chainer.functions as F
import chainer.links as L
from chainer import Chain, Variable

from models.recurrences.elman import concat_elman
from models.stack import Stack
from models.stateful import Stateful


class ConcatBlock(Stateful, Chain):
    """``[o_t ; s_t] = l([x_t ; h_{t-1}])``; output and next state are their activations."""

    h: Variable | None

    def __init__(
        self, n_units: int, n_recurrent: int, activation: Callable[[Variable], Variable]
    ) -> None:
        super().__init__()
        self.activation = activation
        with self.init_scope():
            self.l = L.Linear(n_units + n_recurrent, n_units + n_recurrent)
        self.reset_state()

    def forward(self, x: Variable) -> Variable:
        """Outputs ``(T, B, U)`` for a window of inputs ``(T, B, U)``."""
        ys, self.h = concat_elman(x, self.h, self.l, self.activation)
        return ys


class RNN3(Stack):
    """Three joining blocks between an embedding and an output layer.

    Args:
        n_vocab (int): size of the vocabulary, ``V``.
        n_units (int): units of the embedding and of each block's output, ``U``.
        activation: of the blocks, see :func:`models.recurrences.elman.elman`.
        n_recurrent (int or None): units of each block's state, ``U`` if None.
    """

    def __init__(
        self,
        n_vocab: int,
        n_units: int,
        activation: Callable[[Variable], Variable] = F.tanh,
        n_recurrent: int | None = None,
    ) -> None:
        n_recurrent = n_units if n_recurrent is None else n_recurrent
        super().__init__(n_vocab, n_units, lambda: ConcatBlock(n_units, n_recurrent, activation))
