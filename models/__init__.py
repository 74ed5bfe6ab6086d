"""The architectures, and the table of their names in the commands."""

from collections.abc import Callable, Iterator
from typing import Protocol

import chainer_compat
from chainer import Link, Parameter, Variable
from chainer.links import EmbedID
from chainer.types import DeviceSpec, NdArray, Xp

from models.gru import GRU
from models.rnn import RNN
from models.rnn2 import RNN2
from models.rnn3 import RNN3
from models.rnn_for_lm import RNNForLM


class Model(Protocol):
    """What the commands need of an architecture, besides its being a ``chainer.Chain``.

    The embedding's ``W``, ``(V, U)``, gives the sizes.
    """

    embed: EmbedID
    dropout_ratio: float

    def __call__(self, x: NdArray) -> Variable:
        """Logits ``(T * B, V)`` for a window of ids ``(T, B)``; ``(B, V)`` for a step ``(B,)``."""

    def reset_state(self) -> None:
        """Forget everything read so far."""

    @property
    def xp(self) -> Xp:
        """The array module of its device."""

    def links(self) -> Iterator[Link]:
        """Itself and every link within it."""

    def namedparams(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter and its path."""

    def to_device(self, device: DeviceSpec) -> object:
        """Move parameters and state."""


ARCHS: dict[str, Callable[[int, int], Model]] = {
    "rnn": RNN,
    "rnn2": RNN2,
    "rnn3": RNN3,
    "lstm": RNNForLM,
    "gru": GRU,
}

__all__ = ["ARCHS", "GRU", "RNN", "RNN2", "RNN3", "Model", "RNNForLM"]
