"""The data of a training: the built-in sequence, or the user's own."""

import argparse
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counting.scores import periods
from models.model_file import Trained
from own_data.sequence_file import Fingerprint, read_sequence
from own_data.vocabulary import (
    CharVocabulary,
    IntegerVocabulary,
    Vocabulary,
    WordVocabulary,
)
from simple_sequence.simple_sequence_dataset import get_shuffled_runs, get_simple_sequence
from support.command_line import CommandError, UsageError, file_error
from support.files import BadFile
from support.processes import here
from training.options import check_sizes


class Data(NamedTuple):
    """What a network is trained and tested on.

    Attributes:
        train, test: ids, one-dimensional, of any integer type; the user's own are mapped into
            memory, not loaded.
        n_vocab: size of the vocabulary, above every id.
        vocabulary: of the user's own data, None for the built-in sequence.
        two_periods: of the built-in sequence, int32, from a 1 on; None for all other data.
        shuffled: whether this is the built-in sequence with its runs in random order.
        fixed: values that a snapshot is bound to, by option.
    """

    train: np.ndarray
    test: np.ndarray
    n_vocab: int
    vocabulary: Vocabulary | None
    two_periods: NDArray[np.int32] | None
    shuffled: bool
    fixed: dict[str, str | int | float]

    @property
    def held_out(self) -> bool:
        """Whether the network is tested on data that it is not trained on."""
        return self.test is not self.train

    @property
    def trained(self) -> Trained:
        """What the model file says of the data."""
        if self.vocabulary is not None:
            return Trained("own data", self.vocabulary)
        return Trained("shuffled" if self.shuffled else "ordered")

    def __str__(self) -> str:
        counts = f"{len(self.train):,} tokens, vocabulary of {self.n_vocab:,}"
        return f"{counts}, {len(self.test):,} held out" if self.held_out else counts


def read_data(args: argparse.Namespace) -> Data:
    """Make or read the data that the options name.

    The vocabulary covers all data, including held-out data: a token that occurs only there is never
    trained, but has an id.

    Raises:
        CommandError: if a file does not hold data of that kind, or the sizes cannot work.
    """
    if args.shuffle_runs:
        # Two draws in one; on the second, learning by rote does not help.
        runs = get_shuffled_runs(args.n_vocab, 2 * args.repeat, args.seed)
        train, test = np.split(runs, 2)
        fixed = {"--n-vocab": args.n_vocab, "--repeat": args.repeat, "--shuffle-runs": ""}
        return Data(train, test, args.n_vocab, None, None, True, fixed)
    if args.data is None:
        sequence = get_simple_sequence(args.n_vocab, args.repeat)
        fixed = {"--n-vocab": args.n_vocab, "--repeat": args.repeat}
        return Data(sequence, sequence, args.n_vocab, None, periods(args.n_vocab, 2), False, fixed)
    vocabulary: Vocabulary
    if args.tokens is None:
        vocabulary = IntegerVocabulary(args.n_vocab)
    else:
        vocabulary = CharVocabulary() if args.tokens == "char" else WordVocabulary()
    fixed = {} if args.tokens is None else {"--tokens": args.tokens}
    train, fixed["--data"] = _read("--data", args.data, vocabulary)
    test = train
    if args.valid is not None:
        test, fixed["--valid"] = _read("--valid", args.valid, vocabulary)
    elif args.valid_fraction is not None:
        train, test = _split(train, args.valid_fraction)
        fixed["--valid-fraction"] = args.valid_fraction
    n_vocab = len(vocabulary)
    fixed["--n-vocab"] = n_vocab
    check_sizes(args, n_vocab, len(train), "--data")
    return Data(train, test, n_vocab, vocabulary, None, False, fixed)


def _read(option: str, path: str, vocabulary: Vocabulary) -> tuple[np.ndarray, str]:
    """The ids in a file and their fingerprint, which only rank 0 takes and asks for."""
    fingerprint = Fingerprint() if here.rank == 0 else None
    try:
        ids = read_sequence(path, vocabulary, fingerprint)
    except BadFile as error:
        expected = "text in UTF-8"
        if vocabulary.kind == "integer":
            expected = (
                "whole numbers from 0, below --n-vocab if given, as .npy or text; "
                "plain text takes --tokens char or word"
            )
        raise file_error(option, path, error, expected) from error
    except OSError as error:
        raise CommandError(
            f"argument {option}: the ids of {path} cannot be written into a temporary file: "
            f"{error.strerror}; set TMPDIR to a folder with more room, or give the ids as .npy"
        ) from error
    return ids, fingerprint.of(vocabulary) if fingerprint else ""


def _split(sequence: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Cut off the last part, for testing."""
    n_test = round(len(sequence) * fraction)
    if not 2 <= n_test <= len(sequence) - 2:
        raise UsageError(
            f"argument --valid-fraction: {fraction} of {len(sequence)} tokens are {n_test}; "
            "training and testing need at least two each"
        )
    return sequence[:-n_test], sequence[-n_test:]
