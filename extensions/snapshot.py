"""Snapshots that hold all a training depends on, and going on from one."""

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import chainer_compat

import numpy as np
from chainer.serializers import DictionarySerializer, NpzDeserializer
from chainer.training import Extension, Trainer
from numpy.typing import NDArray

from command_line import CommandError, UsageError
from safe_files import BadFile, read_arrays, write_arrays

_FORMAT = 1
_NAME = re.compile(r"snapshot_iter_(\d+)")
_MODEL = "updater/model:main"

Option = str | int | float | None


class Snapshot(Extension):
    """Saves the trainer as ``snapshot_iter_N``, and loads it.

    Chainer's own extension writes a file that can be half there, that takes the recurrent state
    for nothing and that any training can load. This one names the run and what it was trained
    with, and is saved once more when the training ends.

    Args:
        fixed (dict): options by name that a training cannot change on its way.
        changeable (dict): those that it can.
        keep (int or None): how many snapshots of this run stay in the folder, None for all.
    """

    priority = -100  # after everything whose state the snapshot holds
    default_name = "snapshot"

    def __init__(
        self,
        fixed: Mapping[str, Option],
        changeable: Mapping[str, Option],
        keep: int | None = None,
    ) -> None:
        self.about: dict[str, Any] = {
            "format": _FORMAT,
            "run": secrets.token_hex(8),
            "started": time.time(),
            "fixed": fixed,
            "changeable": changeable,
        }
        self.keep = keep
        self.last: str | None = None  # path of the last good snapshot
        self._trainer: Trainer | None = None
        self._failed = False

    def initialize(self, trainer: Trainer) -> None:
        """Remember the trainer for the end."""
        self._trainer = trainer

    def __call__(self, trainer: Trainer) -> None:
        """Save the trainer unless this iteration is saved already.

        Raises:
            CommandError: if a parameter is not finite; nothing is written then.
            OSError: if the file cannot be written.
        """
        iteration = trainer.updater.iteration
        path = os.path.join(trainer.out, f"snapshot_iter_{iteration}")
        if iteration == 0 or path == self.last:
            return
        serializer = DictionarySerializer()
        serializer.save(trainer)
        arrays = serializer.target
        bad = _not_finite(arrays)
        if bad:
            raise CommandError(
                f"parameter {bad} is not finite after iteration {iteration}; {self.advice()}"
            )
        about = json.dumps({**self.about, "arrays": _manifest(arrays)})
        write_arrays(path, {"snapshot": about, **arrays})
        self.last = path
        if self.keep:
            self._remove_old(trainer.out)

    def advice(self) -> str:
        """What can be said to a user whose training has failed."""
        if self.last is None:
            return "no snapshot was saved before"
        return f"the last good snapshot is {self.last}"

    def on_error(
        self, trainer: Trainer, exception: Exception, traceback: TracebackType | None
    ) -> None:
        """Note that what the trainer holds now is not to be saved."""
        self._failed = True

    def finalize(self) -> None:
        """Save what the last snapshot does not hold yet, unless the training has failed."""
        if self._trainer is not None and not self._failed:
            self(self._trainer)

    def _remove_old(self, folder: str) -> None:
        for _, path in self._own(folder)[self.keep :]:
            os.remove(path)

    def _own(self, folder: str) -> list[tuple[int, str]]:
        """Iteration and path of this run's snapshots, newest iteration first."""
        own = []
        for iteration, path in _snapshots(folder):
            with contextlib.suppress(BadFile):
                if _about(path)["run"] == self.about["run"]:
                    own.append((iteration, path))
        return own

    def resume(self, path: str, trainer: Trainer) -> None:
        """Go on from a snapshot; print which options have changed since.

        Raises:
            UsageError: if the file is none or was trained with other fixed options.
            CommandError: if the file is damaged.
        """
        try:
            about = _about(path)
            for option, was in about["fixed"].items():
                now = self.about["fixed"].get(option)
                if was != now:
                    raise UsageError(
                        f"argument -r/--resume: {path} was trained with {option} {was}, "
                        f"not {option} {now}; give {option} {was} or another snapshot"
                    )
            _load(path, about, trainer)
        except BadFile as error:
            usage = not os.path.isfile(path)
            kind = UsageError if usage else CommandError
            raise kind(
                f"argument -r/--resume: {path} {error}; "
                "expected 'auto' or a file snapshot_iter_N that this command has written"
            ) from error
        self._adopt(path, about)
        # Whoever goes back to an old snapshot leaves the way that led to those after it.
        newest = max((n for n, _ in self._own(trainer.out)), default=0)
        if newest > trainer.updater.iteration:
            self.about.update(run=secrets.token_hex(8), started=time.time())

    def resume_newest(self, trainer: Trainer) -> None:
        """Go on from the newest usable snapshot of this configuration's newest run, if any."""
        matching = []
        for _, path in _snapshots(trainer.out):
            try:
                about = _about(path)
                if about["fixed"] == self.about["fixed"]:
                    matching.append((path, about))
                else:
                    print(f"Passed over {path}: it was trained with other options")
            except BadFile as error:
                print(f"Passed over {path}: it {error}")
        newest = max((about["started"] for _, about in matching), default=None)
        for path, about in matching:
            if about["started"] != newest:
                print(f"Passed over {path}: it is of an earlier run")
                continue
            if self.last is None:
                try:
                    _load(path, about, trainer)
                    self._adopt(path, about)
                except BadFile as error:
                    print(f"Passed over {path}: it {error}")
        if self.last is None:
            print(f"No snapshot to resume from in {trainer.out}, starting afresh")

    def _adopt(self, path: str, about: Mapping[str, Any]) -> None:
        """Become the run that the snapshot is of, or, where its way changes, a new one."""
        print(f"Resuming from {path}")
        self.last = path
        changed = []
        for option, now in self.about["changeable"].items():
            was = about["changeable"].get(option)
            if was != now:
                changed.append(option)
                print(f"Changed since: {option} is {now}, was {was}")
        if not {"--lr", "--gradclip"}.intersection(changed):
            self.about.update(run=about["run"], started=about["started"])


