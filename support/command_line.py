"""What the commands share: checked options, a progress bar, one-line errors."""

import argparse
import atexit
import contextlib
import errno
import gc
import math
import os
import platform
import shlex
import shutil
import string
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from support.files import (
    BadFile,
    InUse,
    NoFile,
    check_writable,
    held,
    remove_temporary_files,
)
from support.output import tolerant_output
from support.signals import in_order

_PLAIN = f"{string.ascii_letters}{string.digits}./_-"  # to every shell
ERASE = "\033[J"  # clears a terminal from the cursor on


# The terminal or the reader has gone, or the reader does not read.
_NOBODY_LISTENS = (errno.EIO, errno.EPIPE, errno.EAGAIN)

FOLDER = "result"  # the default output folder of the commands


class CommandError(Exception):
    """Something happened that ends the command; the user reads the text."""

    exit_code = 1


class UsageError(CommandError):
    """The user typed something that cannot be done."""

    exit_code = 2


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Names an option's default after its meaning, if it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if not action.default else super()._get_help_string(action)


class ArgumentParser(argparse.ArgumentParser):
    """An ``argparse.ArgumentParser`` whose errors are one line, without the usage before it.

    Args:
        description (str or None): a module's docstring, which is None under ``python -OO``. Its
            first line says what the command does.
    """

    def __init__(self, description: str | None) -> None:
        summary = description and description.partition("\n")[0]
        super().__init__(description=summary, formatter_class=_HelpFormatter)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse, but refuse ``--length=--``, whose value argparse drops before 3.13."""
        parsed, rest = super().parse_known_args(args, namespace)
        for action in self._actions:
            if getattr(parsed, action.dest, None) == []:
                self.error(f"argument {'/'.join(action.option_strings)}: '--' is not a value")
        return parsed, rest

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line on stderr and exit with code 2."""
        message = one_line(f"{self.prog}: error: {message} (see --help)")
        self.exit(UsageError.exit_code, f"{message}\n")


def one_line(text: str) -> str:
    """The text with each run of white space as one space, and control characters escaped."""
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def whole_number(at_least: int, at_most: int = 2**31 - 1) -> Callable[[str], int]:
    """An argparse type: an integer within bounds."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = at_least - 1
        if not at_least <= value <= at_most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {at_least} to {at_most}"
            )
        return value

    return parse


def positive_number(text: str) -> float:
    """An argparse type: a finite number above zero."""
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def number(text: str) -> float:
    """The number that a text spells, NaN if it spells none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def progress_bar(share: float, text: str) -> str:
    """A bar and a text, in one line of the terminal however narrow it is.

    The cursor returns to the start of the line, so the next output replaces it.

    Args:
        share (float): share of the work that is done, from 0 to 1.
        text (str): follows the bar; cut if there is no room.
    """
    columns = shutil.get_terminal_size().columns - 1  # a full line would wrap
    width = min(20, columns - len(text) - 3)
    bar = f"[{'#' * min(int(width * share), width):.<{width}}] " if width >= 5 else ""
    return f"{ERASE}{(bar + text)[:columns]}\r"


def add_gpu_option(parser: argparse.ArgumentParser) -> None:
    """Add ``-g/--gpu``; see :func:`check_gpu`."""
    help_text = "CUDA device; negative for the CPU"
    parser.add_argument("-g", "--gpu", type=whole_number(-(2**31)), default=-1, help=help_text)


class _FlagParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def given_flags(argv: Sequence[str]) -> argparse.Namespace:
    """Which of ``--debug`` and ``--distributed`` are given, abbreviated or not.

    They decide how a command runs, so they are read before the command's own parser, which reports
    what is wrong with the rest.
    """
    parser = _FlagParser(add_help=False)
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--distributed", action="store_true")
    try:
        return parser.parse_known_args(argv)[0]
    except ValueError:
        return argparse.Namespace(debug=False, distributed=False)


def file_error(option: str, path: str, why: object, expected: str) -> CommandError:
    """What to raise for a bad file that an option names: UsageError if missing, else CommandError.

    Args:
        option (str): such as ``-r/--resume``.
        path (str): its value.
        why: what is wrong, as a predicate, such as a :class:`support.files.BadFile`.
        expected (str): what would be accepted.
    """
    kind = UsageError if isinstance(why, NoFile) else CommandError
    return kind(f"argument {option}: {path or repr(path)} {why}; expected {expected}")


