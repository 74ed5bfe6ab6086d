"""The output folder of a training: who writes into it, and which snapshot a training resumes.

Two trainings in one folder would destroy each other, so only one at a time holds it. The next one
may have other options, as in the tutorial. It moves the snapshots that it would overwrite into a
folder ``earlier-N`` there, and replaces log, pictures and model. The last snapshot brings these
back without training: ``-r result/earlier-1/snapshot_iter_225``.
"""

import contextlib
from collections.abc import Iterator, Mapping

from chainer.training import Trainer

from extensions.snapshot import OtherOptions, Snapshot
from support import command_line
from support.command_line import UsageError, file_error
from support.files import BadFile
from support.processes import here

# Name these first: with other data, much that nobody typed differs too.
_DATA = "--tokens", "--data"


@contextlib.contextmanager
def output_folder(path: str) -> Iterator[None]:
    """Make the folder if it is missing, and keep other trainings out of it.

    Raises:
        UsageError: if it cannot be written.
        CommandError: if another training is at work there.
    """
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        here.once(lambda: enter(command_line.output_folder(path, ".training.lock", path)))
        yield


def go_on(resume: str | None, snapshot: Snapshot, trainer: Trainer) -> None:
    """Restore a training from a snapshot.

    Args:
        resume (str or None): a path, or ``auto`` for the newest usable one; None to start afresh.
        snapshot (Snapshot): of the trainer.
        trainer (chainer.training.Trainer): with all its extensions.

    Raises:
        UsageError: if there is no such file, or it was trained with other options.
        CommandError: if the file is damaged, or cannot be read.
    """
    if resume is None:
        return
    if resume == "auto":
        snapshot.resume_newest(trainer, lambda *both: ", not ".join(_first_difference(*both)))
        return
    try:
        snapshot.resume(resume, trainer)
    except BadFile as error:
        expected = "'auto' or a file snapshot_iter_N that this command has written"
        raise file_error("-r/--resume", resume, error, expected) from error
    except OtherOptions as error:
        told, given = _first_difference(*error.args)
        raise UsageError(
            f"argument -r/--resume: {resume} was trained with {told}, not {given}; "
            f"give {told} or another snapshot"
        ) from error


def _first_difference(was: Mapping[str, object], now: Mapping[str, object]) -> tuple[str, str]:
    """The first option that differs, with its value in each."""
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    name = min(names, key=lambda name: name not in _DATA)
    told, given = (
        f"{name} {each[name]}".rstrip() if name in each else f"no {name}" for each in (was, now)
    )
    return told, given
