"""Snapshots that hold all a training depends on, and resuming from one.

A folder holds the snapshots of one training, ``snapshot_iter_N`` after its update N. A training
that starts there, or resumes an earlier snapshot, first moves the later ones into a folder
``earlier-1`` there, the next time into ``earlier-2``. So nothing is ever overwritten, and the
newest snapshot has the highest number.
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from chainer.training import Extension, Trainer
from numpy.typing import NDArray

from extensions.finite_loss import NotFinite
from extensions.snapshot_file import (
    NAME,
    all_streams,
    arrays_of,
    load_snapshot,
    not_finite,
    numbered,
    read_about,
    restore,
    save_snapshot,
)
from own_data.vocabulary import Vocabulary, to_json
from support.command_line import CommandError, one_line
from support.files import BadFile, Unreadable, move_files
from support.processes import here
from support.threads import arithmetic, use_threads_as_before

_EARLIER = "earlier-"
_Found = tuple[str, dict[str, Any], dict[str, NDArray]]  # path, what it says of itself, arrays


class OtherOptions(Exception):
    """A snapshot was trained with other fixed options; ``args`` are its own and the given ones."""


class Snapshot(Extension):
    """Saves the trainer as ``snapshot_iter_N``, and loads it.

    Chainer's own extension may leave half a file, leaves out the recurrent state, and lets any
    training load it. This one records the options of its training, and is saved again when the
    training ends. One of several processes writes the states of all streams, so any number of
    processes can resume.

    Args:
        fixed (dict): options by name that must not change when a training is resumed.
        changeable (dict): those that may change.
        steering (collection of str): those of them whose change makes it a different run.
        keep (int or None): how many snapshots of this run stay in the folder, None for all.
        vocabulary (Vocabulary or None): of the data, kept in each snapshot as the array
            ``vocabulary``, its text in UTF-8.
        set_aside (collection of str): other files of a training, moved with its snapshots.
    """

    priority = -100  # after everything whose state the snapshot holds
    default_name = "snapshot"

    def __init__(
        self,
        fixed: Mapping[str, Any],
        changeable: Mapping[str, Any],
        steering: Collection[str] = (),
        keep: int | None = None,
        vocabulary: Vocabulary | None = None,
        set_aside: Collection[str] = (),
    ) -> None:
        run = here.once(secrets.token_hex, 8)
        self.about: dict[str, Any] = {"run": run, "fixed": fixed, "changeable": changeable}
        self.steering = steering
        self.keep = keep
        self.vocabulary = None if vocabulary is None else to_json(vocabulary).encode()
        self.set_aside = set_aside
        self._iteration = 0  # saved last
        self._resumed: tuple[int, str] = 0, ""  # iteration and path
        self._own: list[tuple[int, str]] = []  # this run's in the folder, oldest first
        self._trainer: Trainer | None = None
        self._failed = False

    def initialize(self, trainer: Trainer) -> None:
        """Make way in the folder for the new snapshots."""
        self._trainer = trainer
        self.about["arithmetic"] = arithmetic()
        self._own = here.once(self._make_way, trainer.out)

    def _make_way(self, folder: str) -> list[tuple[int, str]]:
        """Move what did not lead here; return the snapshots that did, oldest first."""
        iteration, path = self._resumed
        if os.path.realpath(os.path.dirname(path)) != os.path.realpath(folder):
            iteration = 0  # the resumed snapshot is in another folder
        found = numbered(folder)
        others = [found.pop(number) for number in list(found) if number > iteration]
        if others or not iteration:
            others += filter(os.path.lexists, self.set_aside)
        if others:
            latest = max(numbered(folder, _EARLIER), default=0)
            aside = os.path.join(folder, f"{_EARLIER}{latest + 1}")
            # Lowest first: if this is cut short, the newest one is still the newest here.
            move_files(others, aside)
            print(f"Earlier snapshots are now in {aside}", flush=True)
        # Only snapshots that are certainly ours may be counted and removed.
        return [(n, p) for n, p in found.items() if not self.keep or self._is_own(p)]

    def _is_own(self, path: str) -> bool:
        try:
            return read_about(path)["run"] == self.about["run"]
        except BadFile:
            return False

    def __call__(self, trainer: Trainer) -> None:
        """Save the trainer unless this iteration is saved already.

        Raises:
            NotFinite: if a parameter is not finite; nothing is written then.
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
            raise NotFinite(f"{bad} is not finite after iteration {iteration}")
        path = os.path.join(trainer.out, f"{NAME}{iteration}")
        here.once(save_snapshot, path, {**self.about, "iteration": iteration}, all_streams(arrays))
        self._iteration = iteration
        self._own.append((iteration, path))

    def confirm(self) -> None:
        """Accept the last snapshot, which gives a finite loss, and remove old ones."""
        while self.keep and len(self._own) > self.keep:
            here.once(self._remove, self._own.pop(0)[1])

    def _remove(self, path: str) -> None:
        if self._is_own(path):  # another run may have replaced it since
            try:
                os.remove(path)
            except OSError as error:  # one file too many must not end a training
                message = f"warning: {path} cannot be removed: {error.strerror}"
                print(one_line(message), file=sys.stderr)

    def withdraw(self, iteration: int) -> None:
        """Remove what was saved from this iteration on: it gives a bad loss."""
        while self._own and self._own[-1][0] >= iteration:
            number, path = self._own.pop()
            if number > self._resumed[0] and here.rank == 0:
                with contextlib.suppress(OSError):
                    os.remove(path)
        if self._resumed[0] >= iteration:
            self._resumed = 0, ""

    def _good(self) -> list[str]:
        """Paths of the snapshots that led here, oldest first."""
        return [path for _, path in sorted({self._resumed, *self._own}) if path]

    @property
    def last(self) -> str | None:
        """Path of the last good snapshot."""
        return self._good()[-1] if self._good() else None

    def advice(self) -> str:
        """What to tell a user whose training has failed."""
        there = list(filter(os.path.exists, self._good()))
        return f"the last good snapshot is {there[-1]}" if there else "there is no good snapshot"

    def on_error(
        self, trainer: Trainer, exception: Exception, traceback: TracebackType | None
    ) -> None:
        """Note that the trainer's present state must not be saved."""
        self._failed = True

    def finalize(self) -> None:
        """Save what the last snapshot lacks, unless the training has failed."""
        if self._trainer is not None and not self._failed:
            self(self._trainer)
            self.confirm()

    def resume(self, path: str, trainer: Trainer) -> None:
        """Resume from a snapshot; print what has changed since.

        Raises:
            BadFile: if the file is not a snapshot, is damaged, or cannot be read.
            OtherOptions: if it was trained with other fixed options.
        """
        self._go_on(here.once(self._load, path, trainer), trainer)

    def _load(self, path: str, trainer: Trainer, number: int | None = None) -> _Found:
        about = read_about(path)
        if number not in (None, about["iteration"]):
            raise BadFile("is of a different update than its name says")
        if about["fixed"] != self.about["fixed"]:
            raise OtherOptions(about["fixed"], self.about["fixed"])
        return path, about, load_snapshot(path, about, trainer)

    def resume_newest(self, trainer: Trainer) -> None:
        """Resume from the newest usable snapshot in the trainer's folder, if there is one.

        Snapshots in a folder ``earlier-N`` are older than those beside the folder. Damaged ones and
        those trained with other options are passed over, and named.

        Raises:
            CommandError: if a snapshot cannot be read: it may be the newest.
            OSError: if a folder cannot be listed.
        """
        self._go_on(here.once(self._load_newest, trainer), trainer)

    def _load_newest(self, trainer: Trainer) -> _Found | None:
        earlier = numbered(trainer.out, _EARLIER).values()
        for folder in (trainer.out, *reversed(earlier)):
            for number, path in reversed(numbered(folder).items()):
                try:
                    found = self._load(path, trainer, number)
                except OtherOptions:
                    print(f"Passed over {path}: it was trained with other options")
                except Unreadable as error:
                    raise CommandError(f"{path} {error}") from error
                except BadFile as error:
                    print(f"Passed over {path}: it {error}")
                else:
                    return found
        print(f"No snapshot to resume from in {trainer.out}, starting afresh")
        return None

    def _go_on(self, found: _Found | None, trainer: Trainer) -> None:
        """Pass what rank 0 has loaded to all processes, and say what has changed since."""
        if found is None:
            return
        path, about, arrays = found
        if here.rank:
            restore(arrays, trainer)
        self._iteration = about["iteration"]
        self._resumed = self._iteration, path
        use_threads_as_before(about["arithmetic"].get("BLAS threads"))
        changed = _changes(about["changeable"], self.about["changeable"])
        digits = _changes(about["arithmetic"], arithmetic()) if about["arithmetic"] else {}
        if not changed.keys() & set(self.steering):
            self.about["run"] = about["run"]
        if here.rank == 0:
            print(f"Resuming from {path}")
            for change in changed.values():
                print(one_line(f"Changed since: {change}"))
            if digits:
                changes = "; ".join(digits.values())
                print(
                    one_line(f"Changed since: {changes}; numbers will differ in their last digits")
                )


def _changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What has changed, in words by name."""
    return {
        name: f"{name} is {value}, was {was.get(name)}"
        for name, value in now.items()
        if value != was.get(name)
    }
