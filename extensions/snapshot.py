"""Snapshots that hold all a training depends on, and going on from one."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import chainer_compat

import numpy as np
from chainer.training import Extension, Trainer
from numpy.typing import NDArray

from extensions.snapshot_file import (
    age,
    all_streams,
    arrays_of,
    load_snapshot,
    not_finite,
    read_about,
    restore,
    save_snapshot,
    survey,
)
from own_data.vocabulary import Vocabulary, to_json
from support.command_line import CommandError, UsageError, file_error, one_line
from support.files import BadFile
from training.processes import here


class Snapshot(Extension):
    """Saves the trainer as ``snapshot_iter_N``, and loads it.

    Chainer's own extension writes a file that can be half there, that takes the recurrent state
    for nothing and that any training can load. This one names the run and what it was trained
    with, and is saved once more when the training ends. Of several processes
    one writes the states of all streams, so that any number of them can go on.

    Args:
        fixed (dict): options by name that a training cannot change on its way.
        changeable (dict): those that it can.
        keep (int or None): how many snapshots of this run stay in the folder, None for all.
        vocabulary (Vocabulary or None): of the data, kept in each snapshot as the array
            ``vocabulary``, its text in UTF-8.
    """

    priority = -100  # after everything whose state the snapshot holds
    default_name = "snapshot"

    def __init__(
        self,
        fixed: Mapping[str, Any],
        changeable: Mapping[str, Any],
        keep: int | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.about: dict[str, Any] = {
            "run": here.once(secrets.token_hex, 8),
            "order": None,
            "fixed": fixed,
            "changeable": changeable,
        }
        self.keep = keep
        self.vocabulary = None if vocabulary is None else to_json(vocabulary).encode()
        self.last: str | None = None  # path of the last good snapshot
        self._iteration = 0  # that it is of
        self._resumed: tuple[int, str | None] = 0, None  # iteration and path
        self._own: list[tuple[int, str]] = []  # this run's up to now, oldest first
        self._trainer: Trainer | None = None
        self._failed = False

    def initialize(self, trainer: Trainer) -> None:
        """Find the run's place among those of the folder."""
        self._trainer = trainer
        found = here.once(survey, trainer.out)
        if self.about["order"] is None:
            latest = max((about["order"] for about, _ in found), default=0)
            self.about["order"] = max(time.time_ns(), latest + 1)
        run = self.about["run"]
        own = [(about["iteration"], path) for about, path in found if about["run"] == run]
        self._own = sorted(pair for pair in own if pair[0] <= self._iteration)

    def __call__(self, trainer: Trainer) -> None:
        """Save the trainer unless this iteration is saved already.

        Raises:
            CommandError: if a parameter is not finite; nothing is written then.
            OSError: if the file cannot be written.
        """
        iteration = trainer.updater.iteration
        if iteration == self._iteration:
            return
        arrays = arrays_of(trainer)
        if self.vocabulary is not None:
            arrays["vocabulary"] = np.frombuffer(self.vocabulary, np.uint8)
        bad = not_finite(arrays)
        if bad:
            raise CommandError(f"{bad} is not finite after iteration {iteration}; {self.advice()}")
        path = os.path.join(trainer.out, f"snapshot_iter_{iteration}")
        arrays = all_streams(arrays)
        about = {**self.about, "iteration": iteration}
        here.once(save_snapshot, path, about, arrays)
        self.last, self._iteration = path, iteration
        self._own.append((iteration, path))

    def confirm(self) -> None:
        """Take note that what was saved last gives a finite loss: older ones can go."""
        while self.keep and len(self._own) > self.keep:
            _, path = self._own.pop(0)
            here.once(self._remove, path)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(BadFile, FileNotFoundError):
            if read_about(path)["run"] == self.about["run"]:  # and not overwritten by another
                os.remove(path)

    def withdraw(self, iteration: int) -> None:
        """Take back what was saved of this iteration and later: it gives a bad loss."""
        while self._own and self._own[-1][0] >= iteration:
            number, path = self._own.pop()
            if number > self._resumed[0] and here.rank == 0:
                with contextlib.suppress(OSError):
                    os.remove(path)
        good = [pair for pair in (self._resumed, *self._own) if pair[0] < iteration]
        self.last = max(good)[1] if good else None

    def advice(self) -> str:
        """What can be said to a user whose training has failed."""
        if self.last is None:
            return "no good snapshot was saved before"
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
            self.confirm()

    def resume(self, path: str, trainer: Trainer) -> None:
        """Go on from a snapshot; print which options have changed since.

        Raises:
            UsageError: if the file is none or was trained with other fixed options.
            CommandError: if the file is damaged.
        """
        self._together(lambda: self._resume(path, trainer), trainer)

    def _resume(self, path: str, trainer: Trainer) -> dict[str, NDArray]:
        try:
            about = read_about(path)
            fixed = self.about["fixed"]
            # Of other data much else differs, too, that nobody has typed.
            data = "--tokens", "--data"
            for option in sorted({**about["fixed"], **fixed}, key=lambda name: name not in data):
                now, was = (_given(option, each) for each in (fixed, about["fixed"]))
                if was != now:
                    raise UsageError(
                        f"argument -r/--resume: {path} was trained with {was}, not {now}; "
                        f"give {was} or another snapshot"
                    )
            arrays = load_snapshot(path, about, trainer)
        except BadFile as error:
            expected = "'auto' or a file snapshot_iter_N that this command has written"
            raise file_error("-r/--resume", path, error, expected) from error
        self._adopt(path, about)
        # Whoever goes back to an old snapshot leaves the way that led to those after it.
        found = [other for other, _ in survey(trainer.out) if other["fixed"] == about["fixed"]]
        if any(age(other) > age(about) for other in found):
            self._begin_anew()
        return arrays

    def resume_newest(self, trainer: Trainer) -> None:
        """Go on from the newest usable snapshot of this configuration's newest run, if any."""
        self._together(lambda: self._resume_newest(trainer), trainer)

    def _resume_newest(self, trainer: Trainer) -> dict[str, NDArray]:
        arrays: dict[str, NDArray] = {}
        found = []
        for about, path in survey(trainer.out, say=True):
            if about["fixed"] == self.about["fixed"]:
                found.append((about, path))
            else:
                print(f"Passed over {path}: it was trained with other options")
        resumed = None
        for about, path in sorted(found, key=lambda pair: age(pair[0]), reverse=True):
            if resumed is None:
                try:
                    arrays = load_snapshot(path, about, trainer)
                    resumed = about, path
                except BadFile as error:
                    print(f"Passed over {path}: it {error}")
            elif about["run"] != resumed[0]["run"]:
                print(f"Passed over {path}: it is of an earlier run")
        if resumed:
            self._adopt(resumed[1], resumed[0])
        else:
            print(f"No snapshot to resume from in {trainer.out}, starting afresh")
        return arrays

    def _together(self, resume: Callable[[], dict[str, NDArray]], trainer: Trainer) -> None:
        """Resume on rank 0; bring trainer and snapshot of the other processes to where it is.

        Nothing is restored from no arrays: then there was no snapshot.
        """
        resumed = here.once(
            lambda: (resume(), self.about, self.last, self._iteration, self._resumed)
        )
        arrays, self.about, self.last, self._iteration, self._resumed = resumed
        if arrays and here.rank > 0:
            restore(arrays, trainer)

    def _adopt(self, path: str, about: Mapping[str, Any]) -> None:
        """Become the run that the snapshot is of, or, where its way changes, a new one."""
        print(f"Resuming from {path}")
        self.last, self._iteration = path, about["iteration"]
        self._resumed = about["iteration"], path
        self.about.update(run=about["run"], order=about["order"])
        changed = []
        for option, now in self.about["changeable"].items():
            was = about["changeable"].get(option)
            if was != now:
                changed.append(option)
                print(one_line(f"Changed since: {option} is {now}, was {was}"))
        if {"--lr", "--gradclip"}.intersection(changed):
            self._begin_anew()

    def _begin_anew(self) -> None:
        self.about.update(run=secrets.token_hex(8), order=None)


def _given(option: str, values: Mapping[str, Any]) -> str:
    """An option with its value, to be read."""
    return f"{option} {values[option]}" if option in values else f"no {option}"
