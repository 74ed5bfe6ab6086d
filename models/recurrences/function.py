"""What the functions over a window share: first derivatives, type checks, shapes."""

import functools
from collections.abc import Callable

import numpy as np
from chainer import FunctionNode, Variable, config
from chainer.backend import get_array_module
from chainer.backends import cuda
from chainer.types import NdArray
from chainer.utils import type_check

from models.recurrences import kernels

# Up to this many elements in all vectors, a one-hot product is quicker than a sum for each id.
_FEW = 2**17

Arrays = tuple[NdArray, ...]
Gradients = tuple[NdArray | None, ...]


class WindowFunction(FunctionNode):
    """A function node whose gradient is not itself differentiable.

    Training needs first derivatives only. A backward pass over plain arrays spares Chainer one node
    for every product in it. Subclasses define ``backward_arrays``, which takes the gradient of each
    output (an array, or None where there is none) and returns the gradient of each input (an array,
    or None).
    """

    # The axes of each input by name; "4U" is four times the size of "U", and "int" marks ids.
    # States may be absent, but only all together.
    inputs_are: tuple[str, ...]
    states_are: tuple[str, ...] = ()

    backward_arrays: Callable[..., Gradients]

    def known_sizes(self, inputs: Arrays) -> dict[str, int]:
        """Sizes of axes, by name, that do not follow from the axes before them."""
        return {}

    def _check_data_type_forward(self, arrays: Arrays) -> None:
        """Check the inputs' types. Chainer's own checks take a seventh of a small network's update;
        this one looks up what it has seen before.
        """
        known = tuple(self.known_sizes(arrays).items())
        types = tuple([(array.shape, array.dtype) for array in arrays])
        wrong = _mismatch(self.inputs_are, self.states_are, known, types)
        if wrong:
            expected, actual = wrong
            message = f"in {self.label} (Forward)\n\nExpect: {expected}\nActual: {actual}"
            raise type_check.InvalidType(expected, actual, message)

    def backward(
        self, indexes: tuple[int, ...], grad_outputs: tuple[Variable | None, ...]
    ) -> tuple[Variable | None, ...]:
        """Wrap ``backward_arrays`` as Chainer expects."""
        if config.enable_backprop:
            raise RuntimeError(f"{self.label} can be differentiated only once")
        grads = self.backward_arrays(*[None if g is None else g.array for g in grad_outputs])
        return tuple([None if g is None else Variable(g) for g in grads])


@functools.lru_cache
def _mismatch(
    expected: tuple[str, ...],
    states: tuple[str, ...],
    known: tuple[tuple[str, int], ...],
    types: tuple[tuple[tuple[int, ...], np.dtype], ...],
) -> tuple[str, str] | None:
    """What was expected and what was found; None if they match. See ``WindowFunction``."""
    if len(types) != len(expected):
        expected += states
    if len(types) != len(expected):
        return f"in_types.size() == {len(expected)}", str(len(types))
    sizes = dict(known)
    of_floats = None
    for k, (text, (shape, dtype)) in enumerate(zip(expected, types, strict=True)):
        of_ids = text.endswith(" int")
        axes = text.removesuffix(" int").split()
        fits = len(shape) == len(axes)
        for size, axis in zip(shape, axes, strict=False):
            factor, name = int(axis[:-1] or 1), axis[-1]
            fits = fits and size == factor * sizes.setdefault(name, size // factor)
        if of_ids:
            fits = fits and dtype.kind == "i"
        else:
            of_floats = of_floats or dtype
            fits = fits and dtype == of_floats and dtype.kind == "f"
        if not fits or sizes.get("T") == 0:
            where = ", ".join(f"{name} = {size}" for name, size in sizes.items())
            kind = "ids" if of_ids else f"{of_floats} numbers"
            return f"in_types[{k}]: {kind} of shape ({text}), where {where}", f"{dtype} {shape}"
    return None


class Recurrence(WindowFunction):
    """A recurrence whose inputs are vectors, or ids and the embedding that they index.

    Args:
        ids (array or None): of a window, ``(T, B)``; then the first input is the embedding.
    """

    def __init__(self, ids: NdArray | None = None) -> None:
        self.ids = ids
        if ids is not None:
            self.inputs_are = ("V I", *self.inputs_are[1:])

    def window_shape(self, x: NdArray) -> tuple[int, int]:
        """``(T, B)`` of the window that the first input ``x`` gives, or its ids."""
        n_steps, batch = (x if self.ids is None else self.ids).shape[:2]
        return n_steps, batch

    def known_sizes(self, inputs: Arrays) -> dict[str, int]:
        return {} if self.ids is None else dict(zip("TB", self.ids.shape, strict=True))


def rows(window: NdArray) -> NdArray:
    """``(T, B, n)`` viewed as ``(T * B, n)``: a row for each step and stream, in order of time."""
    return window.reshape(-1, window.shape[-1])


def project_inputs(x: NdArray, ids: NdArray | None, W: NdArray, out: NdArray) -> None:
    """Write ``W x_t`` into ``out``, ``(T, B, n)``, for all steps and streams.

    Args:
        x (array): a window of vectors, ``(T, B, in)``; or one vector for each word, ``(V, in)``.
        ids (array or None): the words in the window, ``(T, B)``.
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
    on_gpu = xp is cuda.cupy
    if n_vocab <= len(ids) and (on_gpu or vectors.size <= _FEW):
        # A one-hot product: as many multiplications as one more layer, but no scattered writes.
        one_hot = ids == xp.arange(n_vocab)[:, None]
        return one_hot.astype(vectors.dtype).dot(vectors)
    if on_gpu:
        return kernels.sum_by_id(ids, vectors, n_vocab)
    out = xp.zeros((n_vocab, vectors.shape[1]), vectors.dtype)
    # Sorting puts the places of an id together. Summing each group by itself is two to four times
    # as fast as numpy.add.reduceat.
    order = ids.argsort(kind="stable")
    ids = ids[order]
    starts = xp.flatnonzero(xp.diff(ids, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        xp.sum(vectors[order[start:end]], axis=0, out=out[ids[start]])
    return out


def state_gradient(hs: NdArray, g_hs: NdArray | None, g_last: NdArray | None) -> NdArray:
    """Gradient of the states ``hs`` from outside the window, in a new array."""
    g = get_array_module(hs).zeros_like(hs) if g_hs is None else g_hs.copy()
    if g_last is not None:
        g[-1] += g_last
    return g
