"""What the functions over a window share: first derivatives, type checks, shapes."""

from collections.abc import Callable

import chainer_compat

from chainer import FunctionNode, Variable, config
from chainer.backend import get_array_module
from chainer.types import NdArray
from chainer.utils import type_check

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
    return window.reshape(-1, window.shape[2])


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


def expect_matrix(
    W: type_check.TypeInfo, x: type_check.TypeInfo, n_out: type_check.Expr, n_in: type_check.Expr
) -> None:
    """Check the type of a weight that maps ``n_in`` to ``n_out`` units of the window ``x``."""
    type_check.expect(W.dtype == x.dtype, W.ndim == 2)
    type_check.expect(W.shape[0] == n_out, W.shape[1] == n_in)


def expect_bias(b: type_check.TypeInfo, W: type_check.TypeInfo) -> None:
    """Check the type of the bias beside the weight ``W``."""
    type_check.expect(b.dtype == W.dtype, b.ndim == 1, b.shape[0] == W.shape[0])


def expect_state(h: type_check.TypeInfo, x: type_check.TypeInfo, n_units: type_check.Expr) -> None:
    """Check the type of a state of ``n_units``, one row for each stream of the window ``x``."""
    type_check.expect(h.dtype == x.dtype, h.ndim == 2)
    type_check.expect(h.shape[0] == x.shape[1], h.shape[1] == n_units)
