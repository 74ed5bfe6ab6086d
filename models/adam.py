"""Chainer's Adam, with updates on the CPU that cost little more than their arithmetic.

For each parameter Chainer allocates a dozen arrays of its size, and looks up its device and its
update rule anew. That takes as long as the arithmetic if parameters are small, and several times as
long if they are larger than the cache.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from chainer import Link, Parameter, optimizers
from chainer.optimizer import Hyperparameter
from chainer.optimizers.adam import AdamRule
from chainer.types import NdArray

_BLOCK = 2**17  # elements at a time: few enough to stay in the cache


class Adam(optimizers.Adam):
    """``chainer.optimizers.Adam`` with the same results, to the bit, and the same state.

    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015. Only the plain
    method on NumPy arrays is done here. Chainer does the rest: other devices, half precision, loss
    scaling, weight decay, AMSGrad and AdaBound, and parameters that have their own hooks or
    hyperparameters, have no gradient, or are not to be updated.
    """

    def setup(self, link: Link) -> "Adam":
        """Register a link's parameters for updates."""
        super().setup(link)
        self._params = tuple(link.params())
        self._groups: list[_Group] = []
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
        if not self._groups or not all(group.is_whole() for group in self._groups):
            self._groups = [_Group(params) for params in _grouped(self._params)]
        for group in self._groups:
            group.update(self.hyperparam, self.t, alpha_t)
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
    """Whether the next update is update ``t + 1`` of the plain method, with all it needs."""
    rule = param.update_rule
    return (
        isinstance(rule, _Rule)
        and rule.state is not None  # Chainer makes it in the first update
        and rule.t == t
        and rule.enabled
        and not rule.has_hooks
        and len(vars(rule.hyperparam)) == 1  # only a reference to the optimizer's
        and isinstance(param.array, np.ndarray)
        and isinstance(rule.state["m"], np.ndarray)
        and param.dtype != np.float16
        and param.grad is not None
    )


def _grouped(params: Iterable[Parameter]) -> Iterator[list[Parameter]]:
    """Consecutive parameters of one type, as many as fit into a block."""
    group: list[Parameter] = []
    for param in params:
        size = sum(each.size for each in group) + param.size
        if group and (param.dtype != group[0].dtype or size > _BLOCK):
            yield group
            group = []
        group.append(param)
    if group:
        yield group


class _Group:
    """Parameters whose moments lie in one array, so that one operation serves all of them."""

    def __init__(self, params: Sequence[Parameter]) -> None:
        self.params = params
        self.rules: list[Any] = [param.update_rule for param in params]
        self.cuts = list(itertools.accumulate((param.size for param in params), initial=0))
        self.m, self.v = (self._joined(moment) for moment in ("m", "v"))

    def _joined(self, moment: str) -> NdArray:
        joined = np.concatenate([rule.state[moment].ravel() for rule in self.rules])
        for rule, part in zip(self.rules, self._parts(joined), strict=True):
            rule.state[moment] = part
        return joined

    def _parts(self, joined: NdArray) -> Iterator[NdArray]:
        """The part of a joined array for each parameter, in its shape."""
        for param, (start, end) in zip(self.params, itertools.pairwise(self.cuts), strict=True):
            yield joined[start:end].reshape(param.shape)

    def is_whole(self) -> bool:
        """Whether each parameter's moments are still those that were joined."""
        return self.rules == [param.update_rule for param in self.params] and all(
            rule.state["m"].base is self.m and rule.state["v"].base is self.v for rule in self.rules
        )

    def update(self, hp: Hyperparameter, t: int, alpha_t: float) -> None:
        """Update ``t`` of each parameter."""
        for rule in self.rules:
            rule.t = t
        grads: list[Any] = [param.grad for param in self.params]
        if len(self.params) > 1:
            grad = np.concatenate([grad.ravel() for grad in grads])
            steps = self._parts(_step(grad, self.m, self.v, hp, alpha_t))
            for param, step in zip(self.params, steps, strict=True):
                array = param.array
                array -= step
            return
        state = self.rules[0].state
        for array, grad, m, v in _blocks(self.params[0].array, *grads, state["m"], state["v"]):
            array -= _step(grad, m, v, hp, alpha_t)


def _blocks(*arrays: NdArray) -> Iterator[tuple[NdArray, ...]]:
    """Arrays of one shape; large ones are cut alike along their first axis."""
    size = arrays[0].size
    if size <= _BLOCK:
        yield arrays
        return
    length = len(arrays[0])
    rows = max(1, _BLOCK * length // size)
    for start in range(0, length, rows):
        yield tuple([array[start : start + rows] for array in arrays])


def _step(grad: NdArray, m: NdArray, v: NdArray, hp: Hyperparameter, alpha_t: float) -> NdArray:
    """``m += (1 - beta1) (g - m)``, ``v += (1 - beta2) (g^2 - v)``; gives ``alpha_t m / sqrt(v)``.

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
    return step
