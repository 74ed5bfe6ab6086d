"""What a model writes when it reads its own predictions, the likeliest ones or sampled ones.

Not about what the ids stand for, nor about whether they are right.
"""

from collections.abc import Callable, Sequence

import chainer_compat

import numpy as np
from chainer import as_array, no_backprop_mode, using_config
from chainer.backends import cuda
from chainer.types import NdArray
from numpy.typing import NDArray

from models import Model

Choice = Callable[[NdArray], int]


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
        return int(random.choice(ids, p=weights / weights.sum()))

    return draw


def generate(
    model: Model,
    prime: Sequence[int] | NDArray[np.integer],
    length: int,
    choose: Choice = most_likely,
) -> NDArray[np.int32]:
    """Let the model run free: from a reset state it reads the prime, then its own choices.

    Args:
        model: one of the architectures. Its state is lost: it is reset before and after.
        prime: ids to begin with, at least one.
        length: how many ids to generate.
        choose: gives the next id for logits ``(V,)``.

    Returns:
        numpy.ndarray: the prime and what was generated, int32, ``(len(prime) + length,)``.

    Raises:
        FloatingPointError: if the model's parameters are so large that its logits overflow.
    """
    ids = [int(token) for token in prime]
    model.reset_state()
    with using_config("train", False), no_backprop_mode():
        for place in range(len(ids) + length - 1):
            logits = as_array(model(model.xp.asarray(ids[place : place + 1], np.int32)))
            if place + 1 == len(ids):
                if not model.xp.isfinite(logits).all():
                    raise FloatingPointError(f"the logits after token {place} are not finite")
                ids.append(choose(logits[0]))
    model.reset_state()
    return np.array(ids, np.int32)
