"""RNN: one Elman layer between an embedding and an output layer."""

import chainer.links as L
from chainer import Chain, Variable
from chainer.types import NdArray

from models.dropout import Dropout
from models.recurrences.elman import elman
from models.recurrences.embedding import embed, project


class RNN(Dropout, Chain):
    """``h_t = tanh(l1(e_t) + r1(h_{t-1}))``, ``y_t = l2(h_t)``, where ``e_t`` embeds the id.

    Args:
        n_vocab (int): size of the vocabulary, ``V``.
        n_units (int): units of the embedding and of the layer, ``U``.
    """

    h: Variable | None
    state_names = ("h",)

    def __init__(self, n_vocab: int, n_units: int) -> None:
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = L.Linear(n_units, n_units)
            self.r1 = L.Linear(n_units, n_units)
            self.l2 = L.Linear(n_units, n_vocab)
        self.reset_state()
        self.begin_dropout()

    def forward(self, x: NdArray | Variable) -> Variable:
        """Logits ``(T * B, V)`` for a window of ids ``(T, B)``; ``(B, V)`` for a step ``(B,)``."""
        drop = self.dropout(x)
        e = drop(embed(x, self.embed.W))
        h, self.h = elman(e, self.h, self.l1, self.r1)
        return project(drop(h), self.l2)
