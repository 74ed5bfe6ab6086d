"""The two ends of a window: ids become vectors, vectors become logits."""

import chainer_compat

import chainer.links as L
from chainer import Parameter, Variable
from chainer.backend import get_array_module
from chainer.backends import cuda
from chainer.types import NdArray
from chainer.utils import type_check

from models.window_function import (
    Arrays,
    Gradients,
    WindowFunction,
    expect_bias,
    expect_matrix,
    expect_window,
    masked,
    rows,
)


def embed(x: NdArray | Variable, W: Parameter) -> Variable:
    """The row of ``W`` for each id.

    Args:
        x: integer ids below ``V``: a window ``(T, B)``, or one step ``(B,)``.
        W (Parameter): embedding matrix, ``(V, U)``.

    Returns:
        Variable: ``(T, B, U)``; one step is a window of length 1.
    """
    return Embed().apply((x if x.ndim == 2 else x.reshape(1, *x.shape), W))[0]


def project(h: Variable, layer: L.Linear, mask: NdArray | None = None) -> Variable:
    """One row of logits for every prediction of a window, in order of time.

    Args:
        h (Variable): window of hidden states, ``(T, B, U)``.
        layer (chainer.links.Linear): ``U`` to ``V``.
        mask (array or None): dropout mask of the hidden states, ``(T, B, U)``.

    Returns:
        Variable: ``(T * B, V)``.
    """
    return Project(mask).apply((h, layer.W, layer.b))[0]


class Embed(WindowFunction):
    """:func:`embed`. The gradient of a row is the sum over the places that looked it up."""

    def check_type_forward(self, in_types: type_check.TypeInfoTuple) -> None:
        type_check.expect(in_types.size() == 2)
        x, W = in_types
        type_check.expect(x.dtype.kind == "i", x.ndim == 2, W.dtype.kind == "f", W.ndim == 2)

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs((0, 1))
        x, W = inputs
        return (W[x],)

    def backward_arrays(self, g_e: NdArray) -> Gradients:
        x, W = self.input_arrays()
        return None, _sum_by_id(x.ravel(), g_e.reshape(-1, W.shape[1]), len(W))


def _sum_by_id(ids: NdArray, vectors: NdArray, n_vocab: int) -> NdArray:
    """``out[v]`` is the sum of ``vectors[k]`` over all ``k`` with ``ids[k] == v``."""
    xp = get_array_module(vectors)
    if n_vocab <= len(ids):
        # A one-hot product: as many multiplications as one more layer, but no scattered writes.
        one_hot = ids == xp.arange(n_vocab)[:, None]
        return one_hot.astype(vectors.dtype).dot(vectors)
    out = xp.zeros((n_vocab, vectors.shape[1]), vectors.dtype)
    if xp is cuda.cupy:
        xp.add.at(out, ids, vectors)
    else:
        # Sorted by id, the vectors of an id stand together, and each group is summed in one go.
        order = ids.argsort(kind="stable")
        ids = ids[order]
        first = xp.flatnonzero(xp.diff(ids, prepend=-1))
        out[ids[first]] = xp.add.reduceat(vectors[order], first, axis=0)
    return out


class Project(WindowFunction):
    """:func:`project`. ``y = h W^T + b``; ``g_h = g_y W``, ``g_W = g_y^T h``, ``g_b = sum g_y``."""

    def __init__(self, mask: NdArray | None) -> None:
        self.mask = mask

    def check_type_forward(self, in_types: type_check.TypeInfoTuple) -> None:
        type_check.expect(in_types.size() == 3)
        h, W, b = in_types
        expect_window(h)
        expect_matrix(W, h, W.shape[0], h.shape[2])
        expect_bias(b, W)

    def forward(self, inputs: Arrays) -> Arrays:
        h, W, b = inputs
        self.h = masked(h, self.mask)
        self.retain_inputs((1,))
        y = rows(self.h).dot(W.T)
        y += b
        return (y,)

    def backward_arrays(self, g_y: NdArray) -> Gradients:
        (W,) = self.input_arrays()
        g_h = masked(g_y.dot(W).reshape(self.h.shape), self.mask)
        return g_h, g_y.T.dot(rows(self.h)), g_y.sum(axis=0)
