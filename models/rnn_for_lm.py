"""RNNForLM: two LSTM layers with dropout, the language model of Chainer's PTB example."""

import chainer.links as L
import numpy as np
from chainer import Chain, Variable, as_array
from chainer.types import NdArray

from models.dropout import Dropout
from models.recurrences.embedding import Embedded, embed, project
from models.recurrences.lstm import lstm
from models.stateful import Stateful


class LSTM(Stateful, L.LSTM):
    """Chainer's LSTM layer, with its parameters and its state, reading a window at a time."""

    state_names = ("c", "h")

    def forward(self, x: Variable | Embedded) -> Variable:
        """Outputs ``(T, B, U)`` for a window of inputs ``(T, B, U)``."""
        hs, self.c, self.h = lstm(x, self.c, self.h, self.upward, self.lateral)
        return hs


class RNNForLM(Dropout, Chain):
    """``y = l3(drop(l2(drop(l1(drop(e))))))``, where ``e`` embeds the ids and ``drop`` is dropout.

    W. Zaremba et al., "Recurrent neural network regularization", 2014. Every parameter starts
    uniform in [-0.1, 0.1].

    Args:
        n_vocab (int): size of the vocabulary, ``V``.
        n_units (int): units of the embedding and of each layer, ``U``.
    """

    dropout_ratio = 0.5

    def __init__(self, n_vocab: int, n_units: int) -> None:
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = LSTM(n_units, n_units)
            self.l2 = LSTM(n_units, n_units)
            self.l3 = L.Linear(n_units, n_vocab)
        for param in self.params():
            as_array(param)[...] = np.random.uniform(-0.1, 0.1, param.shape)
        self.begin_dropout()

    def reset_state(self) -> None:
        """Forget everything read so far. The dropout masks continue: they are not memory."""
        self.l1.reset_state()
        self.l2.reset_state()

    def forward(self, x: NdArray | Variable) -> Variable:
        """Logits ``(T * B, V)`` for a window of ids ``(T, B)``; ``(B, V)`` for a step ``(B,)``."""
        drop = self.dropout(x)
        h1 = self.l1(drop(embed(x, self.embed.W)))
        h2 = self.l2(drop(h1))
        return project(drop(h2), self.l3)
