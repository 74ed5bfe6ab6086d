"""The floor: RNN and Adam written out by hand in NumPy, nothing but the arithmetic.

Buffers are allocated once; whatever does not depend on the step before is one product for the
whole window; the embedding's gradient is a product with the one-hot ids; parameters, gradients and
Adam's moments are views into one flat array each, so the update is a handful of vector operations.
No autograd, no checks, no reporting beyond the loss and the accuracy.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import (
    DEFAULT,
    LEARNING_RATE,
    Size,
    make_windows,
    numpy_arithmetic,
    run_measure,
    time_updates,
)

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]


class RNN:
    """``h_t = tanh(W e_t + b + R h_{t-1} + c)``, ``y_t = O h_t + d``, trained by Adam."""

    def __init__(self, size: Size) -> None:
        n_vocab, n_units, batch, window = size
        self.size = size
        shapes: dict[str, tuple[int, ...]] = {
            "embed": (n_vocab, n_units),
            "W": (n_units, n_units),
            "b": (n_units,),
            "R": (n_units, n_units),
            "c": (n_units,),
            "O": (n_vocab, n_units),
            "d": (n_vocab,),
        }
        n_params = sum(int(np.prod(shape)) for shape in shapes.values())
        self.flat, self.g_flat, self.m, self.v, self.work = np.zeros((5, n_params), np.float32)
        self.params, self.grads = _views(self.flat, shapes), _views(self.g_flat, shapes)
        rng = np.random.default_rng(0)
        for name, param in self.params.items():
            if param.ndim == 2:
                scale = 1 if name == "embed" else n_units**-0.5
                param[...] = scale * rng.standard_normal(param.shape)
        self.n_updates = 0
        self.ids = np.arange(n_vocab)[:, None]
        self.places = np.arange(window * batch)
        self.hs = np.zeros((window + 1, batch, n_units), np.float32)
        self.g_hs = np.empty((window, batch, n_units), np.float32)
        self.lateral = np.empty((batch, n_units), np.float32)

    def update(self, x: Ids, t: Ids) -> tuple[float, float]:
        """One update on a window of ids ``x`` and next ids ``t``, int32 ``(T, B)``.

        Returns:
            tuple: loss, summed over the steps and averaged over the batch, and accuracy.
        """
        x, t = x.ravel(), t.ravel()
        embedded, logits = self.forward(x)
        accuracy = (logits.argmax(axis=1) == t).mean()
        logits -= logits.max(axis=1, keepdims=True)
        probability = np.exp(logits)
        normaliser = probability.sum(axis=1, keepdims=True)
        loss = (np.log(normaliser).sum() - logits[self.places, t].sum()) / self.size.batch
        probability /= normaliser
        probability[self.places, t] -= 1
        probability /= self.size.batch
        self.backward(x, embedded, probability)
        self.adam()
        return loss, accuracy

    def forward(self, x: Ids) -> tuple[Floats, Floats]:
        """Embedded ids and logits, a row for each prediction."""
        p, hs, lateral = self.params, self.hs, self.lateral
        embedded = p["embed"][x]
        a = embedded @ p["W"].T
        a += p["b"] + p["c"]
        a = a.reshape(hs[1:].shape)
        R_T = p["R"].T
        hs[0] = hs[-1]
        for h, h_next, a_t in zip(hs, hs[1:], a, strict=False):
            np.dot(h, R_T, out=lateral)
            lateral += a_t
            np.tanh(lateral, out=h_next)
        return embedded, hs[1:].reshape(embedded.shape) @ p["O"].T + p["d"]

    def backward(self, x: Ids, embedded: Floats, g_logits: Floats) -> None:
        """Fill the gradients, given that of the logits."""
        p, g, hs, g_hs, lateral = self.params, self.grads, self.hs, self.g_hs, self.lateral
        outputs = hs[1:].reshape(embedded.shape)
        np.dot(g_logits.T, outputs, out=g["O"])
        g_logits.sum(axis=0, out=g["d"])
        rows = g_hs.reshape(embedded.shape)
        np.dot(g_logits, p["O"], out=rows)
        slopes = 1 - hs[1:] * hs[1:]
        lateral[...] = 0
        for g_h, slope in zip(g_hs[::-1], slopes[::-1], strict=True):
            g_h += lateral
            g_h *= slope
            np.dot(g_h, p["R"], out=lateral)
        np.dot(rows.T, hs[:-1].reshape(embedded.shape), out=g["R"])
        np.dot(rows.T, embedded, out=g["W"])
        rows.sum(axis=0, out=g["b"])
        g["c"][...] = g["b"]
        one_hot = (self.ids == x).astype(np.float32)
        np.dot(one_hot, rows @ p["W"], out=g["embed"])

    def adam(self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        """D. P. Kingma and J. Ba, "Adam", 2015, in place."""
        self.n_updates += 1
        g, m, v, work = self.g_flat, self.m, self.v, self.work
        m *= beta1
        np.multiply(g, 1 - beta1, out=work)
        m += work
        v *= beta2
        np.multiply(g, g, out=work)
        work *= 1 - beta2
        v += work
        correction = (1 - beta2**self.n_updates) ** 0.5 / (1 - beta1**self.n_updates)
        np.sqrt(v, out=work)
        work += epsilon
        np.divide(m, work, out=work)
        work *= LEARNING_RATE * correction
        self.flat -= work


def _views(flat: Floats, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """Arrays of the shapes, by name, that share the memory of a flat one."""
    views, start = {}, 0
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape))
        views[name] = flat[start:stop].reshape(shape)
        start = stop
    return views


def updates(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates, a list."""
    windows = list(zip(*make_windows(DEFAULT), strict=True))
    return time_updates(RNN(DEFAULT).update, windows, count, repetitions)


if __name__ == "__main__":
    run_measure({"updates": updates}, numpy_arithmetic)
