"""Dropout for sequences: masks that depend only on their place in the training.

A random generator would have to be saved in every snapshot, split among processes and matched
between devices. These masks need none of that: whether a unit is dropped is a hash of the seed,
the layer, the step since training began, the stream and the unit.
"""

import functools

import numpy as np
from chainer.backends import cuda
from chainer.types import NdArray, Xp

from models.recurrences.function import Arrays, Gradients, WindowFunction


class Drop(WindowFunction):
    """Dropout of a window by a mask of its shape: ``y = x * mask``, ``g_x = g_y * mask``."""

    inputs_are = ("T B U",)

    def __init__(self, mask: NdArray) -> None:
        self.mask = mask

    def forward(self, inputs: Arrays) -> Arrays:
        return (inputs[0] * self.mask,)

    def backward_arrays(self, g_y: NdArray) -> Gradients:
        return (g_y * self.mask,)


def dropout_mask(
    xp: Xp,
    ratio: float,
    shape: tuple[int, int, int],
    seed: int,
    layer: int,
    first_step: int,
    first_stream: int = 0,
) -> NdArray:
    """Mask of inverted dropout for a window, with independent elements.

    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 15, 2014. A row ``(t, b)`` depends on the step ``first_step + t`` and the stream
    ``first_stream + b``, not on where the window begins. So reading step by step, or in several
    processes, drops the same units.

    Args:
        xp: array module that the mask is for.
        ratio (float): probability that an element is dropped, in [0, 1).
        shape (tuple of int): ``(T, B, U)``.
        seed, layer (int): which training, and which of its dropout layers; only 32 bits count.
        first_step (int): steps since training began, before this window.
        first_stream (int): number of the window's first stream.

    Returns:
        array: float32, 0 where dropped, else ``1 / (1 - ratio)``.
    """
    if xp is cuda.cupy:
        return _mask_on_gpu(ratio, shape, seed, layer, first_step, first_stream)
    n_steps, batch, n_units = shape
    n_words = -(-n_units // 2)  # a word of 32 bits decides for two units
    place = _hash_of_layer(seed, layer)
    for first, count in (first_step, n_steps), (first_stream, batch), (0, n_words):
        coordinates = (np.arange(count) + first % 2**32).astype(np.uint32)
        place = _mix(place[..., None] ^ coordinates)
    bits = place.view(np.uint16)[:, :, :n_units]
    return (bits >= np.uint16(ratio * 2**16)) * np.float32(1 / (1 - ratio))


@functools.lru_cache
def _hash_of_layer(seed: int, layer: int) -> NdArray:
    """What all masks of a layer begin with, of shape ``()``."""
    place: NdArray = np.zeros((), np.uint32)
    for number in seed, layer:
        place = _mix(place[None] ^ np.uint32(number % 2**32))[0, ...]
    return place


def _mix(x: NdArray) -> NdArray:
    """Hash 32 bits to 32 bits so that any input bit changes each output bit half of the time.

    The shifts and multipliers are those of ``lowbias32``, which C. Wellons found by search.
    """
    x = x ^ (x >> np.uint32(16))
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


_MIX = "x ^= x >> 16; x *= 0x7FEB352D; x ^= x >> 15; x *= 0x846CA68B; x ^= x >> 16;"


def _mask_on_gpu(
    ratio: float,
    shape: tuple[int, int, int],
    seed: int,
    layer: int,
    first_step: int,
    first_stream: int,
) -> NdArray:
    """:func:`dropout_mask` as one kernel, the same to the bit."""
    _, batch, n_units = shape
    step, stream = "first_step + i / n_units / batch", "first_stream + i / n_units % batch"
    coordinates = "seed", "layer", step, stream, "unit / 2"
    hashed = "".join(f"x ^= {coordinate}; {_MIX}\n" for coordinate in coordinates)
    mask = cuda.cupy.empty(shape, np.float32)
    cuda.elementwise(
        "uint32 seed, uint32 layer, uint32 first_step, uint32 first_stream, "
        "int64 batch, int64 n_units, uint32 least, float32 kept",
        "float32 mask",
        f"""
        int unit = i % n_units;
        unsigned x = 0;
        {hashed}
        mask = (x >> 16 * (unit % 2) & 0xFFFF) >= least ? kept : 0;
        """,
        "dropout_mask",
    )(
        *(number % 2**32 for number in (seed, layer, first_step, first_stream)),
        batch,
        n_units,
        int(ratio * 2**16),
        1 / (1 - ratio),
        mask,
    )
    return mask
