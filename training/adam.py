"""Chainer's Adam, of which an update on the CPU costs little more than its arithmetic.

Chainer allocates a dozen arrays of the size of each parameter, and asks each anew where it lies and
how it wants to be updated. That takes as long as the arithmetic where parameters are small, and
several times as long where they are larger than the cache.
"""

from collections.abc import Callable, Iterator
from typing import Any

import chainer_compat

import numpy as np
from chainer import Link, Parameter, optimizers
from chainer.optimizer import Hyperparameter
from chainer.optimizers.adam import AdamRule
from chainer.types import NdArray

_BLOCK = 2**16  # elements at a time, so that all that is computed with them stays in the cache


class Adam(optimizers.Adam):
    """``chainer.optimizers.Adam`` with the same results, to the bit, and the same state.

    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015. Whatever is not
    the plain method on arrays of NumPy is left to Chainer: other devices, half precision, loss
    scaling, weight decay, AMSGrad and AdaBound, and parameters that have hooks or hyperparameters
    of their own, have no gradient, or are not to be updated.
    """

    def setup(self, link: Link) -> "Adam":
        """Take the parameters of a link to be updated."""
        super().setup(link)
        self._params = tuple(link.params())
        return self

    def create_update_rule(self) -> AdamRule:
        """The rule by which one parameter is updated."""
        return _Rule(self.hyperparam)

    def update(self, lossfun: Callable[..., Any] | None = None, *args: Any, **kwds: Any) -> None:
        """Update the parameters, see ``chainer.GradientMethod.update``."""
        if lossfun is not None or not self._is_plain():
            super().update(lossfun, *args, **kwds)
            return
        self.call_hooks("pre")
        self.t += 1
        alpha_t = self.alpha_t
        for param in self._params:
            rule: Any = param.update_rule
            rule.t = self.t
            arrays = param.array, param.grad, rule.state["m"], rule.state["v"]
            for block in _blocks(*arrays):
                _update(*block, hp=self.hyperparam, alpha_t=alpha_t)
        self.call_hooks("post")

    def _is_plain(self) -> bool:
        hp = self.hyperparam
        return (
            self._loss_scale is None
            and hp.eta == 1
            and not (hp.weight_decay_rate or hp.amsgrad or hp.adabound)
            and all(_is_plain(param, self.t) for param in self._params)
        )


class _Rule(AdamRule):
    has_hooks = False

    def add_hook(self, *args: Any, **kwds: Any) -> None:
        super().add_hook(*args, **kwds)
        self.has_hooks = True


def _is_plain(param: Parameter, t: int) -> bool:
    """Whether the next update is the plain method's update ``t + 1``, with all it needs."""
    rule = param.update_rule
    return (
        isinstance(rule, _Rule)
        and rule.state is not None  # it is Chainer that makes it, in the first update
        and rule.t == t
        and rule.enabled
        and not rule.has_hooks
        and len(vars(rule.hyperparam)) == 1  # nothing but a reference to the optimizer's
        and isinstance(param.array, np.ndarray)
        and isinstance(rule.state["m"], np.ndarray)
        and param.dtype != np.float16
        and param.grad is not None
    )


def _blocks(*arrays: NdArray) -> Iterator[tuple[NdArray, ...]]:
    """Arrays of one shape, cut alike along their first axis where they are large."""
    size = arrays[0].size
    if size <= _BLOCK:
        yield arrays
        return
    length = len(arrays[0])
    rows = max(1, _BLOCK * length // size)
    for start in range(0, length, rows):
        yield tuple([array[start : start + rows] for array in arrays])


def _update(
    param: NdArray, grad: NdArray, m: NdArray, v: NdArray, *, hp: Hyperparameter, alpha_t: float
) -> None:
    """``m += (1 - beta1) (g - m)``, ``v += (1 - beta2) (g^2 - v)``, ``p -= alpha_t m / sqrt(v)``.

    In the order of Chainer's operations, so that the rounding is the same.
    """
    step = np.empty_like(m)
    np.subtract(grad, m, out=step)
    step *= 1 - hp.beta1
    m += step
    np.multiply(grad, grad, out=step)
    step -= v
    step *= 1 - hp.beta2
    v += step
    np.sqrt(v, out=step)
    step += hp.eps
    np.divide(alpha_t, step, out=step)
    step *= m
    param -= step
