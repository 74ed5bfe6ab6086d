"""What a model writes when it reads its own predictions, the likeliest ones or sampled ones.

Not about what the ids stand for, nor about whether they are right.
"""

from collections.abc import Callable, Iterator, Sequence

import chainer_compat

import numpy as np
from chainer import as_array, no_backprop_mode, using_config
from chainer.backends import cuda
from chainer.types import NdArray
from numpy.typing import NDArray

from models import Model
from models.steps import stepper

Choice = Callable[[NdArray], int]

_CHUNK = 256  # tokens of a prime that are read as one window


def most_likely(logits: NdArray) -> int:
    """The id with the largest logit, the smallest of them if there are several.

    Args:
        logits (array): ``(V,)``, on any device.
    """
    return int(logits.argmax())


def sampler(temperature: float = 1.0, top_k: int | None = None, seed: int = 0) -> Choice:
    """Make a function that draws an id from ``softmax(logits / temperature)``.

    Args:
        temperature: above 0; below 1 likely ids become likelier, above 1 the choice evens out.
        top_k: draw among this many ids with the largest logits only; None for all of them.
        seed: the same seed draws the same ids.

    Returns:
        callable: takes logits ``(V,)`` on any device, gives an id, each time drawn anew.
    """
    random = np.random.RandomState(seed)  # its numbers are the same in every version of NumPy

    def draw(logits: NdArray) -> int:
        logits = cuda.to_cpu(logits).astype(np.float64)
        ids = np.argsort(-logits, kind="stable")[:top_k]
        weights = np.exp((logits[ids] - logits[ids[0]]) / temperature)
        # What ``random.choice(ids, p=weights / weights.sum())`` does, without its checks.
        shares = (weights / weights.sum()).cumsum()
        shares /= shares[-1]
        return int(ids[shares.searchsorted(random.random_sample(), side="right")])

    return draw


def generate(
    model: Model,
    prime: Sequence[int] | NDArray[np.integer],
    length: int,
    choose: Choice = most_likely,
) -> NDArray[np.int32]:
    """Let the model run free: from a reset state it reads the prime, then its own choices.

    Args:
        model, prime, length, choose: see :func:`stream`.

    Returns:
        numpy.ndarray: the prime and what was generated, int32, ``(len(prime) + length,)``.

    Raises:
        FloatingPointError: if the model's parameters are so large that its logits overflow.
    """
    return np.array([*prime, *stream(model, prime, length, choose)], np.int32)


def stream(
    model: Model,
    prime: Sequence[int] | NDArray[np.integer],
    length: int,
    choose: Choice = most_likely,
) -> Iterator[int]:
    """The ids that :func:`generate` generates, each as soon as it is chosen.

    Args:
        model: one of the architectures. Its state is lost: it is reset before and after. Until the
            last id nobody else may use the model, or change its weights.
        prime: ids to begin with, at least one. However many they are, they take little memory.
        length: how many ids to generate.
        choose: gives the next id for logits ``(V,)``.

    Raises:
        FloatingPointError: if the model's parameters are so large that its logits overflow.
    """
    xp = model.xp

    def read(ids: Sequence[int] | NDArray[np.integer]) -> NdArray:
        # Whoever takes the ids computes in between, in a mode of their own.
        with using_config("train", False), no_backprop_mode():
            return as_array(model(xp.asarray(ids, np.int32)[:, None]))[-1]

    model.reset_state()
    try:
        for first in range(0, len(prime), _CHUNK):
            logits = read(prime[first : first + _CHUNK])
        step = stepper(model) or (lambda token: read([token]))
        for last in range(len(prime) - 1, len(prime) + length - 1):
            if not xp.isfinite(logits).all():
                raise FloatingPointError(f"the logits after token {last} are not finite")
            token = choose(logits)
            yield token
            logits = step(token)
    finally:
        model.reset_state()
