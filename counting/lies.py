"""What a network does when it is told something false: keep its place, or believe and count anew.

A network with one counter, zero when a number begins, would count whatever number it is told. A
network that knows its place in the period can go on as though nothing had been said. Only a broken
sequence shows which of the two it is.
"""

from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
from chainer import as_array, as_variable, no_backprop_mode, using_config
from chainer.backends import cuda
from numpy.typing import NDArray

from counting.traces import recurrent_layers
from models import Model
from simple_sequence.simple_sequence_dataset import get_simple_sequence

# A lie needs three numbers: the last, the next, and another. Telling all lies costs the fourth
# power of the vocabulary.
_VOCABULARIES = range(4, 31)
CHANGES = ("one too short", "one too long", "repeated twice", "left out")


class Answer(Enum):
    """What a network went on with."""

    KEPT = "kept its place"
    ANEW = "counted anew"
    LOST = "lost its way"


class Lie(NamedTuple):
    """Something false, told in the third period.

    Attributes:
        column (int): the number ``v`` whose run precedes the lie, or whose run is changed.
        row (int or str): the number ``w`` that is told, or the change of the run.
        place (int): true tokens of the third period that are read before.
        told (tuple of int): what is told then: a single token, or the rest of a run that is too
            long and the first token of the next number.
    """

    column: int
    row: int | str
    place: int
    told: tuple[int, ...]


class Outcome(NamedTuple):
    """What became of a lie.

    Attributes:
        answer (Answer): see :func:`answer_to`.
        right_after (int): tokens written until the network is right again: it ends the present run
            and writes another of exactly the length that its number says. The length of a period if
            that does not happen within one.
        written (numpy.ndarray): the period written after the lie, int32.
    """

    answer: Answer
    right_after: int
    written: NDArray[np.int32]


def why_not_told(n_vocab: int) -> str | None:
    """Why a model with a vocabulary of this size is not told lies; None if it is."""
    if n_vocab in _VOCABULARIES:
        return None
    smallest, largest = _VOCABULARIES[0], _VOCABULARIES[-1]
    return f"its vocabulary is {n_vocab}; lies need one from {smallest} to {largest}"


