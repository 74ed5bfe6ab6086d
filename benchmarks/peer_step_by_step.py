"""The tutorial's schedule: stock Chainer links and functions, driven one step at a time.

The architectures and parameters are ours. Each step fetches a minibatch as a list of pairs,
concatenates it, runs some ten function nodes and adds to the loss; after ``bprop_len`` steps
comes one backward pass. Nothing of ``models/`` or of our iterator and updater is used, so tests
compare with it, too.
"""

from collections.abc import Callable
from typing import Any

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer import Chain, Optimizer, Variable
from chainer.serializer import AbstractSerializer
from chainer.training.extensions import Evaluator
from chainer.training.updaters import StandardUpdater
from numpy.typing import NDArray

from benchmarks.workload import (
    DEFAULT,
    DROPOUT,
    LEARNING_RATE,
    WARM_UP,
    make_tokens,
    numpy_arithmetic,
    run_measure,
    time_calls,
)


class RNN(Chain):
    """One Elman layer."""

    def __init__(self, n_vocab: int, n_units: int) -> None:
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = L.Linear(n_units, n_units)
            self.r1 = L.Linear(n_units, n_units)
            self.l2 = L.Linear(n_units, n_vocab)
        self.reset_state()

    def reset_state(self) -> None:
        """Forget what was read."""
        self.h: Variable | None = None

    def forward(self, x: Variable) -> Variable:
        """Logits ``(B, V)`` of one step of ids ``(B,)``."""
        a = self.l1(self.embed(x))
        self.h = F.tanh(a if self.h is None else a + self.r1(self.h))
        return self.l2(self.h)


class ElmanBlock(Chain):
    """A layer of RNN2."""

    def __init__(self, n_units: int) -> None:
        super().__init__()
        with self.init_scope():
            self.l = L.Linear(n_units, n_units)
            self.r = L.Linear(n_units, n_units)
        self.h: Variable | None = None

    def forward(self, x: Variable) -> Variable:
        """One step, ``(B, U)`` to ``(B, U)``."""
        a = self.l(x)
        self.h = F.tanh(a if self.h is None else a + self.r(self.h))
        return self.h


class ConcatBlock(Chain):
    """A layer of RNN3."""

    def __init__(self, n_units: int) -> None:
        super().__init__()
        with self.init_scope():
            self.l = L.Linear(2 * n_units, 2 * n_units)
        self.h: Variable | None = None

    def forward(self, x: Variable) -> Variable:
        """One step, ``(B, U)`` to ``(B, U)``."""
        if self.h is None:
            self.h = Variable(self.xp.zeros_like(x.array))
        output, state = F.split_axis(self.l(F.concat((x, self.h))), 2, axis=1)
        self.h = F.tanh(state)
        return F.tanh(output)


class Stack(Chain):
    """RNN2 or RNN3, by the kind of its three blocks."""

    def __init__(self, n_vocab: int, n_units: int, block: Callable[[int], Chain]) -> None:
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.r1 = block(n_units)
            self.r2 = block(n_units)
            self.r3 = block(n_units)
            self.l5 = L.Linear(n_units, n_vocab)

    def reset_state(self) -> None:
        """Forget what was read."""
        self.r1.h = self.r2.h = self.r3.h = None

    def forward(self, x: Variable) -> Variable:
        """Logits ``(B, V)`` of one step of ids ``(B,)``."""
        return self.l5(self.r3(self.r2(self.r1(self.embed(x)))))


class RNNForLM(Chain):
    """Two LSTM layers with dropout."""

    def __init__(self, n_vocab: int, n_units: int) -> None:
        super().__init__(
            embed=L.EmbedID(n_vocab, n_units),
            l1=L.LSTM(n_units, n_units),
            l2=L.LSTM(n_units, n_units),
            l3=L.Linear(n_units, n_vocab),
        )
        for param in self.params():
            chainer.as_array(param)[...] = self.xp.random.uniform(-0.1, 0.1, param.shape)

    def reset_state(self) -> None:
        """Forget what was read."""
        self.l1.reset_state()
        self.l2.reset_state()

    def forward(self, x: Variable) -> Variable:
        """Logits ``(B, V)`` of one step of ids ``(B,)``."""
        h = F.dropout(self.embed(x), DROPOUT)
        h = F.dropout(self.l1(h), DROPOUT)
        h = F.dropout(self.l2(h), DROPOUT)
        return self.l3(h)


