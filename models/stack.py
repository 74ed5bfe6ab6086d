"""What RNN2 and RNN3 have in common: three recurrent blocks between embedding and output."""

from collections.abc import Callable

import chainer.links as L
from chainer import Chain, Link, Variable
from chainer.types import NdArray

from models.dropout import Dropout
from models.recurrences.embedding import embed, project


class Stack(Dropout, Chain):
    """``y = l5(r3(r2(r1(e))))``, where ``e`` embeds the ids.

    Args:
        n_vocab (int): size of the vocabulary, ``V``.
        n_units (int): units of the embedding and of each block's output, ``U``.
        block: called once for each layer; returns a link that maps a window of inputs
            ``(T, B, U)`` to outputs of the same shape and has ``reset_state()``.
    """

    def __init__(self, n_vocab: int, n_units: int, block: Callable[[], Link]) -> None:
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.r1 = block()
            self.r2 = block()
            self.r3 = block()
            self.l5 = L.Linear(n_units, n_vocab)
        self.begin_dropout()

    def reset_state(self) -> None:
        """Forget everything read so far."""
        for block in (self.r1, self.r2, self.r3):
            block.reset_state()

    def forward(self, x: NdArray | Variable) -> Variable:
        """Logits ``(T * B, V)`` for a window of ids ``(T, B)``; ``(B, V)`` for a step ``(B,)``."""
        drop = self.dropout(x)
        h1 = self.r1(drop(embed(x, self.embed.W)))
        h2 = self.r2(drop(h1))
        h3 = self.r3(drop(h2))
        return project(drop(h3), self.l5)
