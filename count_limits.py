"""How far can each architecture count? Train every one on ever longer runs until it fails.

python count_limits.py
python count_limits.py --archs rnn lstm --vocabularies 10 12 14 --seeds 10 --budget 20000

A training succeeds once the network, running free from the number 1, writes two whole periods of
the sequence without a mistake. Each outcome is added to count_limits.csv at once. A sweep that is
started again skips the outcomes it finds there.
"""

if __name__ == "__main__":
    from support.start import start

    start()

import argparse
import contextlib
import datetime
import multiprocessing
import os
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import chainer_compat

from counting.sweep import Cell, Outcome, append_outcome, read_outcomes, train_cell
from counting.sweep_figure import draw_limits
from models import ARCHS
from support.command_line import (
    ERASE,
    FOLDER,
    ArgumentParser,
    CommandError,
    UsageError,
    output_folder,
    progress_bar,
    whole_number,
)
from support.devices import check_memory, cores
from support.drawing import save_figure
from support.files import BadFile, Unreadable
from support.output import write_codes
from support.processes import run
from support.signals import STOPPING, leave_if_asked
from support.threads import VARIABLES
from training.options import BATCH_SIZE, BPROP_LEN, N_UNITS, training_memory


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = ArgumentParser(__doc__)
    add = parser.add_argument
    add(
        "--archs",
        nargs="+",
        choices=ARCHS,
        default=list(ARCHS),
        metavar="ARCH",
        help="architectures to compare",
    )
    add(
        "--vocabularies",
        nargs="+",
        type=whole_number(2, 200),
        default=[5, 10, 15, 20, 25],
        metavar="V",
        help="sizes of the vocabulary: the numbers below V appear",
    )
    add(
        "--seeds",
        type=whole_number(1, 10_000),
        default=5,
        metavar="N",
        help="trainings of each architecture and vocabulary",
    )
    add(
        "--budget",
        type=whole_number(1),
        default=10000,
        help="updates after which a training has failed",
    )
    add("-u", "--unit", type=whole_number(1), default=N_UNITS, help="units in each layer")
    add(
        "-l",
        "--bproplen",
        type=whole_number(1),
        default=BPROP_LEN,
        help="steps in a window of BPTT",
    )
    add("-o", "--out", default=FOLDER, help="output folder")
    add(
        "--processes",
        type=whole_number(1, 1000),
        metavar="N",
        help="trainings at the same time (default: one on each core)",
    )
    add("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    args.processes = args.processes or cores()
    n_vocab = max(args.vocabularies)
    sizes = n_vocab, args.unit, args.bproplen * BATCH_SIZE
    n_bytes = args.processes * max(training_memory(arch, *sizes) for arch in args.archs)
    given = f"--vocabularies {n_vocab} --unit {args.unit} --bproplen {args.bproplen} --processes"
    check_memory(n_bytes, f"{given} {args.processes}")
    return args


def main(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    args = parse_arguments(argv)
    table = os.path.join(args.out, "count_limits.csv")
    with output_folder(args.out, ".count_limits.lock", table):
        sweep(args, table)
    return 0


def sweep(args: argparse.Namespace, table: str) -> None:
    """Train what the table lacks, and draw all of it."""
    try:
        outcomes = read_outcomes(table)
    except Unreadable as error:
        raise CommandError(f"{table} {error}") from error
    except BadFile as error:
        raise UsageError(f"argument -o/--out: {table} {error}; move it away") from error
    cells = ordered_cells(args)
    todo = [cell for cell in cells if cell not in outcomes]
    print(f"{len(cells) - len(todo)} of {len(cells)} trainings are in {table} already", flush=True)
    started = time.monotonic()

    def finished(outcome: Outcome) -> None:
        append_outcome(table, outcome)
        outcomes[outcome.cell] = outcome
        done = sum(cell in outcomes for cell in cells)
        show(outcome, done, len(cells), len(todo), time.monotonic() - started)

    show_bar(len(cells) - len(todo), len(cells))
    try:
        train_all(todo, args.processes, finished)
    finally:
        if sys.stdout.isatty():
            write_codes(ERASE)
    path = os.path.join(args.out, "count_limits.png")
    save_figure(draw_limits([outcomes[cell] for cell in cells]), path)
    print(f"Written to {args.out}: count_limits.csv, count_limits.png")


def ordered_cells(args: argparse.Namespace) -> list[Cell]:
    """All trainings of the sweep: the first seed of every kind, then the second, and so on.

    Within a seed the order is random but fixed, so the time so far predicts the time left.
    """
    cells = []
    for seed in range(args.seeds):
        kinds = [(arch, n_vocab) for arch in args.archs for n_vocab in args.vocabularies]
        kinds = list(dict.fromkeys(kinds))
        random.Random(seed).shuffle(kinds)
        sizes = args.unit, args.bproplen, args.budget
        cells += [Cell(arch, n_vocab, seed, *sizes) for arch, n_vocab in kinds]
    return cells


def train_all(cells: Sequence[Cell], processes: int, finished: Callable[[Outcome], None]) -> None:
    """Train the cells, ``processes`` at a time; call ``finished`` with each outcome.

    Raises:
        CommandError: if a process was killed, usually by the system for lack of memory.
    """
    # Each process has a core to itself. NumPy reads this when a new process imports it.
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    context = multiprocessing.get_context("spawn")
    processes = min(processes, len(cells)) or 1
    # multiprocessing's Pool would wait forever for the task of a killed process.
    with _signals_held():
        pool = ProcessPoolExecutor(processes, context, initializer=_end_with_the_parent)
    # futures.wait would lock each future: a signal in between leaves some locked, and the pool's
    # own thread then waits forever.
    done: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
    with pool:
        try:
            with _signals_held():
                for cell in cells:
                    pool.submit(train_cell, cell).add_done_callback(done.put)
            for _ in cells:
                finished(_next(done).result())
        except BaseException as error:
            for process in multiprocessing.active_children():
                process.kill()  # do not wait for trainings under way
            # Wait for the pool's own thread: Python would else wake it while it closes its pipe.
            pool.shutdown(cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise CommandError(
                    "a training was killed, perhaps for lack of memory; the same command resumes, "
                    "if necessary with fewer --processes"
                ) from error
            raise


def _next(done: "queue.SimpleQueue[Future[Outcome]]") -> "Future[Outcome]":
    while True:
        leave_if_asked()
        # With a timeout: a signal that reaches another thread does not wake this one.
        with contextlib.suppress(queue.Empty):
            return done.get(timeout=1)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Delay signals that stop; processes that start meanwhile never receive them.

    A terminal sends them to all of its processes. A worker that is just starting would show a
    traceback, and multiprocessing's resource tracker would miss the release of semaphores.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _end_with_the_parent() -> None:
    """Run in each process: exit as soon as the command has ended, however it did."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # called in a child only

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def show(outcome: Outcome, done: int, total: int, n_todo: int, seconds: float) -> None:
    """Print a line for an outcome; on a terminal a progress bar below.

    Args:
        outcome (Outcome): the latest.
        done, total (int): finished trainings of the sweep, and all of them.
        n_todo (int): trainings left when this run of the command began.
        seconds (float): time since then.
    """
    cell = outcome.cell
    took = f"{outcome.updates:,} updates" if outcome.updates else "failed"
    if outcome.updates is None and outcome.updates_primed:
        took += f", but after reading two periods {outcome.updates_primed:,} updates"
    erase = ERASE if sys.stdout.isatty() else ""
    write_codes(f"{erase}{cell.arch:5} vocabulary {cell.n_vocab:3} seed {cell.seed}: {took}\n")
    left = datetime.timedelta(seconds=round(seconds * (total - done) / (n_todo - total + done)))
    show_bar(done, total, f", {left} left")


def show_bar(done: int, total: int, more: str = "") -> None:
    """On a terminal, show how many trainings are finished."""
    if sys.stdout.isatty():
        text = f"{done} of {total} trainings{more}"
        write_codes(progress_bar(done / total, text))


if __name__ == "__main__":
    sys.exit(run(main))
