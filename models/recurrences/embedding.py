"""The two ends of a window: ids become vectors, vectors become logits."""

from typing import NamedTuple

import chainer.links as L
from chainer import Parameter, Variable, as_array
from chainer.types import NdArray
from chainer.utils import type_check

from models.recurrences.function import (
    Arrays,
    Gradients,
    WindowFunction,
    rows,
    sum_by_id,
)


class Embedded(NamedTuple):
    """A window of embedded ids whose vectors have not been looked up yet.

    A layer projects its inputs. With a small vocabulary it is quicker to project the embedding, one
    row per word instead of one per place in the window, and to look up the projections.
    """

    ids: NdArray  # (T, B)
    W: Parameter  # (V, U)

    def window(self) -> Variable:
        """The vectors, ``(T, B, U)``."""
        return Embed().apply((self.ids, self.W))[0]


def embed(x: NdArray | Variable, W: Parameter) -> Embedded:
    """The row of ``W`` for each id.

    Args:
        x: integer ids below ``V``: a window ``(T, B)``, or one step ``(B,)``.
        W (Parameter): embedding matrix, ``(V, U)``.

    Returns:
        Embedded: ``(T, B, U)`` for the layer that reads it; one step is a window of length 1.

    Raises:
        chainer.utils.type_check.InvalidType: if ``x`` is not as described.
    """
    ids = as_array(x)
    if ids.dtype.kind != "i" or ids.ndim not in (1, 2):
        raise type_check.InvalidType("integers (T, B) or (B,)", f"{ids.dtype} {ids.shape}")
    return Embedded(ids if ids.ndim == 2 else ids[None], W)


def as_window(x: Variable | Embedded) -> Variable:
    """A layer's input as vectors, ``(T, B, U)``."""
    return x.window() if isinstance(x, Embedded) else x


def as_inputs(x: Variable | Embedded) -> tuple[Variable, NdArray | None]:
    """A layer's input as :func:`models.recurrences.function.project_inputs` takes it."""
    if isinstance(x, Embedded) and len(x.W) <= x.ids.size:
        return x.W, x.ids
    return as_window(x), None


def project(h: Variable, layer: L.Linear) -> Variable:
    """One row of logits for every prediction of a window, in order of time.

    Args:
        h (Variable): window of hidden states, ``(T, B, U)``.
        layer (chainer.links.Linear): ``U`` to ``V``.

    Returns:
        Variable: ``(T * B, V)``.
    """
    return Project().apply((h, layer.W, layer.b))[0]


class Embed(WindowFunction):
    """The vectors of :class:`Embedded`. Backward, a row's gradient is the sum over its places."""

    inputs_are = "T B int", "V U"

    def forward(self, inputs: Arrays) -> Arrays:
        self.ids, W = inputs
        self.n_vocab = len(W)
        return (W[self.ids],)

    def backward_arrays(self, g_e: NdArray) -> Gradients:
        return None, sum_by_id(self.ids, rows(g_e), self.n_vocab)


class Project(WindowFunction):
    """:func:`project`. ``y = h W^T + b``; ``g_h = g_y W``, ``g_W = g_y^T h``, ``g_b = sum g_y``."""

    inputs_are = "T B U", "V U", "V"

    def forward(self, inputs: Arrays) -> Arrays:
        h, W, b = self.saved = inputs
        y = rows(h).dot(W.T)
        y += b
        return (y,)

    def backward_arrays(self, g_y: NdArray) -> Gradients:
        h, W, _ = self.saved
        return g_y.dot(W).reshape(h.shape), g_y.T.dot(rows(h)), g_y.sum(axis=0)
