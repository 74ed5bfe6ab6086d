"""GRU: one layer of gated recurrent units between an embedding and an output layer.

The tutorial has no such model. It is the example of how to add an architecture, so this file holds
all of it: the model, its layer, and the layer's recurrence over a whole window, in the notation of
``windows/elman.py``.
"""

import chainer.links as L
from chainer import Chain, Variable
from chainer.backend import get_array_module
from chainer.types import NdArray

from models.dropout import Dropout
from models.recurrences import kernels
from models.recurrences.embedding import Embedded, as_inputs, embed, project
from models.recurrences.function import (
    Arrays,
    Gradients,
    Recurrence,
    input_gradients,
    project_inputs,
    rows,
    state_gradient,
)
from models.stateful import Stateful


class GRULayer(Stateful, L.StatefulGRU):
    """Chainer's GRU layer, with its parameters and its state, reading a window at a time."""

    def forward(self, x: Variable | Embedded) -> Variable:
        """Outputs ``(T, B, U)`` for a window of inputs ``(T, B, U)``."""
        hs, self.h = gru(x, self.h, self)
        return hs


class GRU(Dropout, Chain):
    """``y_t = l2(l1(e_t))``, where ``e_t`` embeds the id and ``l1`` is a GRU layer.

    Args:
        n_vocab (int): size of the vocabulary, ``V``.
        n_units (int): units of the embedding and of the layer, ``U``.
    """

    def __init__(self, n_vocab: int, n_units: int) -> None:
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = GRULayer(n_units, n_units)
            self.l2 = L.Linear(n_units, n_vocab)
        self.begin_dropout()

    def reset_state(self) -> None:
        """Forget everything read so far."""
        self.l1.reset_state()

    def forward(self, x: NdArray | Variable) -> Variable:
        """Logits ``(T * B, V)`` for a window of ids ``(T, B)``; ``(B, V)`` for a step ``(B,)``."""
        drop = self.dropout(x)
        h = self.l1(drop(embed(x, self.embed.W)))
        return project(drop(h), self.l2)


def gru(
    x: Variable | Embedded, h: Variable | None, layer: L.StatefulGRU
) -> tuple[Variable, Variable]:
    """Chainer's GRU over a window, the arithmetic of ``chainer.links.StatefulGRU``.

    The gates ``r = sigmoid(W_r x_t + U_r h_{t-1})`` and ``z = sigmoid(W_z x_t + U_z h_{t-1})``, the
    candidate ``a = tanh(W x_t + U (r * h_{t-1}))``, the state ``h_t = (1 - z) * h_{t-1} + z * a``;
    each of the six products has a bias. Without a previous state, the first step omits the terms
    that hold it, with their biases.

    K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", EMNLP 2014, where ``z`` and ``1 - z`` are swapped. As there, the reset
    gate acts before the matrix product; in cuDNN and PyTorch it acts after.

    Args:
        x (Variable or Embedded): inputs, ``(T, B, in)``.
        h (Variable or None): state before the window, ``(B, U)``.
        layer (chainer.links.StatefulGRU): ``in`` to ``U``.

    Returns:
        tuple of Variable: outputs ``(T, B, U)`` and the state after the window ``(B, U)``.
    """
    vectors, ids = as_inputs(x)
    inputs = [vectors]
    for inward, lateral in ((layer.W_r, layer.U_r), (layer.W_z, layer.U_z), (layer.W, layer.U)):
        inputs += [inward.W, inward.b, lateral.W, lateral.b]
    return GRURecurrence(ids).apply(inputs if h is None else (*inputs, h))


