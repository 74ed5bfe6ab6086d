"""The recurrence of a whole window for Chainer's LSTM; see ``elman.py`` for the notation."""

import chainer.links as L
from chainer import Variable
from chainer.backend import get_array_module
from chainer.types import NdArray

from models.recurrences import kernels
from models.recurrences.embedding import Embedded, as_inputs
from models.recurrences.function import (
    Arrays,
    Gradients,
    Recurrence,
    input_gradients,
    project_inputs,
    rows,
    state_gradient,
)


def lstm(
    x: Variable | Embedded,
    c: Variable | None,
    h: Variable | None,
    upward: L.Linear,
    lateral: L.Linear,
) -> tuple[Variable, Variable, Variable]:
    """Chainer's LSTM over a window, the arithmetic of ``chainer.links.LSTM``.

    ``a, i, f, o = upward(x_t) + lateral(h_{t-1})``, interleaved unit by unit as in
    ``chainer.functions.lstm``; ``c_t = sigmoid(i) * tanh(a) + sigmoid(f) * c_{t-1}`` and
    ``h_t = sigmoid(o) * tanh(c_t)``. S. Hochreiter and J. Schmidhuber, "Long short-term memory",
    Neural Computation 9, 1997; the forget gate is that of Gers et al., 2000.

    Args:
        x (Variable or Embedded): inputs, ``(T, B, in)``.
        c, h (Variable or None): cell state and output before the window, ``(B, U)``; both or none.
        upward, lateral (chainer.links.Linear): ``in`` to ``4U``, and ``U`` to ``4U`` without bias.

    Returns:
        tuple of Variable: outputs ``(T, B, U)``, cell state and last output ``(B, U)``.
    """
    vectors, ids = as_inputs(x)
    inputs = (vectors, upward.W, upward.b, lateral.W)
    return LSTM(ids).apply(inputs if c is None and h is None else (*inputs, c, h))


class LSTM(Recurrence):
    """:func:`lstm`.

    Chainer interleaves the gates unit by unit. In the loop they are blocks ``(4, B, U)`` in the
    order ``a, i, f, o``, so that each operation works on contiguous memory. Backward, with
    ``s' = s * (1 - s)`` for the sigmoids and ``1 - tanh^2`` for the rest, from the last step to
    the first::

        g_h_t += g_gates_{t+1} @ lateral
        g_c_t = g_c_{t+1} * f_{t+1} + g_h_t * o_t * (1 - tanh(c_t)^2)
        g_a = g_c * i * (1 - a^2)        g_i = g_c * a * i'
        g_f = g_c * c_{t-1} * f'         g_o = g_h * tanh(c) * o'

    Factors without ``g_h`` or ``g_c`` are computed beforehand for the whole window.
    """

    inputs_are = "T B I", "4U I", "4U", "4U U"
    states_are = "B U", "B U"

    def forward(self, inputs: Arrays) -> Arrays:
        x, W, b, R, *c0_h0 = inputs
        xp = get_array_module(x)
        n_steps, batch = self.window_shape(x)
        n_units = R.shape[1]
        gates = xp.empty((n_steps, batch, len(W)), x.dtype)
        project_inputs(x, self.ids, W, out=gates)
        gates += b
        gates = gates.reshape(n_steps, batch, n_units, 4)
        cs = xp.empty((n_steps + 1, batch, n_units), x.dtype)  # c_0 ... c_T
        hs = xp.empty_like(cs)
        cs[0], hs[0] = c0_h0 or (0, 0)
        unroll = kernels.lstm if kernels.serve(x) else _unroll
        gates, tanh_cs = unroll(gates, cs, hs, R)
        self.saved = x, W, R, gates, cs, tanh_cs, hs
        self.has_state = bool(c0_h0)
        return hs[1:], cs[-1].copy(), hs[-1].copy()

    def backward_arrays(
        self, g_hs: NdArray | None, g_c: NdArray | None, g_h_last: NdArray | None
    ) -> Gradients:
        x, W, R, gates, cs, tanh_cs, hs = self.saved
        xp = get_array_module(x)
        g_h = state_gradient(tanh_cs, g_hs, g_h_last)
        g_c = xp.zeros_like(cs[0]) if g_c is None else g_c.copy()
        unroll = kernels.lstm_backward if kernels.serve(x) else _unroll_backward
        g_gates, g_h0 = unroll(g_h, g_c, gates, cs, tanh_cs, R)
        g_gates = g_gates.reshape(*g_h.shape[:2], len(W))
        grads = (
            *input_gradients(g_gates, x, self.ids, W),
            rows(g_gates).T.dot(rows(hs[:-1])),
        )
        return (*grads, g_c, g_h0) if self.has_state else grads


