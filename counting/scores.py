"""Numbers that only counting can raise: accuracy at the ends of runs, runs foreseen, free run."""

import chainer_compat

import numpy as np
from chainer import as_array, no_backprop_mode, using_config
from chainer.backend import get_array_module
from chainer.types import NdArray
from numpy.typing import NDArray

from models import Model
from simple_sequence.simple_sequence_dataset import get_simple_sequence

# Steps read before looking for a mistake: few at first, so that a network which cannot count yet is
# soon done with, then twice as many each time while the logits stay small.
_WINDOW = 32
_LONGEST_WINDOW = 256


def run_ends(x: NdArray, t: NdArray) -> NdArray:
    """Where a prediction takes counting.

    Inside a run of equal tokens repeating the last one is right; the next token differs exactly
    where the run ends.

    Args:
        x, t (array): current and next tokens, both of shape ``(T, B)``.

    Returns:
        array: bool, ``(T * B,)``, in order of time, as the logits of a window are.
    """
    return (x != t).ravel()


def runs_foreseen(x: NdArray, t: NdArray, written: NdArray) -> tuple[int, int]:
    """How many runs of a window are foreseen: not to end before their end, and to end there.

    Args:
        x, t (array): current and next tokens, both of shape ``(T, B)``.
        written (array): the predictions of the next tokens, ``(T, B)``. At the end of a run any
            other number will do.

    Returns:
        tuple of int: runs foreseen, and runs that begin and end within the window.
    """
    ends = x != t
    xp = get_array_module(x)
    mistakes_so_far = xp.cumsum((written != x) != ends, axis=0)
    stream, step = xp.nonzero(ends.T)
    at_ends = mistakes_so_far[step, stream]
    whole = stream[1:] == stream[:-1]
    return int((whole & (at_ends[1:] == at_ends[:-1])).sum()), int(whole.sum())


def periods(n_vocab: int, count: int) -> NDArray[np.int32]:
    """Tokens of ``count`` periods and the first of the next, which only the end can predict.

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

    As long as every prediction has been right, a model that reads its own predictions reads the
    true sequence. So the first mistake of the one is the first mistake of the other, and one pass
    over the true sequence, a window at a time and no further than the mistake, finds it.

    Args:
        model: one of the architectures. Its state is lost: it is reset before and after.
        tokens (array): the true sequence, int32, ``(n + 1,)``, where the model is.

    Returns:
        int: from 0 to ``n``.
    """
    model.reset_state()
    right = first_mistake(model, tokens)
    model.reset_state()
    return right


def first_mistake(model: Model, tokens: NdArray, whole: bool = False) -> int:
    """As :func:`free_run`, but from the model's present state on, which moves on.

    It moves on to the end if ``whole``, else no further than is needed.
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
        model: one of the architectures; its state moves on.
        tokens (array): int32, ``(n + 1,)``.

    Returns:
        array: bool, ``(n,)``: whether the most likely prediction of each next token is wrong.
    """
    # Checking types would take a fifth of the time of a short window.
    with using_config("train", False), no_backprop_mode():
        logits = as_array(model(tokens[:-1, np.newaxis]))
    return logits.argmax(axis=1) != tokens[1:]
