"""The recurrence of a whole window, as differentiable functions: Elman's, and that of RNN3.

A window is time-major: ``x[t, b]`` is stream ``b`` at step ``t``, for ``T`` steps and ``B``
streams. Input projections and weight gradients do not depend on the previous step, so each is one
matrix product for the whole window. The rest stays in the loop over time, which works in arrays
allocated once. Nothing here knows of training or of where a window came from. Chainer's LSTM is in
``lstm.py``.

The gradients are those of back-propagation through time (P. J. Werbos, "Backpropagation through
time: what it does and how to do it", Proc. IEEE 78, 1990). In the derivations ``g_z`` is the
gradient of the loss with respect to ``z``, ``*`` multiplies element by element and ``@`` matrices.
"""

from collections.abc import Callable
from typing import NamedTuple

import chainer.functions as F
import chainer.links as L
from chainer import Variable, as_variable
from chainer.backend import get_array_module
from chainer.types import NdArray, Xp

from models.recurrences import kernels
from models.recurrences.embedding import Embedded, as_inputs, as_window
from models.recurrences.function import (
    Arrays,
    Gradients,
    Recurrence,
    input_gradients,
    project_inputs,
    rows,
    state_gradient,
)


def elman(
    x: Variable | Embedded,
    h: Variable | None,
    inward: L.Linear,
    recurrent: L.Linear,
    activation: Callable[[Variable], Variable] = F.tanh,
) -> tuple[Variable, Variable]:
    """Elman recurrence over a window: ``h_t = activation(inward(x_t) + recurrent(h_{t-1}))``.

    Without a previous state the first step omits the recurrent term and its bias.
    J. L. Elman, "Finding structure in time", Cognitive Science 14, 1990.

    Args:
        x (Variable or Embedded): inputs, ``(T, B, in)``.
        h (Variable or None): state before the window, ``(B, U)``.
        inward, recurrent (chainer.links.Linear): ``in`` to ``U`` and ``U`` to ``U``.
        activation: ``F.tanh``, ``F.relu`` or ``F.identity`` run as one function over the window,
            any other differentiable callable step by step.

    Returns:
        tuple of Variable: outputs ``(T, B, U)`` and the state after the window ``(B, U)``.
    """
    if activation in FUSED:
        vectors, ids = as_inputs(x)
        inputs = (vectors, inward.W, inward.b, recurrent.W, recurrent.b)
        return Elman(FUSED[activation], ids).apply(inputs if h is None else (*inputs, h))
    outputs = []
    for a in inward(as_window(x), n_batch_axes=2):
        h = activation(a if h is None else a + recurrent(h))
        outputs.append(h)
    return F.stack(outputs), outputs[-1]


def concat_elman(
    x: Variable | Embedded,
    h: Variable | None,
    layer: L.Linear,
    activation: Callable[[Variable], Variable] = F.tanh,
) -> tuple[Variable, Variable]:
    """Recurrence of input joined with state: ``[o_t ; s_t] = layer([x_t ; h_{t-1}])``.

    The output is ``activation(o_t)`` and the next state ``h_t = activation(s_t)``. Without a
    previous state, zeros take its place.

    Args:
        x (Variable or Embedded): inputs, ``(T, B, U)``.
        h (Variable or None): state before the window, ``(B, R)``.
        layer (chainer.links.Linear): ``U + R`` to ``U + R``, ``U`` first in rows and columns.
        activation: as in :func:`elman`.

    Returns:
        tuple of Variable: outputs ``(T, B, U)`` and the state after the window ``(B, R)``.
    """
    vectors, ids = as_inputs(x)
    n_units = vectors.shape[-1]
    if h is None:
        batch = (vectors if ids is None else ids).shape[1]
        h = as_variable(layer.xp.zeros((batch, len(layer.W) - n_units), vectors.dtype))
    if activation in FUSED:
        return ConcatElman(FUSED[activation], ids).apply((vectors, layer.W, layer.b, h))
    outputs = []
    for x_t in F.separate(as_window(x)):
        o, s = F.split_axis(layer(F.concat((x_t, h))), [n_units], axis=1)
        outputs.append(activation(o))
        h = activation(s)
    return F.stack(outputs), h


class Activation(NamedTuple):
    """An activation whose derivative is cheap to compute from its output."""

    apply: Callable[[Xp, NdArray], NdArray]  # (xp, a): overwrites the array a
    slope: Callable[[Xp, NdArray], NdArray]  # (xp, h): the derivative where the output is h
    cuda: str  # the same function of z, in C
    cuda_slope: str  # and the same derivative of h