def _unroll(inward: NdArray, cs: NdArray, hs: NdArray, R: NdArray) -> tuple[NdArray, NdArray]:
    """Every step from the first; fills ``cs`` and ``hs`` beyond their first rows.

    Args:
        inward (array): the inputs' share of the gates, interleaved, ``(T, B, U, 4)``.
        cs, hs (array): cell states and outputs, ``(T + 1, B, U)``.
        R (array): recurrent weight, interleaved, ``(4U, U)``.

    Returns:
        tuple of array: the gates, ``(T, 4, B, U)``, and ``tanh`` of the cell states, ``(T, B, U)``.
    """
    xp = get_array_module(inward)
    gates = xp.ascontiguousarray(inward.transpose(0, 3, 1, 2))
    R_T = _blocks(R).swapaxes(1, 2).copy()
    # sigmoid(v) = tanh(v / 2) / 2 + 1/2, so that one tanh serves all four gates. The inner halves
    # are taken for the whole window.
    gates[:, 1:] *= 0.5
    R_T[1:] *= 0.5
    tanh_cs = xp.empty_like(cs[1:])
    lateral = xp.empty_like(gates[0])
    written = xp.empty_like(cs[0])
    steps = zip(gates, cs, cs[1:], tanh_cs, hs, hs[1:], strict=False)
    for gate, c, c_next, tanh_c, h, h_next in steps:
        xp.matmul(h, R_T, out=lateral)
        gate += lateral
        xp.tanh(gate, out=gate)
        sigmoids = gate[1:]
        sigmoids *= 0.5
        sigmoids += 0.5
        a, i, f, o = gate
        xp.multiply(f, c, out=c_next)
        xp.multiply(a, i, out=written)
        c_next += written
        xp.tanh(c_next, out=tanh_c)
        xp.multiply(o, tanh_c, out=h_next)
    return gates, tanh_cs


def _unroll_backward(
    g_h: NdArray, g_c: NdArray, gates: NdArray, cs: NdArray, tanh_cs: NdArray, R: NdArray
) -> tuple[NdArray, NdArray]:
    """Every step from the last; ``g_c`` becomes the gradient of the first cell state.

    Args:
        g_h (array): gradients of the outputs from outside, ``(T, B, U)``; overwritten.
        g_c (array): gradient of the last cell state from outside, ``(B, U)``; overwritten.
        gates, cs, tanh_cs, R: as in :func:`_unroll`.

    Returns:
        tuple of array: gradients of the gates before their activation, interleaved,
        ``(T, B, U, 4)``, and that of the output before the window, ``(B, U)``.
    """
    xp = get_array_module(gates)
    a, i, f, o = gates.swapaxes(0, 1)
    into_c = o * (1 - tanh_cs * tanh_cs)
    g_gates = xp.empty_like(gates)  # first the factors, which turn into gradients step by step
    g_gates[:, 0] = i * (1 - a * a)
    g_gates[:, 1] = a * (i - i * i)
    g_gates[:, 2] = cs[:-1] * (f - f * f)
    g_gates[:, 3] = tanh_cs * (o - o * o)
    R = _blocks(R)
    lateral = xp.zeros_like(gates[0])
    into_h = xp.zeros_like(g_c)
    steps = zip(g_h, into_c, f, g_gates, strict=True)
    for g_h_t, into_c_t, f_t, g_gate in reversed(list(steps)):
        g_h_t += into_h
        into_c_t *= g_h_t
        g_c += into_c_t
        g_gate[:3] *= g_c
        g_gate[3] *= g_h_t
        g_c *= f_t
        xp.matmul(g_gate, R, out=lateral)
        xp.add.reduce(lateral, axis=0, out=into_h)
    return g_gates.transpose(0, 2, 3, 1), into_h


def _blocks(R: NdArray) -> NdArray:
    """An interleaved weight ``(4U, U)`` viewed as one matrix for each gate, ``(4, U, U)``."""
    return R.reshape(-1, 4, R.shape[1]).swapaxes(0, 1)
