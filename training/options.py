"""The options of a training: what can be typed, and what is refused before work begins."""

import argparse
import importlib.util
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from models import ARCHS
from models.model_file import parameter_shapes
from simple_sequence.simple_sequence_dataset import N_VOCABULARY
from support.command_line import (
    FOLDER,
    ArgumentParser,
    UsageError,
    add_gpu_option,
    another_command,
    number,
    path_word,
    positive_number,
    shell_command,
    whole_number,
)
from support.devices import check_gpu, check_memory
from support.processes import here
from support.threads import choose_threads

_REPEAT = 100
# The tutorial's defaults, for other commands that train as it does.
N_UNITS = 100
BPROP_LEN = 20
BATCH_SIZE = 10
LEARNING_RATE = 0.0005
_BESIDE_ARRAYS = 64 * 2**20  # bytes: imports for training and drawing, and malloc's reserve
# Values that a snapshot is bound to, besides those of the data.
_FIXED = "arch", "unit", "batchsize", "bproplen", "seed"
# Values that may change when a training is resumed.
_CHANGEABLE = (
    *("epoch", "lr", "lr_decay", "lr_cosine", "gradclip", "dropout", "gpu", "out"),
    *("data", "valid", "snapshot_every", "keep"),
)
# Those whose change makes it a different run.
STEERING = "--lr", "--lr-decay", "--lr-cosine", "--gradclip", "--dropout"
# Options for the user's own data only, and for the built-in sequence only.
_OWN = "tokens", "valid", "valid_fraction"
_BUILT_IN = "repeat", "shuffle_runs", "counting"


class Interval(NamedTuple):
    """How often something is done, in the form of a Trainer's trigger."""

    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.number}e" if self.unit == "epoch" else str(self.number)


def fixed_options(args: argparse.Namespace) -> dict[str, Any]:
    """Values that a snapshot is bound to, besides the data, by option."""
    return {option(name): getattr(args, name) for name in _FIXED}


def changeable_options(args: argparse.Namespace) -> dict[str, Any]:
    """Values that may change when a training is resumed, by option."""
    values = {option(name): getattr(args, name) for name in _CHANGEABLE}
    return {**values, "--snapshot-every": str(args.snapshot_every)}


def option(name: str) -> str:
    """The option whose value has this name."""
    return f"--{name.replace('_', '-')}"


