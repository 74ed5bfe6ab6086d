"""Tiny models whose answer to a lie is known, because their rule is written down."""

import chainer
import numpy as np
from chainer import as_variable

from models.stateful import Stateful


class Rule(Stateful, chainer.Chain):
    """A model whose next state and prediction follow from its state and the token by ``step``.

    The state is two numbers, both 0 at first, for each stream.
    """

    h = None

    def __init__(self, n_vocab):
        super().__init__()
        self.largest = n_vocab - 1
        self.period = [number for number in range(n_vocab) for _ in range(number)]
        with self.init_scope():
            self.embed = chainer.links.EmbedID(n_vocab, 1)

    def __call__(self, x):
        ids = x if x.ndim == 2 else x[None]
        states = np.zeros((ids.shape[1], 2), int) if self.h is None else self.h.array.astype(int)
        logits = np.zeros((*ids.shape, self.largest + 1), np.float32)
        for step, row in enumerate(ids):
            answers = [self.step(*state, token) for state, token in zip(states, row, strict=True)]
            states = np.array([state for state, _ in answers])
            for stream, (_, prediction) in enumerate(answers):
                logits[step, stream, prediction] = 1
        self.h = as_variable(states.astype(np.float32))
        return as_variable(logits.reshape(-1, self.largest + 1))

    def true(self, place):
        return self.period[place % len(self.period)]

    def next(self, number):
        return number % self.largest + 1


class Clock(Rule):
    """Counts the tokens that it has read, whatever they are."""

    def step(self, place, _, token):
        return (place + 1, 0), self.true(place + 1)


class Deaf(Rule):
    """Knows the place in the period, and does not hear what contradicts it."""

    def step(self, place, _, token):
        place += token == self.true(place)
        return (place, 0), self.true(place)


class Counter(Rule):
    """Counts how often the last number has come in a row; after as many as it says, the next."""

    def step(self, number, count, token):
        count = count + 1 if token == number else 1
        return (token, count), token if count < token else self.next(token)


class Restless(Counter):
    """As Counter, but after a number comes the one before it: it knows no order."""

    def next(self, number):
        return (number - 2) % self.largest + 1


class Stubborn(Rule):
    """Repeats what it is told."""

    def step(self, _, __, token):
        return (0, 0), token
