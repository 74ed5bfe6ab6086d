"""The hidden units of a layer while the network reads, and which of them count."""

import chainer.functions as F
import numpy as np
from chainer import Link, no_backprop_mode, using_config
from chainer.backends import cuda
from chainer.types import NdArray
from numpy.typing import NDArray

from models import Model


def recurrent_layers(model: Model) -> list[Link]:
    """The links that hold a recurrent state, from the input to the output.

    ``rnn`` has one, which is the model itself; ``rnn2`` and ``rnn3`` have three, ``lstm`` two.
    """
    return [link for link in model.links() if getattr(link, "state_names", ())]


def record(model: Model, tokens: NdArray, layer: int) -> tuple[NDArray, NDArray]:
    """Read the true sequence step by step from a reset state.

    Args:
        model: one of the architectures. Its state is lost: it is reset before and after.
        tokens (array): the true sequence, int32, ``(n + 1,)``, on the model's device.
        layer (int): which recurrent layer's state to keep, from 1.

    Returns:
        tuple of numpy.ndarray: the state after each token, ``(n + 1, U)``, for the LSTM its cells;
        and the probability that the model gives each next token, ``(n,)``.
    """
    link = recurrent_layers(model)[layer - 1]
    name = link.state_names[0]  # h, or the LSTM's c
    states, probabilities = [], []
    model.reset_state()
    with using_config("train", False), no_backprop_mode():
        for step in range(len(tokens)):
            logits = model(tokens[step : step + 1])
            states.append(getattr(link, name).array[0])
            if step + 1 < len(tokens):
                probabilities.append(F.softmax(logits).array[0, tokens[step + 1]])
    model.reset_state()
    xp = model.xp
    return cuda.to_cpu(xp.stack(states)), cuda.to_cpu(xp.stack(probabilities))


def position_in_run(tokens: NDArray[np.integer]) -> NDArray[np.integer]:
    """How many times in a row each token has appeared so far: 1 1 2 1 2 3 for 1 2 2 3 3 3.

    Args:
        tokens (numpy.ndarray): ``(n,)``, not empty.

    Returns:
        numpy.ndarray: whole numbers from 1, ``(n,)``.
    """
    place = np.arange(len(tokens))
    begins = np.diff(tokens, prepend=tokens[0] - 1) != 0
    return place - np.maximum.accumulate(np.where(begins, place, 0)) + 1


def correlations(states: NDArray, tokens: NDArray[np.integer]) -> NDArray[np.float64]:
    """Pearson's correlation of each unit with the position in the run, within the runs.

    It correlates deviations from the mean of each run. Late runs are long, so without this a unit
    that only shows the progress of the period would pass for a counter.

    Args:
        states (numpy.ndarray): after each token, ``(n, U)``.
        tokens (numpy.ndarray): ``(n,)``, not empty.

    Returns:
        numpy.ndarray: float64 in [-1, 1], ``(U,)``; 0 for a unit that does not change within the
        runs, up to rounding, and for all if no run is longer than one token.
    """
    position = position_in_run(tokens)
    starts = np.flatnonzero(position == 1)
    lengths = np.diff(starts, append=len(tokens))

    def within_runs(values: NDArray) -> NDArray[np.float64]:
        means = np.add.reduceat(values, starts, axis=0) / lengths[:, np.newaxis]
        return values - np.repeat(means, lengths, axis=0)

    states = states.astype(np.float64)
    deviations = within_runs(states)
    sizes = np.linalg.norm(deviations, axis=0)
    changes = sizes > 1e-6 * np.linalg.norm(states, axis=0)
    counts = within_runs(position[:, np.newaxis])[:, 0]
    scale = sizes * np.linalg.norm(counts)
    covariances = counts @ deviations
    return np.divide(covariances, scale, out=np.zeros_like(scale), where=changes & (scale > 0))
