"""What the functions over a window share: first derivatives, type checks, shapes."""

from collections.abc import Callable

import chainer_compat

from chainer import FunctionNode, Variable, config
from chainer.backend import get_array_module
from chainer.backends import cuda
from chainer.types import NdArray
from chainer.utils import type_check

from models.windows import kernels

Arrays = tuple[NdArray, ...]
Gradients = tuple[NdArray | None, ...]


class WindowFunction(FunctionNode):
    """A function node whose gradient is not itself differentiable.

    Training needs first derivatives only, and a backward pass over plain arrays spares Chainer the
    bookkeeping of one node for every product in it. Subclasses give ``backward_arrays``, which
    takes the gradient of each output (an array, or None where there is none) and returns the
    gradient of each input (an array, or None).
    """

    backward_arrays: Callable[..., Gradients]

    def backward(
        self, indexes: tuple[int, ...], grad_outputs: tuple[Variable | None, ...]
    ) -> tuple[Variable | None, ...]:
        """Wrap ``backward_arrays`` as Chainer wants it."""
        if config.enable_backprop:
            raise RuntimeError(f"{self.label} can be differentiated once only")
        grads = self.backward_arrays(*[None if g is None else g.array for g in grad_outputs])
        return tuple([None if g is None else Variable(g) for g in grads])

    def input_arrays(self) -> list[NdArray]:
        """The retained inputs, as arrays."""
        return [variable.array for variable in self.get_retained_inputs()]


def rows(window: NdArray) -> NdArray:
    """``(T, B, n)`` seen as ``(T * B, n)``: a row for each step and stream, in order of time."""
    return window.reshape(-1, window.shape[-1])


def project_inputs(x: NdArray, ids: NdArray | None, W: NdArray, out: NdArray) -> None:
    """Write ``W x_t`` into ``out``, ``(T, B, n)``, for all steps and streams.

    Args:
        x (array): a window of vectors, ``(T, B, in)``; or one vector for each word, ``(V, in)``.
        ids (array or None): which of these words stand in the window, ``(T, B)``.
        W (array): ``(n, in)``.
    """
    if ids is None:
        get_array_module(x).dot(rows(x), W.T, out=rows(out))
    else:
        out[...] = x.dot(W.T)[ids]


def input_gradients(
    g: NdArray, x: NdArray, ids: NdArray | None, W: NdArray
) -> tuple[NdArray, NdArray, NdArray]:
    """Gradients of ``x`` and ``W`` of :func:`project_inputs`, and of a bias added to its output.

    Args:
        g (array): gradient of the output, ``(T, B, n)``.
        x, ids, W: as there.
    """
    g = rows(g) if ids is None else sum_by_id(ids, rows(g), len(x))
    return g.dot(W).reshape(x.shape), g.T.dot(rows(x)), g.sum(axis=0)


def sum_by_id(ids: NdArray, vectors: NdArray, n_vocab: int) -> NdArray:
    """``out[v]`` is the sum of the rows ``vectors[k]`` over all ``k`` with ``ids[k] == v``."""
    xp = get_array_module(vectors)
    ids = ids.ravel()
    if n_vocab <= len(ids):
        # A one-hot product: as many multiplications as one more layer, but no scattered writes.
        one_hot = ids == xp.arange(n_vocab)[:, None]
        return one_hot.astype(vectors.dtype).dot(vectors)
    if xp is cuda.cupy:
        return kernels.sum_by_id(ids, vectors, n_vocab)
    out = xp.zeros((n_vocab, vectors.shape[1]), vectors.dtype)
    # Sorted by id, the vectors of an id stand together, and each group is summed in one go.
    order = ids.argsort(kind="stable")
    ids = ids[order]
    first = xp.flatnonzero(xp.diff(ids, prepend=-1))
    out[ids[first]] = xp.add.reduceat(vectors[order], first, axis=0)
    return out


def state_gradient(hs: NdArray, g_hs: NdArray | None, g_last: NdArray | None) -> NdArray:
    """Gradient of the states ``hs`` as seen from outside the window, in an array of its own."""
    g = get_array_module(hs).zeros_like(hs) if g_hs is None else g_hs.copy()
    if g_last is not None:
        g[-1] += g_last
    return g


def masked(window: NdArray, mask: NdArray | None) -> NdArray:
    """Dropout, forward and backward: the window times its mask, or itself without one."""
    return window if mask is None else window * mask


def expect_window(x: type_check.TypeInfo) -> None:
    """Check the type of a window of vectors."""
    type_check.expect(x.dtype.kind == "f", x.ndim == 3, x.shape[0] >= 1)


def expect_inputs(x: type_check.TypeInfo, ids: NdArray | None) -> None:
    """Check the type of the ``x`` of :func:`project_inputs`."""
    if ids is None:
        expect_window(x)
    else:
        type_check.expect(x.dtype.kind == "f", x.ndim == 2)


def expect_matrix(
    W: type_check.TypeInfo, x: type_check.TypeInfo, n_out: type_check.Expr, n_in: type_check.Expr
) -> None:
    """Check the type of a weight that maps ``n_in`` to ``n_out`` units of the window ``x``."""
    type_check.expect(W.dtype == x.dtype, W.ndim == 2)
    type_check.expect(W.shape[0] == n_out, W.shape[1] == n_in)


def expect_bias(b: type_check.TypeInfo, W: type_check.TypeInfo) -> None:
    """Check the type of the bias beside the weight ``W``."""
    type_check.expect(b.dtype == W.dtype, b.ndim == 1, b.shape[0] == W.shape[0])


def expect_state(
    h: type_check.TypeInfo,
    x: type_check.TypeInfo,
    n_units: type_check.Expr,
    ids: NdArray | None = None,
) -> None:
    """Check the type of a state of ``n_units``, one row for each stream of the window."""
    type_check.expect(h.dtype == x.dtype, h.ndim == 2)
    n_streams = x.shape[1] if ids is None else ids.shape[1]
    type_check.expect(h.shape[0] == n_streams, h.shape[1] == n_units)