FUSED = {
    F.tanh: Activation(
        lambda xp, a: xp.tanh(a, out=a), lambda xp, h: 1 - h * h, "tanh(z)", "1 - h * h"
    ),
    F.relu: Activation(
        lambda xp, a: xp.maximum(a, 0, out=a), lambda xp, h: h > 0, "z < 0 ? T(0) : z", "T(h > 0)"
    ),
    F.identity: Activation(lambda xp, a: a, lambda xp, h: xp.ones_like(h), "z", "1"),
}


class _WithActivation(Recurrence):
    def __init__(self, act: Activation, ids: NdArray | None = None) -> None:
        super().__init__(ids)
        self.act = act


class Elman(_WithActivation):
    """:func:`elman` for the activations of ``FUSED``.

    Forward, ``a_t = W x_t + b + R h_{t-1} + c`` and ``h_t = act(a_t)``, where ``W x_t + b + c`` is
    computed for the whole window first. Backward, ``h_t`` reaches the loss through the output of
    its own step and through ``a_{t+1}``, so from the last step to the first::

        g_a_t = (g_h_t + g_a_{t+1} @ R) * act'(a_t)

    Then, over all steps and streams, ``g_W = sum g_a_t^T @ x_t``, ``g_R = sum g_a_t^T @ h_{t-1}``,
    ``g_b = g_c = sum g_a_t``, ``g_x_t = g_a_t @ W`` and ``g_h_0 = g_a_1 @ R``.
    """

    inputs_are = "T B I", "U I", "U", "U U", "U"
    states_are = ("B U",)

    def forward(self, inputs: Arrays) -> Arrays:
        x, W, b, R, c, *h0 = inputs
        xp = get_array_module(x)
        n_steps, batch = self.window_shape(x)
        states = xp.empty((n_steps + 1, batch, len(W)), x.dtype)  # h_0 ... h_T
        hs = states[1:]
        project_inputs(x, self.ids, W, out=hs)
        if h0:
            states[0] = h0[0]
            hs += b + c
        else:
            states[0] = 0
            hs[0] += b
            hs[1:] += b + c
        unroll = kernels.elman if kernels.serve(x) else _unroll
        unroll(states, R, self.act)
        self.saved = x, W, R, states
        self.has_state = bool(h0)
        return hs, hs[-1].copy()

    def backward_arrays(self, g_hs: NdArray | None, g_last: NdArray | None) -> Gradients:
        x, W, R, states = self.saved
        before, hs = states[:-1], states[1:]
        g_a = state_gradient(hs, g_hs, g_last)
        unroll = kernels.elman_backward if kernels.serve(x) else _unroll_backward
        g_h0 = unroll(g_a, hs, R, self.act)
        g_x, g_W, g_b = input_gradients(g_a, x, self.ids, W)
        g_R = rows(g_a).T.dot(rows(before))
        # A copy, because hooks change gradients in place.
        g_c = g_b.copy() if self.has_state else g_b - g_a[0].sum(axis=0)
        grads = g_x, g_W, g_b, g_R, g_c
        return (*grads, g_h0) if self.has_state else grads


