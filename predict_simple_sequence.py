"""Load a trained model, let it run free, and score what it writes.

python predict_simple_sequence.py
python predict_simple_sequence.py -a rnn2 -p 5 -l 45
python predict_simple_sequence.py -a lstm --plot counting.png --layer 2
python predict_simple_sequence.py -a rnn3 --lies lies.png --page counter.html
python predict_simple_sequence.py -a lstm --prime "It was" --temperature 0.5
echo "It was" | python predict_simple_sequence.py -a lstm --prime -
"""

if __name__ == "__main__":
    from support.start import start

    start()

import argparse
import errno
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from io import TextIOWrapper
from itertools import chain, groupby

import chainer_compat
import chainer
import numpy as np
from numpy.typing import NDArray

from counting.figure import draw_counting, why_not_drawn
from counting.lies import why_not_told
from counting.lies_figure import draw_lies, read_all, summary
from counting.page import write_page
from counting.traces import recurrent_layers
from models import ARCHS, Model
from models.generation import Choice, most_likely, sampler, stream
from models.model_file import Trained, load_model, model_path
from own_data.prime import read_prime
from own_data.vocabulary import (
    BadToken,
    CharVocabulary,
    Vocabulary,
    WordVocabulary,
)
from simple_sequence.simple_sequence_dataset import get_simple_sequence
from support.command_line import (
    FOLDER,
    ArgumentParser,
    CommandError,
    UsageError,
    add_gpu_option,
    file_error,
    positive_number,
    whole_number,
)
from support.devices import check_gpu
from support.drawing import picture, save_figure
from support.files import BadFile, check_writable
from support.output import is_lost
from support.processes import run
from support.threads import choose_threads
from training.options import step_operations


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = ArgumentParser(__doc__)
    add = parser.add_argument
    add("-a", "--arch", choices=ARCHS, help="expected architecture (default: the model's)")
    add(
        "-u",
        "--unit",
        type=whole_number(1),
        help="expected units in each layer (default: the model's)",
    )
    add_gpu_option(parser)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "-p",
        "--primeindex",
        type=whole_number(0),
        metavar="ID",
        help="number to begin with (default: 1)",
    )
    begin.add_argument(
        "--prime",
        metavar="TEXT",
        help="text to begin with, for a model of your own data; - reads it from standard input, "
        "without its last line end",
    )
    add("-l", "--length", type=whole_number(1), default=100, help="how many tokens to generate")
    add(
        "--temperature",
        type=positive_number,
        metavar="T",
        help="sample; a smaller T prefers likely tokens more (default: take the likeliest)",
    )
    add(
        "--top-k",
        type=whole_number(1),
        metavar="K",
        help="sample from the K likeliest tokens (default: from all)",
    )
    add("--seed", type=whole_number(0, 2**32 - 1), help="seed of the sampling (default: 0)")
    add(
        "-m",
        "--modelpath",
        help=f"model file (default: {model_path(FOLDER, '{arch}', best=True)} if there is one, "
        f"else {model_path(FOLDER, '{arch}')})",
    )
    add(
        "--plot",
        type=picture,
        metavar="FILE",
        help="draw how the network counts into this .png, .pdf or .svg file",
    )
    add(
        "--layer",
        type=whole_number(1),
        metavar="N",
        help="with --plot: draw the units of this layer (default: 1)",
    )
    add(
        "--lies",
        type=picture,
        metavar="FILE",
        help="draw what the network does when it is told something false",
    )
    add(
        "--page",
        type=partial(picture, kinds=(".html",)),
        metavar="FILE",
        help="write a web page in which you can play with the network",
    )
    add("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args(argv)
    if args.layer and not args.plot:
        raise UsageError("argument --layer: works only with --plot")
    if args.seed is not None and not (args.temperature or args.top_k):
        raise UsageError("argument --seed: works only with --temperature or --top-k")
    if args.gpu >= 0:
        check_gpu(args.gpu)
    return args


def main(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    args = parse_arguments(argv)
    path = args.modelpath or default_model(args.arch or "rnn")
    try:
        arch, model, trained = load_model(path)
    except BadFile as error:
        expected = "a file that train_simple_sequence.py has written"
        refusal = file_error("-m/--modelpath", path, error, expected)
        # Nobody typed the default path.
        raise (refusal if args.modelpath else CommandError(str(refusal))) from error
    n_vocab, n_units = model.embed.W.shape
    for option, given, found in (("-a/--arch", args.arch, arch), ("-u/--unit", args.unit, n_units)):
        if given not in (None, found):
            raise UsageError(f"argument {option}: {path} has {found}, not {given}")
    vocabulary = trained.vocabulary
    if args.top_k is not None and args.top_k > n_vocab:
        raise UsageError(
            f"argument --top-k: {path} knows {n_vocab} tokens, not {args.top_k}; "
            f"choose from 1 to {n_vocab}"
        )
    check_figures(args, arch, model, vocabulary)
    prime = prime_ids(args, path, vocabulary, n_vocab)
    choose_threads(step_operations(arch, n_units, batch_size=1))
    device = chainer.get_device(args.gpu)
    device.use()
    model.to_device(device)
    choose: Choice = most_likely
    if args.temperature or args.top_k:
        choose = sampler(args.temperature or 1.0, args.top_k, args.seed or 0)
    try:
        ids = chain(prime, stream(model, prime, args.length, choose))
        if isinstance(vocabulary, CharVocabulary | WordVocabulary):
            write(vocabulary.pieces(ids))
        else:
            predicted = [int(id_) for id_ in ids]
        figure = draw_counting(model, arch, args.layer or 1) if args.plot else None
    except FloatingPointError as error:
        raise CommandError(
            f"argument -m/--modelpath: {path} predicts nothing, {error}; "
            "expected a model whose training did not diverge"
        ) from error
    if not isinstance(vocabulary, CharVocabulary | WordVocabulary):
        print(f"Predicted sequence: {predicted}")
    if vocabulary is None:
        print(score_of(predicted, n_vocab, trained))
    if figure:
        save_figure(figure, args.plot)
        print(f"Written: {args.plot}")
    if args.lies:
        numbers, changes = read_all(model)
        print(f"Told {len(numbers)} other numbers: {summary(numbers)}")
        save_figure(draw_lies(numbers, changes, arch), args.lies)
        print(f"Written: {args.lies}")
    if args.page:
        write_page(args.page, model, arch, trained)
        print(f"Written: {args.page}")
    return 0


def default_model(arch: str) -> str:
    """The best model on held-out data, if a training has kept one; else the last model."""
    best = model_path(FOLDER, arch, best=True)
    if not os.path.lexists(best):
        return model_path(FOLDER, arch)
    print(f"Using {best}, the best on held-out data; -m names another", file=sys.stderr)
    return best


def write(pieces: Iterable[str]) -> None:
    """Print a text piece by piece: at once on a terminal, buffered elsewhere."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has every character
    at_once = sys.stdout.isatty()
    begun = False
    try:
        for piece in pieces:
            print(piece, end="", flush=at_once)
            begun = True
            if is_lost():
                break
    finally:
        if begun:  # later output begins on a new line
            print()


def prime_ids(
    args: argparse.Namespace, path: str, vocabulary: Vocabulary | None, n_vocab: int
) -> Sequence[int] | NDArray[np.integer]:
    """The ids to begin with, as the options give them."""
    if args.prime is None:
        if args.primeindex is None:
            return [min(1, n_vocab - 1)]
        if args.primeindex >= n_vocab:
            raise UsageError(
                f"argument -p/--primeindex: {args.primeindex} is not in the vocabulary of "
                f"{path}; choose from 0 to {n_vocab - 1}"
            )
        return [args.primeindex]
    if vocabulary is None:
        raise UsageError(
            f"argument --prime: {path} is a model of the built-in sequence; "
            "give the number to begin with as -p/--primeindex"
        )
    expected = f"tokens of the data that {path} was trained on"
    text, name = args.prime, repr(args.prime)
    refusal: type[CommandError] = UsageError
    if text == "-":
        name, refusal = "standard input", CommandError
        try:
            text = read_prime(sys.stdin)
        except BadFile as error:
            raise refusal(f"argument --prime: {name} {error}; expected {expected}") from error
    try:
        ids = vocabulary.encode(text)
    except BadToken as error:
        raise refusal(f"argument --prime: {name} has {error.at(0)}; expected {expected}") from error
    if not len(ids):
        raise refusal(f"argument --prime: {name} holds no token; expected at least one")
    return ids


def check_figures(
    args: argparse.Namespace, arch: str, model: Model, vocabulary: Vocabulary | None
) -> None:
    """Refuse what cannot be drawn."""
    n_vocab = len(model.embed.W)
    n_layers = len(recurrent_layers(model))
    if args.layer is not None and args.layer > n_layers:
        raise UsageError(
            f"argument --layer: {arch} has no recurrent layer {args.layer}; "
            f"choose from 1 to {n_layers}"
        )
    for option, given, reason in (
        ("--plot", args.plot, why_not_drawn(n_vocab)),
        ("--lies", args.lies, why_not_told(n_vocab)),
        ("--page", args.page, None if vocabulary else why_not_told(n_vocab)),
    ):
        if given and vocabulary and option != "--page":
            raise UsageError(
                f"argument {option}: works only for a model of the built-in sequence; "
                "this one was trained on your own data"
            )
        if given and reason:
            raise UsageError(f"argument {option}: {reason}")
        if given:
            check_can_be_written(option, given)


def check_can_be_written(option: str, path: str) -> None:
    """Refuse a file that cannot be written, before the network runs for it."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        check_writable(os.path.dirname(path))
    except OSError as error:
        raise UsageError(
            f"argument {option}: {path} cannot be written ({error.strerror}); "
            "expected a file in a folder that is there and can be written"
        ) from error


def score_of(predicted: Sequence[int], n_vocab: int, trained: Trained) -> str:
    """Say how well a network of the built-in sequence has done, by the order that it learnt."""
    if trained.source == "shuffled":
        return score_of_runs(predicted)
    text = score(predicted, n_vocab)
    if trained.source is None:
        text += " This older file does not say in which order the runs were."
    return text


def score_of_runs(predicted: Sequence[int]) -> str:
    """Say how many numbers are in runs of the right length, in whichever order.

    The last run counts only if it is too long already: it might go on.
    """
    runs = [(number, len(list(run))) for number, run in groupby(predicted)]
    if runs[-1][1] <= runs[-1][0]:
        del runs[-1]
    right = sum(length for number, length in runs if length == number)
    return f"{right} of {sum(length for _, length in runs)} tokens in runs of the right length."


def score(predicted: Sequence[int], n_vocab: int) -> str:
    """Say how many numbers agree with the sequence, from where the first one first appears."""
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
    sys.exit(run(main, output_matters=True))
