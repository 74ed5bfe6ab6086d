"""This project's own side of every measure."""

import resource
import sys

import chainer.links as L
import numpy as np
from chainer import get_device
from numpy.typing import NDArray

from benchmarks.workload import (
    DEFAULT,
    LANGUAGE_MODEL,
    LARGE,
    LEARNING_RATE,
    WARM_UP,
    Size,
    make_tokens,
    numpy_arithmetic,
    run_measure,
    time_calls,
)
from bptt_updater import BPTTUpdater
from extensions.evaluation import WindowEvaluator, window_length
from models import ARCHS
from models.adam import Adam
from models.classifier import Classifier
from parallel_sequential_iterator import ParallelSequentialIterator
from simple_sequence.simple_sequence_dataset import get_simple_sequence
from support.threads import choose_threads
from training.options import step_operations

GROWING = (4_500, 45_000, 450_000, 4_500_000, 45_000_000)  # tokens
MANY_TOKENS = 100_000_000
PERIOD = 45  # tokens


def make_updater(arch: str, size: Size, tokens: NDArray[np.int32], device: int = -1) -> BPTTUpdater:
    """A training of a size on some tokens; on a CUDA device, or, below 0, the CPU.

    It computes on as many threads as the command would choose.
    """
    choose_threads(step_operations(arch, size.n_units, size.batch))
    np.random.seed(0)
    model = Classifier(ARCHS[arch](size.n_vocab, size.n_units))
    model.to_device(get_device(device))
    iterator = ParallelSequentialIterator(tokens, size.batch)
    return BPTTUpdater(iterator, Adam(alpha=LEARNING_RATE).setup(model), size.window, device)


def make_evaluator(
    model: L.Classifier, tokens: np.ndarray, size: Size = DEFAULT
) -> WindowEvaluator:
    """Evaluation of a copy of a Classifier over all of some tokens."""
    evaluated = model.copy()
    return WindowEvaluator(
        ParallelSequentialIterator(tokens, size.batch, repeat=False),
        evaluated,
        window_length(size.window, size.batch, size.n_vocab),
        device=-1,
        eval_hook=lambda _: evaluated.predictor.reset_state(),
    )


def updates(arch: str, count: int, repetitions: int, size: Size = DEFAULT) -> list[float]:
    """Seconds of ``count`` updates, a list."""
    updater = make_updater(arch, size, make_tokens(size))
    return time_calls(updater.update, count, repetitions, min(WARM_UP, count))


def language_model(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates of the language-model size, a list."""
    return updates(arch, count, repetitions, LANGUAGE_MODEL)


def large(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates of a size at which threads pay, a list."""
    return updates(arch, count, repetitions, LARGE)


def evaluations(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` evaluations over the whole data, a list."""
    tokens = make_tokens(DEFAULT)
    model = make_updater(arch, DEFAULT, tokens).get_optimizer("main").target
    return time_calls(make_evaluator(model, tokens), count, repetitions)


def growth(arch: str, count: int, repetitions: int) -> dict[str, list[float]]:
    """Seconds of the same ``count`` updates on data of growing size, the sizes in turn.

    Returns:
        dict: a list of seconds by number of tokens.
    """
    seconds: dict[str, list[float]] = {}
    updaters = {
        f"{n_tokens:,} tokens": make_updater(
            arch, DEFAULT, get_simple_sequence(DEFAULT.n_vocab, n_tokens // PERIOD)
        )
        for n_tokens in GROWING
    }
    for _ in range(repetitions):
        for name, updater in updaters.items():
            taken = time_calls(updater.update, count, repetitions=1, warm_up=WARM_UP)
            seconds.setdefault(name, []).extend(taken)
    return seconds


def memory(arch: str, count: int, repetitions: int) -> dict[str, list[int]]:
    """Peak memory with many tokens, after ``count`` updates and an evaluation of as many tokens.

    Returns:
        dict: bytes, in a list of one: the ``peak``, the ``data``, what the data and 150 MB would
        be, and the peak once all was ``imported``.
    """
    del repetitions  # A peak is a peak.
    imported = peak_memory()
    tokens = get_simple_sequence(DEFAULT.n_vocab, -(-MANY_TOKENS // PERIOD))
    updater = make_updater(arch, DEFAULT, tokens)
    for _ in range(count):
        updater.update()
    some = tokens[: count * DEFAULT.batch * DEFAULT.window]
    make_evaluator(updater.get_optimizer("main").target, some)()
    return {
        "peak": [peak_memory()],
        "data": [tokens.nbytes],
        "data + 150 MB": [tokens.nbytes + 150_000_000],
        "imported": [imported],
    }


def peak_memory() -> int:
    """Largest resident memory of this process so far, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def arithmetic() -> str:
    """What multiplies in the default training, as :func:`numpy_arithmetic` says it."""
    choose_threads(step_operations("rnn", DEFAULT.n_units, DEFAULT.batch))
    return numpy_arithmetic()


if __name__ == "__main__":
    measures = (updates, large, evaluations, language_model, growth, memory)
    run_measure({measure.__name__: measure for measure in measures}, arithmetic)
