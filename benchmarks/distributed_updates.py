"""Updates of a training by one or more processes, and how long they spend in communication.

Started by ``scaling.py``; under mpiexec the processes of the job share the streams.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workload import DEFAULT, LEARNING_RATE, Size, make_tokens, time_calls
from bptt_updater import BPTTUpdater
from models import ARCHS
from models.adam import Adam
from models.classifier import Classifier
from parallel_sequential_iterator import ParallelSequentialIterator
from support.processes import here


class Clock:
    """Sums up the time of what is called through it, the waiting for other processes included."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time being taken."""

        def call(*args: Any) -> Any:
            start = time.perf_counter()
            result = function(*args)
            self.seconds += time.perf_counter() - start
            return result

        return call


def main() -> None:
    """Print, as one line of JSON, seconds of an update and the share of communication in them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("arch")
    parser.add_argument("size", type=int, nargs=len(DEFAULT), help=", ".join(Size._fields))
    parser.add_argument("--count", type=int, required=True, help="updates to take the time of")
    parser.add_argument("--distributed", action="store_true")
    args = parser.parse_args()
    size = Size(*args.size)

    np.random.seed(0)
    model = Classifier(ARCHS[args.arch](size.n_vocab, size.n_units))
    if args.distributed:
        here.connect("naive", size.batch, gpu=-1)
    optimizer = here.set_up(Adam(alpha=LEARNING_RATE), model, size.batch)
    tokens = make_tokens(size)
    iterator = ParallelSequentialIterator(tokens, size.batch, streams=here.streams(size.batch))
    updater = BPTTUpdater(iterator, optimizer, size.window, -1)

    clock = Clock()
    average = clock.timed(here.average)
    highest = clock.timed(here.highest)
    if args.distributed:
        communicator = optimizer.communicator
        communicator.multi_node_mean_grad = clock.timed(communicator.multi_node_mean_grad)

    def update() -> None:
        """What the processes do together in each iteration of the Trainer."""
        updater.update()
        average([np.zeros(()), np.zeros(())], size.batch)
        highest(0)

    for _ in range(min(3, args.count)):
        update()
    here.gather(None)
    clock.seconds = 0.0
    (seconds,) = time_calls(update, args.count, repetitions=1, warm_up=0)
    share = float(np.mean(here.gather(clock.seconds / seconds)))
    if here.rank == 0:
        print(json.dumps([seconds / args.count, share]))


if __name__ == "__main__":
    main()