def parse_arguments(description: str | None, argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line of a training.

    Returns:
        argparse.Namespace: the options, each within its bounds, and consistent.

    Raises:
        SystemExit: with code 2 after one line on stderr, if the command line makes no sense.
        UsageError: if the options cannot be met on this machine.
    """
    parser = ArgumentParser(description)
    add = parser.add_argument
    count = whole_number(1)
    add("-a", "--arch", choices=ARCHS, default="rnn", help="architecture of the network")
    add("-u", "--unit", type=count, default=N_UNITS, help="units in each layer")
    add(
        "-l",
        "--bproplen",
        type=count,
        default=BPROP_LEN,
        help="steps in a window of truncated BPTT: how far back a gradient reaches",
    )
    add("-b", "--batchsize", type=count, default=BATCH_SIZE, help="streams read in parallel")
    add("-e", "--epoch", type=count, default=10, help="sweeps over the training data")
    add_gpu_option(parser)
    add("-o", "--out", default=FOLDER, help="output folder")
    add(
        "-r",
        "--resume",
        metavar="SNAPSHOT",
        help="snapshot to continue from; 'auto' takes the newest usable one in --out "
        "(default: start afresh)",
    )
    add(
        "--seed",
        type=whole_number(0, 2**32 - 1),
        default=0,
        help="seed of the initial parameters and of dropout (default: 0)",
    )
    add("--lr", type=positive_number, default=LEARNING_RATE, help="learning rate, Adam's alpha")
    falling = parser.add_mutually_exclusive_group()
    falling.add_argument(
        "--lr-decay",
        type=fraction,
        metavar="F",
        help="multiply the learning rate by F after an epoch whose validation loss is not the "
        "lowest so far",
    )
    falling.add_argument(
        "--lr-cosine",
        action="store_const",
        const=True,
        help="let the learning rate fall to 0 by the end of the last epoch, along a cosine",
    )
    add(
        "--gradclip",
        type=positive_number,
        metavar="NORM",
        help="largest L2 norm of the gradient (default: no limit)",
    )
    add(
        "--dropout",
        type=ratio,
        metavar="R",
        help="share of each layer's inputs that is dropped in training (default: 0.5 for lstm, "
        "0 for the others)",
    )
    add(
        "--n-vocab",
        type=whole_number(2),
        metavar="V",
        help="size of the vocabulary; the built-in sequence holds the numbers below it "
        f"(default: {N_VOCABULARY}; with --data: as many as the data need)",
    )
    add(
        "--repeat",
        type=count,
        metavar="N",
        help=f"periods of the built-in sequence (default: {_REPEAT})",
    )
    add(
        "--shuffle-runs",
        action="store_true",
        help="put the runs of the built-in sequence in random order; validate on another draw",
    )
    add(
        "--data",
        metavar="PATH",
        help="train on this file: integers as .npy or text, or plain text with --tokens "
        "(default: the built-in sequence)",
    )
    add("--tokens", choices=["char", "word"], help="with --data: split plain text into these")
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument(
        "--valid",
        metavar="PATH",
        help="with --data: validate on this file (default: on the training data)",
    )
    held_out.add_argument(
        "--valid-fraction",
        type=fraction,
        metavar="F",
        help="with --data: hold out this share at the end, and validate on it",
    )
    add(
        "--snapshot-every",
        type=interval,
        default=Interval(1, "epoch"),
        metavar="N",
        help="save a snapshot every N updates, or every N epochs with an e, as in 1e",
    )
    add(
        "--keep",
        type=count,
        metavar="N",
        help="keep only the newest N snapshots of this run, and the last one that the next update "
        "has shown to be good (default: keep all)",
    )
    add("--counting", action="store_true", help="show in the table how well the network counts")
    add(
        "--tensorboard",
        action="store_true",
        help="write TensorBoard events; needs requirements/tensorboard.txt",
    )
    add(
        "--threads",
        type=count,
        metavar="N",
        help="threads of BLAS on the CPU (default: 1, or all cores where a step's products are "
        "large)",
    )
    add(
        "--distributed",
        action="store_true",
        help="share the streams among the processes that mpiexec starts; -g is the GPU of the "
        "first process on a machine; needs requirements/mpi.txt",
    )
    add(
        "--communicator",
        choices=("naive", "pure_nccl"),
        help="with --distributed: ChainerMN's communicator "
        "(default: naive on the CPU, pure_nccl on GPUs)",
    )
    add("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    if args.communicator and not args.distributed:
        raise UsageError(
            f"argument --communicator: {args.communicator} works only with --distributed"
        )
    if args.distributed:
        args.gpu = here.connect(args.communicator, args.batchsize, args.gpu)
    elif args.gpu >= 0:
        check_gpu(args.gpu)
    _check_data(args)
    if args.tensorboard:
        _check_tensorboard()
    choose_threads(step_operations(args.arch, args.unit, args.batchsize), args.threads)
    return args


def _check_data(args: argparse.Namespace) -> None:
    """Refuse options that do not fit the data; fill in the built-in sequence's defaults."""
    built_in = args.data is None
    for name in _OWN if built_in else _BUILT_IN:
        if getattr(args, name) not in (None, False):
            wants = "works only with --data PATH" if built_in else "does not work with --data PATH"
            raise UsageError(f"argument {option(name)}: {wants}")
    if built_in:
        args.n_vocab = args.n_vocab or N_VOCABULARY
        args.repeat = args.repeat or _REPEAT
        if args.shuffle_runs and args.n_vocab < 3:
            raise UsageError(
                f"argument --shuffle-runs: --n-vocab {args.n_vocab} has no two numbers to reorder; "
                "choose at least 3"
            )
        source = f"--n-vocab {args.n_vocab} --repeat {args.repeat}"
        n_tokens = args.n_vocab * (args.n_vocab - 1) // 2 * args.repeat
        # Runs in random order are drawn twice, in larger arrays.
        memory = n_tokens * (40 if args.shuffle_runs else 4)
        check_sizes(args, args.n_vocab, n_tokens, source, memory)
        return
    if args.tokens and args.n_vocab:
        raise UsageError(
            f"argument --n-vocab: text has its own vocabulary; give --tokens {args.tokens} alone"
        )
    for given, path in (("--data", args.data), ("--valid", args.valid)):
        if args.tokens and path and path.endswith(".npy"):
            raise UsageError(
                f"argument --tokens: {given} {path} holds ids already; expected a file of text"
            )


def _check_tensorboard() -> None:
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "argument --tensorboard: needs TensorBoard, which is not installed: "
            "pip install -r requirements/tensorboard.txt"
        )


