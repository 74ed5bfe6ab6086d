"""One step of one stream, for a network that runs free on the CPU, without a graph.

Such a step is a matrix-vector product or two for each layer. The overhead of Chainer and of a
function over a window takes several times as long. So this file repeats the recurrences in few
operations, on copies of the weights laid out for them. ``recurrences/`` explains them.
"""

from collections.abc import Callable
from typing import Any

import chainer.functions as F
import numpy as np
from chainer import Variable, as_array
from chainer.types import NdArray

from models import GRU, RNN, RNN2, RNN3, Model, RNNForLM

Layer = Callable[[NdArray], NdArray]  # input (in,) to output (U,), valid until the next call


def stepper(model: Model) -> Callable[[int], NdArray] | None:
    """Make a function that continues from the model's state, a step at a time.

    Args:
        model: has read something in one stream. Its state is not changed. Later changes of its
            weights have no effect.

    Returns:
        callable or None: takes the next id, returns the logits after it, ``(V,)``; None for a
        model on a GPU or of an unknown kind, which has to take its steps itself.
    """
    parts = _PARTS.get(type(model))
    other = any(getattr(link, "activation", F.tanh) is not F.tanh for link in model.links())
    if parts is None or other or model.xp is not np:
        return None
    layers, last = parts(model)
    E, W, b = _arrays(model.embed.W, last.W, last.b)

    def step(token: int) -> NdArray:
        x = E[token]
        for layer in layers:
            x = layer(x)
        return W.dot(x) + b

    return step


def _elman(inward: Any, recurrent: Any, h: Variable) -> Layer:
    W, b, R, c = _arrays(inward.W, inward.b, recurrent.W, recurrent.b)
    return _tanh(np.hstack((W, R)), b + c, h)


def _concat_elman(joint: Any, h: Variable) -> Layer:
    W, b = _arrays(joint.W, joint.b)
    return _tanh(W, b, h)


def _tanh(W: NdArray, b: NdArray, h: Variable) -> Layer:
    """``[o_t ; h_t] = tanh(W [x_t ; h_{t-1}] + b)``; if ``o_t`` is ``h_t``, ``W`` has it once."""
    xh, n_in = _joined(W, h)

    def layer(x: NdArray) -> NdArray:
        xh[:n_in] = x
        a = W.dot(xh)
        a += b
        np.tanh(a, out=a)
        xh[n_in:] = a[n_in - len(xh) :]
        return a[:n_in]

    return layer


def _lstm(link: Any) -> Layer:
    W, b, R, (c,) = _arrays(link.upward.W, link.upward.b, link.lateral.W, link.c)
    n_units = len(c)
    # From a, i, f, o of each unit to a block of each gate. sigmoid(z) = tanh(z / 2) / 2 + 1/2.
    order = np.arange(4 * n_units).reshape(n_units, 4).T.ravel()
    W, b = np.hstack((W, R))[order], b[order]
    W[n_units:] *= 0.5
    b[n_units:] *= 0.5
    c = c.copy()
    xh, n_in = _joined(W, link.h)

    def layer(x: NdArray) -> NdArray:
        xh[:n_in] = x
        gates = W.dot(xh)
        gates += b
        np.tanh(gates, out=gates)
        sigmoids = gates[n_units:]
        sigmoids *= 0.5
        sigmoids += 0.5
        a, i, f, o = gates.reshape(4, n_units)
        np.multiply(f, c, out=c)
        a *= i
        np.add(c, a, out=c)
        np.tanh(c, out=a)
        a *= o
        xh[n_in:] = a
        return a

    return layer


def _gru(link: Any) -> Layer:
    names = "W_r", "U_r", "W_z", "U_z", "W", "U"
    W_r, U_r, W_z, U_z, W, U = _arrays(*[link[name].W for name in names])
    b_r, d_r, b_z, d_z, b, d = _arrays(*[link[name].b for name in names])
    W_rz = 0.5 * np.block([[W_r, U_r], [W_z, U_z]])  # sigmoid(v) = tanh(v / 2) / 2 + 1/2
    b_rz = 0.5 * np.concatenate((b_r + d_r, b_z + d_z))
    W, b = np.hstack((W, U)), b + d
    xh, n_in = _joined(W, link.h)
    xp = np.empty_like(xh)  # the input, and r * h
    h, p = xh[n_in:], xp[n_in:]

    def layer(x: NdArray) -> NdArray:
        xh[:n_in] = xp[:n_in] = x
        gates = W_rz.dot(xh)
        gates += b_rz
        np.tanh(gates, out=gates)
        gates *= 0.5
        gates += 0.5
        r, z = gates.reshape(2, -1)
        np.multiply(r, h, out=p)
        a = W.dot(xp)
        a += b
        np.tanh(a, out=a)
        a -= h
        a *= z
        np.add(h, a, out=h)
        return h

    return layer


def _joined(W: NdArray, h: Variable) -> tuple[NdArray, int]:
    """One array for an input, still empty, and the state; and the size of the input."""
    xh = np.empty_like(W[0])
    n_in = len(xh) - h.shape[1]
    xh[n_in:] = as_array(h)[0]
    return xh, n_in


def _arrays(*variables: Any) -> list[NdArray]:
    return [as_array(variable) for variable in variables]


# For each architecture, its layers in their present state and the link that makes the logits.
_PARTS: dict[type, Callable[[Any], tuple[list[Layer], Any]]] = {
    RNN: lambda net: ([_elman(net.l1, net.r1, net.h)], net.l2),
    RNN2: lambda net: ([_elman(r.l, r.r, r.h) for r in (net.r1, net.r2, net.r3)], net.l5),
    RNN3: lambda net: ([_concat_elman(r.l, r.h) for r in (net.r1, net.r2, net.r3)], net.l5),
    RNNForLM: lambda net: ([_lstm(net.l1), _lstm(net.l2)], net.l3),
    GRU: lambda net: ([_gru(net.l1)], net.l2),
}
