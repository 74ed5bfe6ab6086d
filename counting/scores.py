"""Scores that only counting can raise: accuracy at the ends of runs, predicted runs, free run."""

import numpy as np
from chainer import as_array, no_backprop_mode, using_config
from chainer.backend import get_array_module
from chainer.types import NdArray
from numpy.typing import NDArray

from models import Model
from simple_sequence.simple_sequence_dataset import get_simple_sequence

# Steps read before looking for a mistake: few at first, because a network that cannot count yet
# fails soon, then twice as many each time while the logits stay small.
_WINDOW = 32
_LONGEST_WINDOW = 256


def run_ends(x: NdArray, t: NdArray) -> NdArray:
    """Where a prediction needs counting.

    Within a run repeating the last token is right; only at its end the next token differs.

    Args:
        x, t (array): current and next tokens, both of shape ``(T, B)``.

    Returns:
        array: bool, ``(T * B,)``, in order of time, as the logits of a window are.
    """
    return (x != t).ravel()


def runs_foreseen(x: NdArray, t: NdArray, written: NdArray) -> tuple[int, int]:
    """How many runs of a window are predicted to end at their end, and not before.

    Args:
        x, t (array): current and next tokens, both of shape ``(T, B)``.
        written (array): the predictions of the next tokens, ``(T, B)``. At the end of a run any
            other number counts as right.

    Returns:
        tuple of int: runs predicted so, and runs that begin and end within the window.
    """
    ends = x != t
    xp = get_array_module(x)
    mistakes_so_far = xp.cumsum((written != x) != ends, axis=0)
    stream, step = xp.nonzero(ends.T)
    at_ends = mistakes_so_far[step, stream]
    whole = stream[1:] == stream[:-1]
    return int((whole & (at_ends[1:] == at_ends[:-1])).sum()), int(whole.sum())


def periods(n_vocab: int, count: int) -> NDArray[np.int32]:
    """Tokens of ``count`` periods, and the first token of the next as the last target.

    Args:
        n_vocab (int): size of the vocabulary, at least 2.
        count (int): number of periods, at least 1.

    Returns:
        numpy.ndarray: int32, ``(count * n_vocab * (n_vocab - 1) / 2 + 1,)``.
    """
    period = get_simple_sequence(n_vocab, count)
    return np.append(period, period[0])


def free_run(model: Model, tokens: NdArray) -> int:
    """How many tokens the model generates correctly from the first one on, with no help.

    While every prediction is right, a model that reads its own predictions reads the true sequence.
    So both ways make the same first mistake. One pass over the true sequence, a window at a time
    and no further than the mistake, finds it.

    Args:
        model: one of the architectures. Its state is lost: it is reset before and after.
        tokens (array): the true sequence, int32, ``(n + 1,)``, on the model's device.

    Returns:
        int: from 0 to ``n``.
    """
    model.reset_state()
    right = first_mistake(model, tokens)
    model.reset_state()
    return right


def first_mistake(model: Model, tokens: NdArray, whole: bool = False) -> int:
    """As :func:`free_run`, but from the model's present state, which advances.

    It advances to the end if ``whole``, else no further than needed.
    """
    n_steps = len(tokens) - 1
    start, window = 0, n_steps if whole else _WINDOW
    while start < n_steps:
        wrong = mistakes(model, tokens[start : start + window + 1])
        if wrong.any():
            return start + int(wrong.argmax())
        start += window
        window = min(2 * window, _LONGEST_WINDOW)
    return n_steps


def mistakes(model: Model, tokens: NdArray) -> NdArray:
    """Read a piece of the true sequence from the model's present state on.

    Args:
        model: one of the architectures; its state advances.
        tokens (array): int32, ``(n + 1,)``.

    Returns:
        array: bool, ``(n,)``: whether the most likely prediction of each next token is wrong.
    """
    # Type checks would take a fifth of a short window's time.
    with using_config("train", False), no_backprop_mode():
        logits = as_array(model(tokens[:-1, np.newaxis]))
    return logits.argmax(axis=1) != tokens[1:]