def fraction(text: str) -> float:
    """An argparse type: a number between 0 and 1."""
    value = number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def ratio(text: str) -> float:
    """An argparse type: a number from 0 to below 1."""
    value = number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return value


def interval(text: str) -> Interval:
    """An argparse type: ``"20"`` is every 20 updates, ``"2e"`` every 2 epochs."""
    if not re.fullmatch(r"[1-9]\d{0,9}e?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of updates, as 100, or of epochs, as 1e"
        )
    return Interval(int(text.rstrip("e")), "epoch" if text.endswith("e") else "iteration")


def check_sizes(
    args: argparse.Namespace, n_vocab: int, n_tokens: int, source: str, memory: int = 0
) -> None:
    """Refuse what cannot work, before any memory is taken.

    Args:
        args (argparse.Namespace): the options.
        n_vocab (int): size of the vocabulary.
        n_tokens (int): length of the training data.
        source (str): the options that define the data.
        memory (int): bytes that the data take.

    Raises:
        UsageError: if these sizes cannot work on this machine.
    """
    if args.batchsize > n_tokens:
        raise UsageError(
            f"argument -b/--batchsize: {args.batchsize} streams are more than the {n_tokens} "
            f"tokens of {source}; choose at most {n_tokens}"
        )
    n_bytes = training_memory(args.arch, n_vocab, args.unit, args.bproplen * args.batchsize)
    given = f"--unit {args.unit} --n-vocab {n_vocab} --batchsize {args.batchsize} "
    given += f"--bproplen {args.bproplen}"
    if args.gpu >= 0:
        check_memory(n_bytes, given, args.gpu)
        n_bytes = 0  # in the machine's own memory
    if memory:
        n_bytes += memory
        given += f" --repeat {args.repeat}"
    check_memory(n_bytes, given)


def step_operations(arch: str, n_units: int, batch_size: int) -> int:
    """Operations in the largest product of one step of a recurrence."""
    shapes = parameter_shapes(arch, 1, n_units)  # 1 keeps embedding and output small
    return 2 * batch_size * max(math.prod(shape) for shape in shapes.values())


def training_memory(arch: str, n_vocab: int, n_units: int, predictions: int) -> int:
    """Bytes that a training takes, roughly, with this many predictions in a window."""
    shapes = parameter_shapes(arch, n_vocab, n_units)
    n_parameters = sum(math.prod(shape) for shape in shapes.values())
    # float32: parameters, gradients and Adam's two moments; for each prediction of a window, the
    # logits, their softmax and gradient, and about a dozen vectors of units.
    arrays = 4 * (4 * n_parameters + predictions * (3 * n_vocab + 12 * n_units))
    return arrays + _BESIDE_ARRAYS


def resume_command(
    argv: Sequence[str],
    snapshot: str,
    script: str = "train_simple_sequence.py",
    **changed: int,
) -> str:
    """The command line that resumes from a snapshot, with otherwise the same options.

    Args:
        argv (list of str): arguments of the command so far.
        snapshot (str): path of the snapshot, or ``auto``.
        script (str): the command.
        changed: new values of options, by long name.

    Returns:
        str: ready to paste into a shell.
    """
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-r", "--resume")
    if "epoch" in changed:
        parser.add_argument("-e", "--epoch")
    _, rest = parser.parse_known_args(argv)
    options = [part for name, value in changed.items() for part in (f"--{name}", str(value))]
    command = another_command(script)
    return shell_command([*command, *rest, *options, "-r", path_word(snapshot)])
