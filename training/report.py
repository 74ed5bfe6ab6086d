"""What a training shows and writes besides its snapshots and its model.

This decides which values get curves and columns, their labels, and what is printed before and
after. It does not decide what is computed, or when.
"""

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from chainer.training import Extension, Trainer

from counting.figure import draw_counting, why_not_drawn
from counting.lies import why_not_told
from extensions.finite_loss import FiniteLoss, GlobalMeans, NotFinite
from extensions.log import LogReport, add_perplexity
from extensions.plot_log import DumpGraph, PlotLog
from extensions.snapshot import Snapshot
from extensions.tensorboard import TensorBoard
from extensions.terminal import ProgressBar, print_report
from models import Model
from models.model_file import model_path
from own_data.mapped_ids import FileChanged
from support.command_line import CommandError, another_command, path_word, shell_command
from support.processes import here
from training.data import Data
from training.options import resume_command

_LOSS = {"main/loss": "training", "validation/main/loss": "validation"}
_ACCURACY = {"main/accuracy": "training", "validation/main/accuracy": "validation"}
_ROTE = 3  # epochs of learning by rote before it is reported
_PERPLEXITY = {"perplexity": "training", "val_perplexity": "validation"}


def show_beginning(args: argparse.Namespace, data: Data) -> None:
    """Print what will be trained."""
    print(f"GPU: {args.gpu}")
    print(f"# Architecture: {args.arch}")
    print(f"# Minibatch-size: {args.batchsize}")
    print(f"# epoch: {args.epoch}")
    if data.two_periods is None:
        print(f"# Data: {args.data or 'runs in random order'}, {data}")
    if args.distributed:
        print(f"# Processes: {here.size}")
    print("", flush=True)


def reports(args: argparse.Namespace, data: Data, evaluated: Model) -> list[Extension]:
    """The extensions that watch the training, for the Trainer.

    All processes watch the loss. Only rank 0 writes and shows.

    Args:
        args (argparse.Namespace): the options.
        data (Data): what the network is trained on.
        evaluated: the evaluated model, for the picture of how it counts.
    """
    watching: list[Extension] = [FiniteLoss()]
    if args.distributed:
        watching.append(GlobalMeans())
    if here.rank:
        return watching
    columns = [*_LOSS, *_ACCURACY]
    if data.vocabulary is not None:
        columns += _PERPLEXITY
    elif args.counting:
        columns += _counting_scores(data)
    if args.lr_decay or args.lr_cosine:
        columns.append("lr")
    extensions = [
        *watching,
        DumpGraph("main/loss"),
        LogReport(None if data.vocabulary is None else add_perplexity),
        print_report(["epoch", *columns, "elapsed_time"]),
        *_plots(data),
    ]
    if args.tensorboard:
        can_be_drawn = data.two_periods is not None and not why_not_drawn(data.n_vocab)
        picture = partial(draw_counting, evaluated, args.arch) if can_be_drawn else None
        extensions.append(TensorBoard(picture))
    if sys.stdout.isatty():
        extensions.append(ProgressBar())
    return extensions


def overfitting(log: Sequence[Mapping[str, float]]) -> int | None:
    """The first of three consecutive epochs, all after the best, in which the training loss fell
    and the validation loss rose: the network learnt by rote. None if there are none.
    """
    losses = [(each["validation/main/loss"], each["main/loss"], each["epoch"]) for each in log]
    after_best = losses[losses.index(min(losses)) :] if losses else []
    in_a_row = 0
    for before, now in itertools.pairwise(after_best):
        in_a_row = in_a_row + 1 if now[0] > before[0] and now[1] < before[1] else 0
        if in_a_row == _ROTE:
            return int(now[2]) - _ROTE + 1
    return None


def _counting_scores(data: Data) -> list[str]:
    """Names of the evaluation's values that show how well a network counts."""
    if data.shuffled:
        return ["run_length_accuracy"]
    lies = [] if why_not_told(data.n_vocab) else ["keeps_place"]
    return ["boundary_accuracy", "free_run", *lies]


def _plots(data: Data) -> list[PlotLog]:
    lowest = "validation/main/loss" if data.held_out else ""
    plots = [
        PlotLog(_LOSS, "loss (nats a token)", "loss.png", lowest=lowest),
        PlotLog(_ACCURACY, "accuracy (share of right tokens)", "accuracy.png"),
    ]
    if data.vocabulary is not None:
        return [*plots, PlotLog(_PERPLEXITY, "perplexity", "perplexity.png")]
    if data.two_periods is None:
        lengths = {"run_length_accuracy": "run length accuracy"}
        return [*plots, PlotLog(lengths, "share of runs foreseen", "counting.png")]
    n_free = len(data.two_periods) - 1
    counting = {
        "boundary_accuracy": "boundary accuracy",
        "free_run": f"free run (of {n_free:,} tokens)",
    }
    scales = {"free_run": 1 / n_free}
    return [*plots, PlotLog(counting, "share of right tokens", "counting.png", scales)]


@contextlib.contextmanager
def naming_the_last_snapshot(snapshot: Snapshot) -> Iterator[None]:
    """Name the last good snapshot in the error of a training that fails."""
    try:
        yield
    except FileChanged as error:
        raise CommandError(f"{error}{snapshot.advice()}") from error
    except NotFinite as error:
        raise CommandError(
            f"{error}{snapshot.advice(diverged=True)}; a smaller --lr or --gradclip may help"
        ) from error
    except OSError as error:
        if error.filename is None:
            raise
        raise CommandError(
            f"{error.filename} cannot be written: {error.strerror}{snapshot.advice()}"
        ) from error


def show_stop(argv: list[str], snapshot: Snapshot, whole: str | None) -> None:
    """Print how to resume after a signal: the training, or the ``whole`` job it is part of."""
    if whole is None and snapshot.last is None:
        print("Stopped before the first update.")
    else:
        command = whole or resume_command(argv, str(snapshot.last))
        print(f"Stopped. Go on with: {here.command(command)}")


def show_end(argv: list[str], args: argparse.Namespace, data: Data, trainer: Trainer) -> None:
    """Print what was written, and what to do with it."""
    if here.rank:
        return
    path = model_path(args.out, args.arch)
    names = [os.path.basename(path), "log", *[plot.file_name for plot in _plots(data)]]
    if args.tensorboard:
        names.append("tensorboard")
    best = trainer.get_extension("Best") if data.held_out else None
    if best and best.epoch:  # a snapshot of 1.0 holds none
        path = model_path(args.out, args.arch, best=True)
        names.insert(0, os.path.basename(path))
    print(f"Written to {args.out}: {', '.join(names)}")
    if best and best.epoch:
        print(f"Best: {path}, of epoch {best.epoch}, validation loss {best.loss:.4f}")
        epoch = overfitting(trainer.get_extension("LogReport").log)
        if epoch:
            print(
                f"Overfitting: from epoch {epoch} on training loss fell and validation loss rose. "
                "More data, a larger --dropout, --lr-cosine or a smaller --unit may help."
            )
    sampled = ["--temperature", "0.5"] if args.tokens else []
    predict = [*another_command("predict_simple_sequence.py"), "-m", path_word(path), *sampled]
    print(f"Let it run free: {shell_command(predict)}")
    if args.lr_cosine:
        print(
            "The learning rate has fallen to 0; a larger --epoch on resuming would raise it again."
        )
        return
    snapshot = trainer.get_extension("snapshot").last  # saved when the training ended
    longer = resume_command(argv, snapshot, epoch=2 * args.epoch)
    print(f"Train longer: {here.command(longer)}")
