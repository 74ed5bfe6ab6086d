"""RNNForLM: two LSTM layers with dropout, the language model of Chainer's PTB example."""

import chainer_compat

import chainer.links as L
import numpy as np
from chainer import Chain, Variable, as_array, config
from chainer.serializer import AbstractSerializer
from chainer.types import NdArray

from models.stateful import Stateful
from models.windows.dropout import dropout_mask
from models.windows.ends import embed, project
from models.windows.lstm import lstm


class LSTM(Stateful, L.LSTM):
    """Chainer's LSTM layer, with its parameters and its state, reading a window at a time."""

    state_names = ("c", "h")

    def forward(self, x: Variable, mask: NdArray | None = None) -> Variable:
        """Outputs ``(T, B, U)`` for a window of inputs ``(T, B, U)``, dropped by ``mask``."""
        hs, self.c, self.h = lstm(x, self.c, self.h, self.upward, self.lateral, mask)
        return hs


class RNNForLM(Chain):
    """``y = l3(drop(l2(drop(l1(drop(e))))))``, where ``e`` embeds the ids and ``drop`` is dropout.

    W. Zaremba et al., "Recurrent neural network regularization", 2014. Every parameter starts
    uniform in [-0.1, 0.1]. Dropout acts in training only (``chainer.config.train``).

    Args:
        n_vocab (int): size of the vocabulary, ``V``.
        n_units (int): units of the embedding and of each layer, ``U``.

    Attributes:
        seed (int): of the dropout masks; drawn from NumPy's global generator.
        steps (int): steps of training read so far; with the seed it determines the next masks.
        first_stream (int): number of the first stream that it reads, where there are others.
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
        self.seed = int(np.random.randint(2**31))
        self.steps = 0
        self.first_stream = 0

    def reset_state(self) -> None:
        """Forget everything read so far. The dropout masks go on; they are not memory."""
        self.l1.reset_state()
        self.l2.reset_state()

    def forward(self, x: NdArray | Variable) -> Variable:
        """Logits ``(T * B, V)`` for a window of ids ``(T, B)``; ``(B, V)`` for a step ``(B,)``."""
        e = embed(x, self.embed.W).window()
        h1 = self.l1(e, self._mask(e, layer=0))
        h2 = self.l2(h1, self._mask(h1, layer=1))
        y = project(h2, self.l3, self._mask(h2, layer=2))
        if config.train:
            self.steps += len(e)
        return y

    def _mask(self, h: Variable, layer: int) -> NdArray | None:
        """Dropout mask of the window ``h``, or None outside of training."""
        if not config.train:
            return None
        place = self.seed, layer, self.steps, self.first_stream
        mask = dropout_mask(self.xp, self.dropout_ratio, h.shape, *place)
        return mask.astype(h.dtype, copy=False)

    def serialize_state(self, serializer: AbstractSerializer) -> None:
        """Save or restore what the next dropout masks follow from."""
        self.seed = serializer("seed", self.seed)
        self.steps = serializer("steps", self.steps)
