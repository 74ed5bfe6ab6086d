"""A model reads its own predictions, the most likely ones or sampled ones.

What the ids stand for, and whether they are right, is decided elsewhere.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from chainer import as_array, no_backprop_mode, using_config
from chainer.backends import cuda
from chainer.types import NdArray
from numpy.typing import NDArray

from models import Model
from models.steps import stepper

Choice = Callable[[NdArray], int]

_CHUNK = 256  # tokens of a prime read as one window


def most_likely(logits: NdArray) -> int:
    """The id with the largest logit; the smallest such id if there are several.

    Args:
        logits (array): ``(V,)``, on any device.
    """
    return int(logits.argmax())


def sampler(temperature: float = 1.0, top_k: int | None = None, seed: int = 0) -> Choice:
    """Make a function that draws an id from ``softmax(logits / temperature)``.

    Args:
        temperature: above 0; below 1 likely ids become likelier, above 1 the choice evens out.
        top_k: draw only from this many ids with the largest logits; None for all.
        seed: the same seed draws the same ids.

    Returns:
        callable: takes logits ``(V,)`` on any device, returns a newly drawn id.
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
    """The ids that :func:`generate` appends, each as soon as it is chosen.

    Args:
        model: one of the architectures. Its state is lost: it is reset before and after. Do not
            use the model or change its weights before the last id.
        prime: ids to begin with, at least one. Even a long prime takes little memory.
        length: how many ids to generate.
        choose: gives the next id for logits ``(V,)``.

    Raises:
        FloatingPointError: if the model's parameters are so large that its logits overflow.
    """
    xp = model.xp

    def read(ids: Sequence[int] | NDArray[np.integer]) -> NdArray:
        # The caller computes between two ids, in a mode of its own.
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
