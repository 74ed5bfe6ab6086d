"""Load a trained model, let it run free from one number on, and score what it wrote.

python predict_simple_sequence.py
python predict_simple_sequence.py -a rnn2 -p 5 -l 45
"""

import sys

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
from models import ARCHS
from models.model_file import load_model
from safe_files import BadFile
from simple_sequence.simple_sequence_dataset import get_simple_sequence


def parse_arguments(argv):
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
    add("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    if args.modelpath is None:
        args.modelpath = f"result/{args.arch or 'rnn'}_simple_sequence.model"
    if args.gpu >= 0:
        check_gpu(args.gpu)
    return args


def main(argv):
    """Run the command; return its exit code."""
    args = parse_arguments(argv)
    try:
        arch, model = load_model(args.modelpath)
    except BadFile as error:
        raise CommandError(
            f"argument -m/--modelpath: {args.modelpath} {error}; "
            "expected a file that train_simple_sequence.py has written"
        ) from error
    n_vocab, n_units = model.embed.W.shape
    for option, given, found in (("-a/--arch", args.arch, arch), ("-u/--unit", args.unit, n_units)):
        if given not in (None, found):
            raise UsageError(f"argument {option}: {args.modelpath} has {found}, not {given}")
    if args.primeindex >= n_vocab:
        raise UsageError(
            f"argument -p/--primeindex: {args.primeindex} is not in the vocabulary of "
            f"{args.modelpath}; choose from 0 to {n_vocab - 1}"
        )
    device = chainer.get_device(args.gpu)
    device.use()
    model.to_device(device)
    predicted = generate(model, args.primeindex, args.length)
    print(f"Predicted sequence: {predicted}")
    print(score(predicted, n_vocab))
    return 0


def generate(model, first, length):
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
            logits = model(xp.asarray(ids[-1:], dtype=np.int32))
            ids.append(int(logits.array[0].argmax()))
    return ids


def score(predicted, n_vocab):
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