class GRURecurrence(Recurrence):
    """:func:`gru`.

    In the loop ``r``, ``z`` and ``a`` are blocks ``(3, B, U)``. Let ``p = r * h_{t-1}``, and let
    ``g_r``, ``g_z`` and ``g_a`` be the gradients before ``sigmoid`` and ``tanh``. Backward, from
    the last step to the first::

        g_z = g_h_t * (a - h_{t-1}) * z * (1 - z)        g_a = g_h_t * z * (1 - a^2)
        g_p = g_a @ U                                    g_r = g_p * h_{t-1} * r * (1 - r)
        g_h_{t-1} += g_h_t * (1 - z) + g_p * r + g_r @ U_r + g_z @ U_z

    Factors without a gradient are computed beforehand for the whole window.
    """

    inputs_are = "T B I", *3 * ("U I", "U", "U U", "U")
    states_are = ("B U",)

    def forward(self, inputs: Arrays) -> Arrays:
        """Outputs of the window and the state after it."""
        x, *params = inputs[:13]
        h0 = inputs[13:]
        xp = get_array_module(x)
        W, b, U, d = (xp.stack(params[k::4]) for k in range(4))  # of r, z and a
        W = rows(W)
        n_steps, batch = self.window_shape(x)
        n_units = U.shape[2]
        inward = xp.empty((n_steps, batch, len(W)), x.dtype)
        project_inputs(x, self.ids, W, out=inward)
        inward += b.ravel()
        inward = inward.reshape(n_steps, batch, 3, n_units)
        inward[0 if h0 else 1 :] += d
        hs = xp.empty((n_steps + 1, batch, n_units), x.dtype)  # h_0 ... h_T
        hs[0] = h0[0] if h0 else 0
        unroll = kernels.gru if kernels.serve(x) else _unroll
        gates, ps = unroll(inward, hs, U)
        self.saved = x, W, U, gates, hs, ps
        self.has_state = bool(h0)
        return hs[1:], hs[-1].copy()

    def backward_arrays(self, g_hs: NdArray | None, g_last: NdArray | None) -> Gradients:
        """Gradient of each input."""
        x, W, U, gates, hs, ps = self.saved
        xp = get_array_module(x)
        n_units = U.shape[2]
        g_h = state_gradient(hs[:-1], g_hs, g_last)
        unroll = kernels.gru_backward if kernels.serve(x) else _unroll_backward
        g_gates, g_h0 = unroll(g_h, gates, hs, U)
        g_gates = g_gates.reshape(*g_h.shape[:2], len(W))
        g_rows = rows(g_gates)
        g_x, g_W, g_b = input_gradients(g_gates, x, self.ids, W)
        g_W, g_b = g_W.reshape(3, n_units, -1), g_b.reshape(3, n_units)
        g_U = xp.empty_like(U)
        xp.matmul(g_rows[:, : 2 * n_units].T, rows(hs[:-1]), out=rows(g_U[:2]))
        xp.matmul(g_rows[:, 2 * n_units :].T, rows(ps), out=g_U[2])
        g_d = g_b.copy() if self.has_state else g_b - g_gates[0].sum(axis=0).reshape(g_b.shape)
        g_params = [g for gate in zip(g_W, g_b, g_U, g_d, strict=True) for g in gate]
        return (g_x, *g_params, g_h0) if self.has_state else (g_x, *g_params)


def _unroll(inward: NdArray, hs: NdArray, U: NdArray) -> tuple[NdArray, NdArray]:
    """Every step from the first; fills ``hs`` beyond its first row.

    Args:
        inward (array): what the inputs and all biases add to ``r``, ``z`` and ``a``,
            ``(T, B, 3, U)``.
        hs (array): states, ``(T + 1, B, U)``.
        U (array): recurrent weights, ``(3, U, U)``.

    Returns:
        tuple of array: ``r``, ``z`` and ``a``, ``(T, 3, B, U)``, and the products ``p``,
        ``(T, B, U)``.
    """
    xp = get_array_module(inward)
    gates = xp.ascontiguousarray(inward.swapaxes(1, 2))
    # sigmoid(v) = tanh(v / 2) / 2 + 1/2: the inner halves are taken for the whole window.
    gates[:, :2] *= 0.5
    U_rz = 0.5 * xp.ascontiguousarray(U[:2].swapaxes(1, 2))
    U_a = xp.ascontiguousarray(U[2].T)
    ps = xp.empty_like(hs[1:])
    lateral = xp.empty_like(gates[0])
    for gate, h, p, h_next in zip(gates, hs, ps, hs[1:], strict=False):
        sigmoids, (r, z, a) = gate[:2], gate
        xp.matmul(h, U_rz, out=lateral[:2])
        sigmoids += lateral[:2]
        xp.tanh(sigmoids, out=sigmoids)
        sigmoids *= 0.5
        sigmoids += 0.5
        xp.multiply(r, h, out=p)
        xp.dot(p, U_a, out=lateral[2])
        a += lateral[2]
        xp.tanh(a, out=a)
        h_next[...] = a
        h_next -= h
        h_next *= z
        h_next += h
    return gates, ps


def _unroll_backward(
    g_h: NdArray, gates: NdArray, hs: NdArray, U: NdArray
) -> tuple[NdArray, NdArray]:
    """Every step from the last.

    Args:
        g_h (array): gradients of the outputs from outside, ``(T, B, U)``; overwritten.
        gates, hs, U: as in :func:`_unroll`.

    Returns:
        tuple of array: ``g_r``, ``g_z`` and ``g_a``, ``(T, B, 3, U)``, and the gradient of the
        state before the window, ``(B, U)``.
    """
    xp = get_array_module(gates)
    before = hs[:-1]
    r, z, a = gates.swapaxes(0, 1)
    g_gates = xp.empty_like(gates)  # first the factors, which turn into gradients step by step
    g_gates[:, 0] = before * (r - r * r)
    g_gates[:, 1] = (a - before) * (z - z * z)
    g_gates[:, 2] = z * (1 - a * a)
    lateral = xp.empty_like(gates[0])
    into_h = xp.zeros_like(before[0])
    steps = zip(g_h, 1 - z, r, g_gates, strict=True)
    for g_h_t, kept, r_t, g_gate in reversed(list(steps)):
        g_h_t += into_h
        g_gate[1:] *= g_h_t
        xp.dot(g_gate[2], U[2], out=lateral[2])
        g_gate[0] *= lateral[2]
        lateral[2] *= r_t
        xp.matmul(g_gate[:2], U[:2], out=lateral[:2])
        xp.add.reduce(lateral, axis=0, out=into_h)
        g_h_t *= kept
        into_h += g_h_t
    return g_gates.swapaxes(1, 2), into_h