def other_numbers(n_vocab: int) -> list[Lie]:
    """At the end of each run ``v``, every number ``w`` that is neither ``v`` nor the next one."""
    numbers = range(1, n_vocab)
    return [
        Lie(v, w, v * (v + 1) // 2, (w,))
        for v in numbers
        for w in numbers
        if w not in (v, v % (n_vocab - 1) + 1)
    ]


def changed_runs(n_vocab: int) -> list[Lie]:
    """Each run a token too short or too long, repeated, or left out; then the next number begins.

    A run of one token that is too short is left out, and listed only as that.
    """
    lies = []
    for v in range(1, n_vocab):
        following = v % (n_vocab - 1) + 1
        start, end = v * (v - 1) // 2, v * (v + 1) // 2
        changes = ((end - 1, 0), (end, 1), (end, v), (start, 0))
        for change, (place, more) in zip(CHANGES, changes, strict=True):
            if place > start or change == CHANGES[-1]:
                lies.append(Lie(v, change, place, (*[v] * more, following)))
    return lies


def read_lies(model: Model, lies: Sequence[Lie]) -> dict[Lie, Outcome]:
    """Tell the model each lie after two periods and part of a third; then let it run free.

    Args:
        model: one of the architectures, with a vocabulary that :func:`why_not_told` allows. Its
            state is lost: it is reset before and after.
        lies (list of Lie): for example from :func:`other_numbers` and :func:`changed_runs`.

    Returns:
        dict: Outcome by Lie.
    """
    n_vocab = len(model.embed.W)
    period = get_simple_sequence(n_vocab, 1)
    told = [[*period, *period, *period[: lie.place], *lie.told] for lie in lies]
    written = _free_runs(model, told, len(period))
    return {
        lie: Outcome(answer_to(lie, row, period), _right_after(row), row)
        for lie, row in zip(lies, written, strict=True)
    }


def answer_to(lie: Lie, written: NDArray[np.integer], period: NDArray[np.integer]) -> Answer:
    """What a model did that went on with ``written``.

    It kept its place if it finishes the run that is due in the period, and begins the run after it.
    That is the run due before the lie, or the one due if the lie's tokens had been true. It counted
    anew if it finishes the run of the number told, at its right length, and begins one of any other
    number. If nothing is left of a run, it must finish the next one. After a 1 both may be true;
    then it kept its place.
    """
    for true in kept(lie, period):
        if written[: len(true)].tolist() == true:
            return Answer.KEPT
    runs = _runs([lie.told[-1], *written])
    judged = runs[: 2 if lie.told[-1] == 1 else 1]
    if len(runs) > len(judged) and all(number == length for number, length in judged):
        return Answer.ANEW
    return Answer.LOST


def kept(lie: Lie, period: NDArray[np.integer]) -> list[list[int]]:
    """The two ways to keep the place: the rest of the run that is due, and one token more."""
    ways = []
    for place in (lie.place, lie.place + len(lie.told)):
        due = np.roll(period, -place)
        ways.append(due[: np.flatnonzero(due != due[0])[0] + 1].tolist())
    return ways


def shares(outcomes: Sequence[Outcome]) -> dict[Answer, float]:
    """The share of each answer among the outcomes."""
    answers = [outcome.answer for outcome in outcomes]
    return {answer: answers.count(answer) / len(answers) for answer in Answer}


def keeps_place(model: Model) -> float:
    """The share of the numbers of :func:`other_numbers` after which the model keeps its place.

    Equal to what :func:`read_lies` finds, at a small part of its cost. As in
    :func:`counting.scores.free_run`, a model that writes the expected tokens also reads them. So
    this keeps the states at the ends of the runs, and from there reads all lies, each followed by
    the expected tokens, side by side.

    Args:
        model: as for :func:`read_lies`, but in the state after two periods. It is reset afterwards.

    Returns:
        float: from 0 to 1.
    """
    n_vocab = len(model.embed.W)
    xp = model.xp
    told, lengths, run, column, expected = _questions(n_vocab)
    states = [(link, name) for link in recurrent_layers(model) for name in link.state_names]
    at_end: list[list] = [[] for _ in states]
    written = np.zeros_like(told)
    with using_config("train", False), using_config("type_check", False), no_backprop_mode():
        for v in range(1, n_vocab):
            model(xp.full((v, 1), v, np.int32))
            for (link, name), so_far in zip(states, at_end, strict=True):
                so_far.append(as_array(getattr(link, name)))
        # In two windows, the second without the decided columns.
        held = [xp.concatenate(so_far) for so_far in at_end]
        rows = run
        going: NDArray[np.integer] = np.arange(len(run))
        as_expected = np.ones(column.shape, bool)
        half = len(told) // 2
        for steps in (slice(half), slice(half, None)):
            for (link, name), state in zip(states, held, strict=True):
                setattr(link, name, as_variable(state[xp.asarray(rows)]))
            logits = as_array(model(xp.asarray(told[steps, going])))
            written[steps, going] = cuda.to_cpu(logits.argmax(axis=1)).reshape(-1, len(going))
            answers = expected[..., steps]
            as_expected &= ((written[steps].T[column] == answers) | (answers == 0)).all(axis=-1)
            hoped = np.zeros(len(run), bool)
            hoped[column[as_expected]] = True
            rows = going = np.flatnonzero(hoped & (lengths > half))
            if not len(going):
                break
            held = [as_array(getattr(link, name)) for link, name in states]
    model.reset_state()
    return float(as_expected.any(axis=0).mean())


@lru_cache(maxsize=1)
def _questions(n_vocab: int) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """What :func:`keeps_place` tells, and what it expects.

    A column reads a lie and the first of the two ways to keep the place. The second way is part of
    that, up to its last token, unless the lie stands for the only token of the run that is due.
    Then the second way takes another column.

    Returns:
        tuple of numpy.ndarray: what is told, int32 ``(T, B)``; the length of each column, ``(B,)``;
        the run after which it begins, from 0, ``(B,)``; the column that answers each lie in the
        first and in the second way, ``(2, L)``; and the answers, ``(2, L, T)``, padded with zeros.
    """
    period = get_simple_sequence(n_vocab, 1)
    lies = other_numbers(n_vocab)
    read: list[tuple[int, list[int]]] = []
    column = np.empty((2, len(lies)), np.intp)
    expected = np.zeros((2, len(lies), n_vocab), np.int32)
    for number, lie in enumerate(lies):
        for way, answer in enumerate(kept(lie, period)):
            inputs = [*lie.told, *answer[:-1]]
            if way == 0 or read[-1][1][: len(inputs)] != inputs:
                read.append((lie.column - 1, inputs))
            column[way, number] = len(read) - 1
            expected[way, number, : len(answer)] = answer
    told = np.zeros((n_vocab, len(read)), np.int32)
    for place, (_, inputs) in enumerate(read):
        told[: len(inputs), place] = inputs
    lengths = np.array([len(inputs) for _, inputs in read])
    return told, lengths, np.array([run for run, _ in read]), column, expected


def _free_runs(model: Model, told: Sequence[Sequence[int]], length: int) -> list[NDArray[np.int32]]:
    """As :func:`models.generation.generate` for many primes at once, without the primes."""
    ends = np.array([len(prime) for prime in told])
    tokens = np.zeros((ends.max() + length, len(told)), np.int32)
    for stream, prime in enumerate(told):
        tokens[: len(prime), stream] = prime
    model.reset_state()
    with using_config("train", False), using_config("type_check", False), no_backprop_mode():
        for step in range(len(tokens) - 1):
            logits = as_array(model(model.xp.asarray(tokens[step])))
            free = ends <= step + 1
            if free.any():
                tokens[step + 1, free] = cuda.to_cpu(logits.argmax(axis=1))[free]
    model.reset_state()
    return [tokens[end : end + length, stream] for stream, end in enumerate(ends)]


def _runs(tokens: Sequence[int] | NDArray[np.integer]) -> list[tuple[int, int]]:
    """Number and length of each run."""
    return [(int(number), len(list(run))) for number, run in groupby(tokens)]


def _right_after(written: NDArray[np.integer]) -> int:
    """See :class:`Outcome`; the present run may have begun before ``written``."""
    place = 0
    for (number, length), following in pairwise(_runs(written)[:-1]):
        place += max(length - number, 0)
        if following[0] == following[1]:
            return place
        place += min(length, number)
    return len(written)
