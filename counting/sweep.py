"""How far a network counts: a training until it does, and the table of the outcomes."""

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bptt_updater import BPTTUpdater
from counting.scores import first_mistake, free_run, mistakes, periods
from models import ARCHS, Model
from models.adam import Adam
from models.classifier import Classifier
from parallel_sequential_iterator import ParallelSequentialIterator
from simple_sequence.simple_sequence_dataset import get_simple_sequence
from support.files import BadFile, naming, open_file, write_file
from training.options import BATCH_SIZE, LEARNING_RATE

_UPDATES_BETWEEN = 10  # checks


class Cell(NamedTuple):
    """One training of the sweep; everything its outcome depends on."""

    arch: str
    n_vocab: int
    seed: int
    unit: int
    bproplen: int
    budget: int


class Outcome(NamedTuple):
    """The outcome of a cell.

    Attributes:
        cell (Cell): the training.
        updates (int or None): updates after which the free run was perfect over two periods; None
            if the budget was spent before.
        updates_primed (int or None): the same if the network first read two periods; at most
            ``updates``.
        longest_free_run (int): longest free run of all checks, in tokens; at most two periods.
        seconds (float): time that it took, on one core.
    """

    cell: Cell
    updates: int | None
    updates_primed: int | None
    longest_free_run: int
    seconds: float


COLUMNS = (*Cell._fields, *Outcome._fields[1:])


def train_cell(cell: Cell) -> Outcome:
    """Train as train_simple_sequence.py does, until the network counts or the budget is spent.

    Args:
        cell (Cell): the training.

    Returns:
        Outcome: checked every ten updates.
    """
    started = time.process_time()
    np.random.seed(cell.seed)
    model = Classifier(ARCHS[cell.arch](cell.n_vocab, cell.unit))
    checked = model.copy().predictor  # same parameters, its own state
    optimizer = Adam(alpha=LEARNING_RATE).setup(model)
    train = ParallelSequentialIterator(get_simple_sequence(cell.n_vocab), BATCH_SIZE)
    updater = BPTTUpdater(train, optimizer, cell.bproplen)
    two = periods(cell.n_vocab, 2)
    updates = updates_primed = None
    longest = 0
    while updates is None and updater.iteration < cell.budget:
        for _ in range(min(_UPDATES_BETWEEN, cell.budget - updater.iteration)):
            updater.update()
        longest = max(longest, free_run(checked, two))
        if longest == len(two) - 1:
            updates = updater.iteration
        if updates_primed is None and (updates or counts_when_primed(checked, two)):
            updates_primed = updater.iteration
    seconds = round(time.process_time() - started, 2)
    return Outcome(cell, updates, updates_primed, longest, seconds)


def counts_when_primed(model: Model, two: NDArray[np.int32]) -> bool:
    """Whether the model, after reading two periods, runs free over two more without a mistake.

    In a training the recurrent state is zero only once, at the very start. This finds networks that
    count, but fail in a free run from the zero state.
    """
    model.reset_state()
    mistakes(model, two)
    return first_mistake(model, two) == len(two) - 1


def read_outcomes(path: str) -> dict[Cell, Outcome]:
    """Outcomes in a table; none if there is no file.

    A last line without a line end is part of a row that a killed run has left. It is removed, so
    that the next row can follow.

    Returns:
        dict: Outcome by Cell.

    Raises:
        BadFile: if the file is not such a table.
        OSError: if it cannot be read.
    """
    header = ",".join(COLUMNS) + "\n"
    text = ""
    if os.path.lexists(path):
        try:
            with naming(path), open_file(path) as file:
                text = file.read().decode()
        except UnicodeDecodeError as error:
            raise BadFile("is not a table of this command") from error
    whole = text[: text.rfind("\n") + 1]
    if not header.startswith(text[: len(header)]):
        raise BadFile("is not a table of this command")
    if whole != text or not whole:
        whole = whole or header
        write_file(path, lambda file: file.write(whole.encode()))
    outcomes = {}
    for number, line in enumerate(whole.splitlines()[1:], 2):
        try:
            outcome = _parse(line.split(","))
        except (ValueError, TypeError) as error:
            raise BadFile(f"is damaged: line {number} is not an outcome") from error
        outcomes[outcome.cell] = outcome
    return outcomes


def append_outcome(path: str, outcome: Outcome) -> None:
    """Add a row to the table, in one write, which is on the disk when this returns."""
    row = ("" if value is None else str(value) for value in (*outcome.cell, *outcome[1:]))
    with naming(path), open(path, "ab") as file:
        file.write((",".join(row) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())


def _parse(row: Sequence[str]) -> Outcome:
    arch, *sizes, updates, updates_primed, longest, seconds = row
    return Outcome(
        Cell(arch, *map(_count, sizes)),
        _count(updates) if updates else None,
        _count(updates_primed) if updates_primed else None,
        _count(longest),
        float(seconds),
    )


def _count(text: str) -> int:
    if len(text) > 10:
        raise ValueError("more digits than any count has")
    return int(text)