def _snapshots(folder: str) -> list[tuple[int, str]]:
    """Iteration and path of every snapshot in the folder by its name, newest iteration first."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [(match, name) for name in names if (match := _NAME.fullmatch(name))]
    paths = [(int(match[1]), os.path.join(folder, name)) for match, name in found]
    return sorted(paths, reverse=True)


def _about(path: str) -> dict[str, Any]:
    """What a snapshot says of itself."""
    text = read_arrays(path, only="snapshot").get("snapshot")
    try:
        about = json.loads(str(text))
        known = set(about) >= {"format", "run", "started", "fixed", "changeable", "arrays"}
    except (ValueError, TypeError):
        known = False
    if not known:
        raise BadFile("is no snapshot of this program")
    if about["format"] != _FORMAT:
        raise BadFile("is a snapshot of another version of this program")
    return about


def _load(path: str, about: Mapping[str, Any], trainer: Trainer) -> None:
    """Bring the trainer to the state that the snapshot holds, or raise BadFile and leave it."""
    model = trainer.updater.get_optimizer("main").target
    n_bytes = sum(param.array.nbytes for param in model.params())
    # Parameters, Adam's two moments and, generously, recurrent state and log.
    arrays = read_arrays(path, limit=4 * n_bytes + 2**28)
    arrays.pop("snapshot")
    if _manifest(arrays) != about["arrays"]:
        raise BadFile("does not hold the arrays that it says")
    for name, param in model.namedparams():
        array = arrays.get(_MODEL + name)
        if array is None or array.shape != param.shape or array.dtype != param.dtype:
            raise BadFile(f"does not hold parameter {name} as it is here")
    bad = _not_finite(arrays)
    if bad:
        raise BadFile(f"holds a parameter that is not finite ({bad})")
    try:
        NpzDeserializer(arrays).load(trainer)
    except (KeyError, ValueError, TypeError) as error:
        raise BadFile(f"does not fit this version of the program ({error})") from error


def _manifest(arrays: Mapping[str, NDArray]) -> dict[str, list]:
    """Type and shape of each array by its name, as JSON keeps them."""
    return {
        name: [array.dtype.str, list(array.shape)]
        for name, array in ((name, np.asarray(array)) for name, array in arrays.items())
    }


def _not_finite(arrays: Mapping[str, NDArray]) -> str | None:
    """Name of a model's parameter that holds NaN or infinity, or None."""
    for name, array in arrays.items():
        if name.startswith(_MODEL) and not np.isfinite(array).all():
            return name.removeprefix(_MODEL)
    return None
