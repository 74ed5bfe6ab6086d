"""The commands in forked processes, which cost milliseconds: a new one imports for a second."""

import contextlib
import gc
import importlib
import multiprocessing
import os
import pathlib
import runpy
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

import matplotlib.figure

from tests.commands import ROOT

# What a command imports, and what it imports later.
for name in """
    train_simple_sequence predict_simple_sequence compare_architectures count_limits
    matplotlib.backends.backend_agg matplotlib.ticker numpy.random
    tensorboard.compat.proto tensorboard.summary.writer.record_writer
""".split():  # noqa: SIM905
    importlib.import_module(name)

_PNG = b"\x89PNG\r\n\x1a\n"
SIGNALS = [getattr(signal, f"SIG{name}") for name in ("INT", "TERM", "HUP", "XCPU", "USR1", "USR2")]


class Ended(NamedTuple):
    """What a command has come to: its exit code as a shell tells it, None if it was stuck."""

    command: str
    code: int | None
    out: str
    err: str

    def check(self, *codes: int) -> None:
        """Fail unless it has ended as every command does, or with one of these codes."""
        assert self.code is not None, f"stuck: {self}"
        assert self.code in (0, 1, 2, *codes), self
        lines = self.err.splitlines()
        assert len(lines) <= 1 and "unexpected" not in self.err, self
        if self.code in (1, 2):
            assert len(lines) == 1 and ": error: " in self.err, self


def run(
    script: str,
    arguments: Sequence[str],
    folder: pathlib.Path,
    prepare: Callable[[], object] = lambda: None,
    seconds: float = 600,
    stop: tuple[float, int] | None = None,
) -> Ended:
    """Run a command of the project in a folder, in a child of this process.

    Args:
        script: its file.
        arguments: what is typed after it.
        folder: where it runs.
        prepare: called in the child before.
        seconds: after which it is stuck, and killed; many, for the machine may be busy.
        stop: after how many seconds it is sent which signal.
    """
    command = shlex.join([script, *arguments])
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until Python's handler is gone
        gc.freeze()  # or the child's collector would touch, and so copy, all of our memory
        child = os.fork()
        if child == 0:
            _be_the_command(script, list(arguments), folder, prepare, out.fileno(), err.fileno())
        gc.unfreeze()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = _wait(child, seconds, stop)
        for file in (out, err):
            file.seek(0)
        texts = [file.read().decode(errors="replace") for file in (out, err)]
    return Ended(command, code, *texts)


def _wait(child: int, seconds: float, stop: tuple[float, int] | None) -> int | None:
    started = time.monotonic()
    done = 0
    try:
        while not done and (elapsed := time.monotonic() - started) < seconds:
            if stop and elapsed > stop[0]:
                os.kill(child, stop[1])
                stop = None
            time.sleep(0.002)
            done, status = os.waitpid(child, os.WNOHANG)
    finally:  # also when the test is interrupted
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # its own children, too
        if not done:
            os.kill(child, signal.SIGKILL)  # which has no group of its own at first
            os.waitpid(child, 0)
    if not done:
        return None
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _be_the_command(script, arguments, folder, prepare, out, err):
    code = 99
    try:
        os.setsid()
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.argv = [str(ROOT / script), *arguments]
        _make_cheap()
        prepare()
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as exit:
        code = exit.code
    except BaseException:
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = 120  # as Python's
    os._exit(code)


def _make_cheap():
    """Leave out what takes most of the time of a tiny training, and is tested elsewhere."""
    matplotlib.figure.Figure.savefig = lambda self, file, **options: file.write(_PNG)
    os.fsync = lambda descriptor: None
    contexts = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: contexts("fork")
