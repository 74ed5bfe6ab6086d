"""Load a trained model, let it run free from one number on, and score what it wrote.

python predict_simple_sequence.py
python predict_simple_sequence.py -a rnn2 -p 5 -l 45
python predict_simple_sequence.py -a lstm --plot counting.png --layer 2
"""

if __name__ == "__main__":
    import quiet_end

    quiet_end.end_on_signals()

import argparse
import os
import sys
from collections.abc import Sequence

import chainer_compat

import chainer
import numpy as np

from command_line import (
    ArgumentParser,
    CommandError,
    UsageError,
    check_gpu,
    run_command,
    whole_number,
)
from counting.figure import MOST_TOKENS, draw_counting
from counting.traces import recurrent_layers
from drawing import picture, save_figure
from models import ARCHS, Model
from models.model_file import load_model
from safe_files import BadFile
from simple_sequence.simple_sequence_dataset import get_simple_sequence


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = ArgumentParser(__doc__.split("\n")[0])
    add = parser.add_argument
    add("-a", "--arch", choices=ARCHS, help="architecture (default: the file's)")
    add(
        "-u",
        "--unit",
        type=whole_number(1),
        help="units in each layer (default: the file's)",
    )
    add(
        "-g",
        "--gpu",
        type=whole_number(-(2**31)),
        default=-1,
        help="CUDA device, negative for the CPU",
    )
    add("-p", "--primeindex", type=whole_number(0), default=1, help="the number to begin with")
    add("-l", "--length", type=whole_number(1), default=100, help="how many numbers to generate")
    add("-m", "--modelpath", help="model file (default: result/{arch}_simple_sequence.model)")
    add(
        "--plot",
        type=picture,
        metavar="FILE",
        help="draw how the network counts over two periods into this .png, .pdf or .svg",
    )
    add("--layer", type=whole_number(1), metavar="N", help="with --plot: whose units are drawn")
    add("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    if args.layer and not args.plot:
        raise UsageError("argument --layer: is of use with --plot only")
    if args.gpu >= 0:
        check_gpu(args.gpu)
    return args


def main(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    args = parse_arguments(argv)
    path = args.modelpath or f"result/{args.arch or 'rnn'}_simple_sequence.model"
    try:
        arch, model = load_model(path)
    except BadFile as error:
        typed_wrong = args.modelpath and not os.path.isfile(path)
        raise (UsageError if typed_wrong else CommandError)(
            f"argument -m/--modelpath: {path} {error}; "
            "expected a file that train_simple_sequence.py has written"
        ) from error
    n_vocab, n_units = model.embed.W.shape
    for option, given, found in (("-a/--arch", args.arch, arch), ("-u/--unit", args.unit, n_units)):
        if given not in (None, found):
            raise UsageError(f"argument {option}: {path} has {found}, not {given}")
    if args.primeindex >= n_vocab:
        raise UsageError(
            f"argument -p/--primeindex: {args.primeindex} is not in the vocabulary of "
            f"{path}; choose from 0 to {n_vocab - 1}"
        )
    if args.plot:
        check_plot(args, arch, model)
    device = chainer.get_device(args.gpu)
    device.use()
    model.to_device(device)
    predicted = generate(model, args.primeindex, args.length)
    print(f"Predicted sequence: {predicted}")
    print(score(predicted, n_vocab))
    if args.plot:
        save_figure(draw_counting(model, arch, args.layer or 1), args.plot)
        print(f"Written: {args.plot}")
    return 0


def check_plot(args: argparse.Namespace, arch: str, model: Model) -> None:
    """Refuse what cannot be drawn."""
    n_layers = len(recurrent_layers(model))
    if args.layer is not None and args.layer > n_layers:
        raise UsageError(
            f"argument --layer: {arch} has no recurrent layer {args.layer}; "
            f"choose from 1 to {n_layers}"
        )
    n_vocab = len(model.embed.W)
    n_tokens = n_vocab * (n_vocab - 1)
    if not 0 < n_tokens <= MOST_TOKENS:
        raise UsageError(
            f"argument --plot: two periods of a vocabulary of {n_vocab} are {n_tokens:,} tokens; "
            f"from 1 to {MOST_TOKENS:,} can be drawn"
        )


def generate(model: Model, first: int, length: int) -> list[int]:
    """Let the model run free: feed each most likely prediction back in.

    Args:
        model: one of the architectures.
        first (int): id to begin with.
        length (int): how many ids to generate.

    Returns:
        list of int: ``length + 1`` ids, ``first`` included.
    """
    xp = model.xp
    ids = [first]
    model.reset_state()
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        for _ in range(length):
            logits = chainer.as_array(model(xp.asarray(ids[-1:], dtype=np.int32)))
            ids.append(int(logits[0].argmax()))
    return ids


def score(predicted: Sequence[int], n_vocab: int) -> str:
    """Say how many generated numbers agree with the sequence, from the first's first place on."""
    length = len(predicted) - 1
    period = get_simple_sequence(n_vocab, 1)
    places = np.flatnonzero(period == predicted[0])
    if not places.size:
        return f"{predicted[0]} never appears in the sequence: there is nothing to compare with."
    true = np.resize(np.roll(period, -places[0]), length + 1)
    right = np.asarray(predicted[1:]) == true[1:]
    text = f"{right.sum()} of {length} agree with the true continuation"
    return text + ("." if right.all() else f", the first {int(right.argmin())} without a mistake.")


if __name__ == "__main__":
    sys.exit(run_command(main))
