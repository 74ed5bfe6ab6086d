"""How a window of predictions is judged: mean cross entropy, and accuracy."""

from collections.abc import Callable

import chainer.links as L
from chainer import Variable, as_array, as_variable
from chainer.backend import get_array_module
from chainer.types import NdArray

from models.recurrences.function import Arrays, Gradients, WindowFunction


class Classifier(L.Classifier):
    """``chainer.links.Classifier`` with the loss and accuracy of this module.

    They equal Chainer's defaults. The options of Chainer's functions cost a small network a tenth
    of each update.

    Args:
        predictor (chainer.Link): maps a window of ids to logits ``(N, V)``.
    """

    def __init__(self, predictor: Callable[[NdArray], Variable]) -> None:
        super().__init__(predictor, softmax_cross_entropy, accuracy)


def softmax_cross_entropy(y: Variable, t: NdArray) -> Variable:
    """Mean over ``N`` predictions of ``-log softmax(y)[t]``, in nats.

    Args:
        y (Variable): logits, ``(N, V)``.
        t (array): the true ids, integers below ``V``, ``(N,)``.

    Returns:
        Variable: of shape ``()``.
    """
    return SoftmaxCrossEntropy().apply((y, t))[0]


def accuracy(y: Variable, t: NdArray) -> Variable:
    """Share of predictions whose largest logit is the right one; arguments as for the loss."""
    xp = get_array_module(y)
    right = as_array(y).argmax(axis=1) == as_array(t)
    return as_variable(xp.asarray(right.sum() / len(right), y.dtype))


class SoftmaxCrossEntropy(WindowFunction):
    """:func:`softmax_cross_entropy`; ``g_y = (softmax(y) - one_hot(t)) g / N``."""

    inputs_are = "N V", "N int"

    def forward(self, inputs: Arrays) -> Arrays:
        y, self.t = inputs
        xp = get_array_module(y)
        self.rows = xp.arange(len(y))
        largest = y[self.rows, y.argmax(axis=1)]  # quicker than max() along a short axis
        z = y - largest[:, None]  # so that nothing overflows
        of_target = z[self.rows, self.t]
        self.exp = xp.exp(z, out=z)
        self.sum = z.sum(axis=1, keepdims=True)
        loss = xp.log(self.sum).sum() - of_target.sum()
        return (xp.asarray(loss / len(z), y.dtype),)

    def backward_arrays(self, g_loss: NdArray) -> Gradients:
        g = g_loss / len(self.t)
        g_y = self.exp * (g / self.sum)
        g_y[self.rows, self.t] -= g
        return g_y, None