class ConcatElman(_WithActivation):
    """:func:`concat_elman` for the activations of ``FUSED``.

    The layer's matrix has four blocks, ``[[O, P], [S, R]]``: ``o_t = O x_t + P h_{t-1} + b_o`` and
    ``s_t = S x_t + R h_{t-1} + b_s``. Only ``R`` is in the loop, which is :class:`Elman`'s. In the
    backward pass ``h_t`` reaches the loss through ``o_{t+1}`` and ``s_{t+1}``. The first part,
    ``g_o_{t+1} @ P``, is computed for all steps at once, the second in the loop.
    """

    inputs_are = "T B I", "J J", "J", "B R"

    def known_sizes(self, inputs: Arrays) -> dict[str, int]:
        n_inputs, n_outputs = inputs[0].shape[-1:], inputs[1].shape[:1]
        return {**super().known_sizes(inputs), "R": sum(n_outputs) - sum(n_inputs)}

    def forward(self, inputs: Arrays) -> Arrays:
        x, W, b, h0 = inputs
        xp = get_array_module(x)
        n_units = x.shape[-1]
        n_steps, _ = self.window_shape(x)
        states = xp.empty((n_steps + 1, *h0.shape), x.dtype)  # h_0 ... h_T
        states[0] = h0
        if kernels.serve(x):
            inward = xp.empty((n_steps, len(h0), len(W)), x.dtype)
            project_inputs(x, self.ids, W[:, :n_units], out=inward)
            inward += b
            ys = kernels.concat_elman(inward, states, W[:, n_units:], self.act)
        else:
            O, P, S, R = _quarters(W, n_units)
            project_inputs(x, self.ids, S, out=states[1:])
            states[1:] += b[n_units:]
            _unroll(states, R, self.act)
            ys = xp.empty((n_steps, len(h0), n_units), x.dtype)
            project_inputs(x, self.ids, O, out=ys)
            rows(ys)[...] += rows(states[:-1]).dot(P.T)
            ys += b[:n_units]
            self.act.apply(xp, ys)
        self.saved = x, W, states, ys
        return ys, states[-1].copy()

    def backward_arrays(self, g_ys: NdArray | None, g_last: NdArray | None) -> Gradients:
        x, W, states, ys = self.saved
        xp = get_array_module(x)
        if g_ys is None:
            g_ys = xp.zeros_like(ys)
        if kernels.serve(x):
            return self._backward_on_gpu(g_ys, g_last)
        n_units = x.shape[-1]
        O, P, S, R = _quarters(W, n_units)
        before, hs = states[:-1], states[1:]
        g_o = g_ys * self.act.slope(xp, ys)
        g_s = xp.empty_like(hs)
        xp.dot(rows(g_o[1:]), P, out=rows(g_s[:-1]))
        g_s[-1] = 0 if g_last is None else g_last
        g_h0 = _unroll_backward(g_s, hs, R, self.act)
        g_W, g_b = xp.empty_like(W), xp.empty_like(W[0])
        g_O, g_P, g_S, g_R = _quarters(g_W, n_units)
        g_P[...] = rows(g_o).T.dot(rows(before))
        g_R[...] = rows(g_s).T.dot(rows(before))
        g_x, g_O[...], g_b[:n_units] = input_gradients(g_o, x, self.ids, O)
        g_x_of_s, g_S[...], g_b[n_units:] = input_gradients(g_s, x, self.ids, S)
        g_x += g_x_of_s
        return g_x, g_W, g_b, g_o[0].dot(P) + g_h0

    def _backward_on_gpu(self, g_ys: NdArray, g_last: NdArray | None) -> Gradients:
        x, W, states, ys = self.saved
        xp = get_array_module(x)
        g_h = xp.zeros_like(states[0]) if g_last is None else g_last.copy()
        n_units = x.shape[-1]
        before, hs = states[:-1], states[1:]
        g = kernels.concat_elman_backward(g_ys, g_h, ys, hs, W[:, n_units:], self.act)
        g_x, g_W_of_x, g_b = input_gradients(g, x, self.ids, W[:, :n_units])
        g_W = xp.concatenate((g_W_of_x, rows(g).T.dot(rows(before))), axis=1)
        return g_x, g_W, g_b, g_h


def _quarters(W: NdArray, n_units: int) -> tuple[NdArray, NdArray, NdArray, NdArray]:
    """The blocks ``O, P, S, R`` of :class:`ConcatElman`, as views."""
    return (
        W[:n_units, :n_units],
        W[:n_units, n_units:],
        W[n_units:, :n_units],
        W[n_units:, n_units:],
    )


def _unroll(states: NdArray, R: NdArray, act: Activation) -> None:
    """``states[t + 1] = act(states[t + 1] + R states[t])`` for every step, in place."""
    xp = get_array_module(states)
    lateral = xp.empty_like(states[0])
    R_T = xp.ascontiguousarray(R.T)  # one copy makes every step's product cheaper
    h = states[0]
    for a in states[1:]:
        h.dot(R_T, lateral)
        a += lateral
        act.apply(xp, a)
        h = a


def _unroll_backward(g: NdArray, hs: NdArray, R: NdArray, act: Activation) -> NdArray:
    """``g[t] = (g[t] + g[t + 1] R) * act'`` for every step from the last, in place.

    Returns:
        array: ``g[0] R``, the gradient of the state before the window.
    """
    xp = get_array_module(g)
    slopes = act.slope(xp, hs)
    lateral = xp.zeros_like(g[0])
    R = xp.ascontiguousarray(R)
    for g_t, slope in zip(g[::-1], slopes[::-1], strict=True):
        g_t += lateral
        g_t *= slope
        g_t.dot(R, lateral)
    return lateral