class GRU(Chain):
    """Chainer's own GRU layer; the tutorial has no such model."""

    def __init__(self, n_vocab: int, n_units: int) -> None:
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(n_vocab, n_units)
            self.l1 = L.StatefulGRU(n_units, n_units)
            self.l2 = L.Linear(n_units, n_vocab)

    def reset_state(self) -> None:
        """Forget what was read."""
        self.l1.reset_state()

    def forward(self, x: Variable) -> Variable:
        """Logits ``(B, V)`` of one step of ids ``(B,)``."""
        return self.l2(self.l1(self.embed(x)))


ARCHS = {  # the tutorial's
    "rnn": RNN,
    "rnn2": lambda n_vocab, n_units: Stack(n_vocab, n_units, ElmanBlock),
    "rnn3": lambda n_vocab, n_units: Stack(n_vocab, n_units, ConcatBlock),
    "lstm": RNNForLM,
}


class StepIterator(chainer.dataset.Iterator):
    """Pairs of current and next token, one for each stream, token by token."""

    def __init__(self, tokens: NDArray[np.int32], batch_size: int, repeat: bool = True) -> None:
        self.tokens = tokens
        self.batch_size = batch_size
        self.repeat = repeat
        self.offsets = [len(tokens) * b // batch_size for b in range(batch_size)]
        self.reset()

    def reset(self) -> None:
        """Back to the first step."""
        self.iteration = 0
        self.epoch = 0
        self.is_new_epoch = False

    def __next__(self) -> list[tuple[np.int32, np.int32]]:
        """One minibatch, a list of pairs."""
        n_read = self.iteration * self.batch_size
        if not self.repeat and n_read >= len(self.tokens):
            raise StopIteration
        now = self._row()
        self.iteration += 1
        sweeps = (n_read + self.batch_size) // len(self.tokens)
        self.is_new_epoch = sweeps > self.epoch
        self.epoch = sweeps
        return list(zip(now, self._row(), strict=True))

    def _row(self) -> list[np.int32]:
        n_tokens = len(self.tokens)
        return [self.tokens[(self.iteration + offset) % n_tokens] for offset in self.offsets]

    @property
    def epoch_detail(self) -> float:
        """Sweeps so far, the fraction included."""
        return self.iteration * self.batch_size / len(self.tokens)

    def serialize(self, serializer: AbstractSerializer) -> None:
        """Save or restore the position."""
        self.iteration = serializer("iteration", self.iteration)
        self.epoch = serializer("epoch", self.epoch)


class StepUpdater(StandardUpdater):
    """Truncated back-propagation with one forward call for each step."""

    def __init__(
        self,
        iterator: chainer.dataset.Iterator,
        optimizer: Optimizer,
        bprop_len: int,
        device: int | None = None,
    ) -> None:
        super().__init__(iterator, optimizer, device=device)
        self.bprop_len = bprop_len

    def update_core(self) -> None:
        """A window of steps, one backward pass, one update."""
        iterator = self.get_iterator("main")
        optimizer = self.get_optimizer("main")
        total: Any = 0  # a Variable once a step has been added
        for _ in range(self.bprop_len):
            x, t = self.converter(next(iterator), self.device)
            total += optimizer.target(Variable(x), Variable(t))
        optimizer.target.cleargrads()
        total.backward()
        total.unchain_backward()
        optimizer.update()


def make_updater(arch: str) -> StepUpdater:
    """The default training of an architecture.

    Returns:
        StepUpdater: its optimizer's target is the Classifier.
    """
    optimizer = chainer.optimizers.Adam(alpha=LEARNING_RATE)
    model = GRU if arch == "gru" else ARCHS[arch]
    optimizer.setup(L.Classifier(model(DEFAULT.n_vocab, DEFAULT.n_units)))
    iterator = StepIterator(make_tokens(DEFAULT), DEFAULT.batch)
    return StepUpdater(iterator, optimizer, DEFAULT.window)


def make_evaluator(model: L.Classifier) -> Evaluator:
    """Evaluation of a Classifier over the whole default data, step by step."""
    iterator = StepIterator(make_tokens(DEFAULT), DEFAULT.batch, repeat=False)
    evaluated = model.copy()
    return Evaluator(iterator, evaluated, eval_hook=lambda _: evaluated.predictor.reset_state())


def updates(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` updates, a list."""
    return time_calls(make_updater(arch).update, count, repetitions, WARM_UP)


def evaluations(arch: str, count: int, repetitions: int) -> list[float]:
    """Seconds of ``count`` evaluations over the whole data, a list."""
    evaluator = make_evaluator(make_updater(arch).get_optimizer("main").target)
    return time_calls(evaluator, count, repetitions)


if __name__ == "__main__":
    run_measure({"updates": updates, "evaluations": evaluations}, numpy_arithmetic)
