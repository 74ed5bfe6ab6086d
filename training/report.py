"""What a training shows and writes beside its snapshots and its model.

Which values there are curves and columns of, how they are labelled, and what is printed before and
after is decided here. What is computed, and when, is not.
"""

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from functools import partial

import chainer_compat

from chainer.training import Extension

from counting.figure import MOST_TOKENS, draw_counting
from counting.scores import periods
from extensions.dump_graph import DumpGraph
from extensions.log import LogReport
from extensions.perplexity import add_perplexity
from extensions.plot_log import PlotLog
from extensions.snapshot import Snapshot
from extensions.tensorboard import TensorBoard
from extensions.terminal import ProgressBar, print_report
from models import Model
from models.model_file import model_path
from support.command_line import CommandError, another_command
from training.data import Data
from training.options import resume_command
from training.processes import Alone

_LOSS = {"main/loss": "training", "validation/main/loss": "validation"}
_ACCURACY = {"main/accuracy": "training", "validation/main/accuracy": "validation"}
_PERPLEXITY = {"perplexity": "training", "val_perplexity": "validation"}


def show_beginning(args: argparse.Namespace, data: Data, processes: Alone) -> None:
    """Print what is going to be trained."""
    print(f"GPU: {args.gpu}")
    print(f"# Architecture: {args.arch}")
    print(f"# Minibatch-size: {args.batchsize}")
    print(f"# epoch: {args.epoch}")
    if args.data is not None:
        print(f"# Data: {args.data}, {data}")
    if args.distributed:
        print(f"# Processes: {processes.size}")
    print("", flush=True)


def reports(args: argparse.Namespace, data: Data, evaluated: Model) -> list[Extension]:
    """Everything that tells how the training goes, to be plugged into the Trainer.

    Args:
        args (argparse.Namespace): the options.
        data (Data): what the network is trained on.
        evaluated: the model that is evaluated, for the picture of how it counts.
    """
    columns = [*_LOSS, *_ACCURACY]
    if args.data is not None:
        columns += _PERPLEXITY
    elif args.counting:
        columns += ["boundary_accuracy", "free_run"]
    extensions = [
        DumpGraph("main/loss"),
        LogReport(None if args.data is None else add_perplexity),
        print_report(["epoch", *columns, "elapsed_time"]),
        *_plots(args, data),
    ]
    if args.tensorboard:
        can_be_drawn = args.data is None and len(periods(data.n_vocab, 2)) <= MOST_TOKENS + 1
        picture = partial(draw_counting, evaluated, args.arch) if can_be_drawn else None
        extensions.append(TensorBoard(picture))
    if sys.stdout.isatty():
        extensions.append(ProgressBar())
    return extensions


def _plots(args: argparse.Namespace, data: Data) -> list[PlotLog]:
    plots = [
        PlotLog(_LOSS, "loss (nats a token)", "loss.png"),
        PlotLog(_ACCURACY, "accuracy (share of right tokens)", "accuracy.png"),
    ]
    if args.data is not None:
        return [*plots, PlotLog(_PERPLEXITY, "perplexity", "perplexity.png")]
    n_free = len(periods(data.n_vocab, 2)) - 1
    counting = {
        "boundary_accuracy": "boundary accuracy",
        "free_run": f"free run (of {n_free:,} tokens)",
    }
    scales = {"free_run": 1 / n_free}
    return [*plots, PlotLog(counting, "share of right tokens", "counting.png", scales)]


@contextlib.contextmanager
def naming_the_last_snapshot(snapshot: Snapshot) -> Iterator[None]:
    """Where a file cannot be written, say what is left of the training."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandError(
            f"{error.filename} cannot be written: {error.strerror}; {snapshot.advice()}"
        ) from error


def show_stop(argv: list[str], snapshot: Snapshot, processes: Alone) -> None:
    """Print how to go on after a signal."""
    if snapshot.last is None:
        print("Stopped before the first update.")
    else:
        command = processes.command(resume_command(argv, snapshot.last))
        print(f"Stopped. Go on with: {command}")


def show_end(
    argv: list[str], args: argparse.Namespace, data: Data, snapshot: Snapshot, processes: Alone
) -> None:
    """Print what was written, and what can be done with it."""
    path = model_path(args.out, args.arch)
    names = [os.path.basename(path), "log", *[plot.file_name for plot in _plots(args, data)]]
    if args.tensorboard:
        names.append("tensorboard")
    print(f"Written to {args.out}: {', '.join(names)}")
    sampled = ["--temperature", "0.5"] if args.tokens else []
    predict = [*another_command("predict_simple_sequence.py"), "-m", path, *sampled]
    print(f"Let it run free: {shlex.join(predict)}")
    assert snapshot.last is not None  # saved when the training ended
    longer = resume_command(argv, snapshot.last, epoch=2 * args.epoch)
    print(f"Train longer: {processes.command(longer)}")