def run_command(
    main: Callable[[list[str]], int | None],
    argv: list[str] | None = None,
    output_matters: bool = False,
) -> int:
    """Run ``main(argv)``; turn what goes wrong into one line on stderr and an exit code.

    Warnings, such as about overflow, are hidden, because the code reports what matters. With
    ``--debug`` among the arguments they are shown, and a traceback precedes the line.

    Args:
        main: the command.
        argv (list of str or None): its arguments, None for those of the process.
        output_matters (bool): the command's purpose is its output. Other commands succeed even if
            the terminal or the reader has gone; they report only other failures, as a full disk.

    Returns:
        int: the exit code.
    """
    # At exit Python searches all objects for unreachable cycles. Freezing them saves a tenth of a
    # second.
    atexit.register(gc.freeze)
    argv = sys.argv[1:] if argv is None else argv
    given = given_flags(argv)
    with tolerant_output() as stdout:
        try:
            # Other processes would wait for one that cleans up. It ends at once, and ends them.
            clearing_away = contextlib.nullcontext() if given.distributed else in_order()
            with clearing_away, warnings.catch_warnings():
                if not given.debug:
                    warnings.simplefilter("ignore")
                code = main(argv) or 0
        except SystemExit as end:  # from argparse, which has said why, or from a signal
            code = int(end.code or 0)
        except (Exception, KeyboardInterrupt) as error:
            message, code = _explain(error)
            if given.debug:
                traceback.print_exc()
            _say(message)
        sys.stdout.flush()
        lost = stdout and stdout.failure
        if not lost or code:
            return code
        if output_matters and lost.errno == errno.EPIPE:
            return 128 + 13  # like any tool that SIGPIPE has ended
        if output_matters or lost.errno not in _NOBODY_LISTENS:
            _say(f"standard output cannot be written: {lost.strerror}")
            return 1
        return 0


def _say(message: str) -> None:
    print(one_line(f"{os.path.basename(sys.argv[0])}: error: {message}"), file=sys.stderr)


def another_command(script: str) -> list[str]:
    """The words that start another command the way the user started this one."""
    return [sys.orig_argv[0], os.path.join(os.path.dirname(sys.argv[0]), script)]


def shell_command(words: Sequence[str]) -> str:
    """The words as one line to paste into a shell, whatever characters file names contain."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if word.isprintable() and word.encode(encoding, "replace").decode(encoding) == word:
        return shlex.quote(word)
    # This encoding cannot show the word: quote its bytes as bash and zsh read them.
    letters = map(chr, os.fsencode(word))
    plain = (c if c in _PLAIN else f"\\{ord(c):03o}" for c in letters)
    return f"$'{''.join(plain)}'"


def path_word(path: str) -> str:
    """The path as a word of a command line that cannot be mistaken for an option."""
    return os.path.join(".", path) if path.startswith("-") else path


def _explain(error: BaseException) -> tuple[str, int]:
    """Message and exit code for what has ended a command."""
    if isinstance(error, CommandError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    if isinstance(error, MemoryError):
        if type(error).__module__.startswith("cupy"):
            return f"not enough memory on the GPU for these sizes: {error}", 1
        return "not enough memory for these sizes", 1
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}", 1
    return f"unexpected {type(error).__name__}: {error} (--debug tells more)", 1


@contextlib.contextmanager
def output_folder(path: str, lock: str, place: str) -> Iterator[None]:
    """Within this context, no other process of the same command writes into the output folder.

    The lock comes first: a command that is refused has changed nothing. Then what a crash of this
    command has left there is removed.

    Args:
        path (str): the folder; it is made if it is missing, and removed if it stays empty.
        lock (str): name of the lock file in it, see :func:`support.files.held`.
        place (str): path of what is written, for the message.

    Raises:
        UsageError: if the folder cannot be written.
        CommandError: if another process is at work there.
    """
    holder = f"process {os.getpid()} of {platform.node()}, {shlex.join(sys.orig_argv)}"
    with contextlib.ExitStack() as stack:
        try:
            for missing in _missing(path):
                with contextlib.suppress(FileExistsError):  # another start has just made it
                    os.mkdir(missing)
                    stack.callback(_remove_if_empty, missing)
            os.makedirs(path, exist_ok=True)  # says what is wrong with it
            stack.enter_context(held(os.path.join(path, lock), holder))
            check_writable(path)
            remove_temporary_files(path)
        except InUse as error:
            raise CommandError(
                f"argument -o/--out: {place} is in use by {str(error) or 'another process'}; "
                "wait until that ends, or choose another folder"
            ) from error
        except BadFile as error:
            raise CommandError(
                f"argument -o/--out: {os.path.join(path, lock)} {error}; expected a lock file of "
                "this command, or none: remove it, or choose another folder"
            ) from error
        except OSError as error:
            raise UsageError(
                f"argument -o/--out: {path or repr(path)} cannot be written ({error.strerror}); "
                "expected a folder, or a path where one can be made"
            ) from error
        yield


def _missing(path: str) -> list[str]:
    """The folders on the way to a path that do not exist, outermost first."""
    missing: list[str] = []
    while path and not os.path.lexists(path):
        missing.insert(0, path)
        path = os.path.dirname(path.rstrip("/"))
    return missing


def _remove_if_empty(folder: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(folder)
