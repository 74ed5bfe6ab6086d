"""Snapshots that hold all a training depends on, and resuming from one.

A folder holds the snapshots of one training, ``snapshot_iter_N`` after its update N. A training
that starts there, or resumes an earlier snapshot, first moves the later ones into a folder
``earlier-1`` there, the next time into ``earlier-2``. So nothing is ever overwritten, and the
newest snapshot has the highest number.
"""

import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from chainer import as_array
from chainer.backend import get_array_module
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
    updater_arrays,
)
from own_data.vocabulary import Vocabulary, to_json
from support.command_line import CommandError, one_line
from support.files import BadFile, Unreadable, move_files
from support.processes import here
from support.threads import arithmetic, use_threads_as_before

_EARLIER = "earlier-"
_Found = tuple[str, dict[str, Any], dict[str, NDArray]]  # path, what it says of itself, arrays
# Takes the options of a snapshot and those given; says in words the first that differs.
Explain = Callable[[Mapping[str, Any], Mapping[str, Any]], str]


class OtherOptions(Exception):
    """A snapshot was trained with other fixed options; ``args`` are its own and the given ones."""


class Snapshot(Extension):
    """Saves the trainer as ``snapshot_iter_N``, and loads it.

    Chainer's own extension may leave half a file, leaves out the recurrent state, and lets any
    training load it. This one records the options of its training, and is saved again when the
    training ends. One of several processes writes the states of all streams, so any number of
    processes can resume.

    A snapshot is good once the next update from it has kept the loss, the parameters and Adam's
    moments finite. Only that update can tell, so the newest is unconfirmed until then.

    Args:
        fixed (dict): options by name that must not change when a training is resumed.
        changeable (dict): those that may change.
        steering (collection of str): those of them whose change makes it a different run.
        keep (int or None): how many snapshots of this run stay in the folder, None for all. The
            last good one stays besides.
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
        self._confirmed = 0  # iteration of the newest good one
        self._resumed: tuple[int, str] = 0, ""  # iteration and path
        self._own: list[tuple[int, str]] = []  # this run's in the folder, oldest first
        self._trainer: Trainer | None = None
        self._failed = False

    def initialize(self, trainer: Trainer) -> None:
        """Make way in the folder for the new snapshots."""
        self._trainer = trainer
        self.about["arithmetic"] = arithmetic()
        self._own = here.once(self._make_way, trainer.out)
        # An update that followed has made each but the last one good.
        earlier = [number for number, _ in self._own if number < self._iteration]
        self._confirmed = max([self._confirmed, *earlier])

    def _make_way(self, folder: str) -> list[tuple[int, str]]:
        """Move what did not lead here; return the snapshots that did, oldest first."""
        iteration, path = self._resumed
        # Whatever link it was named by.
        if os.path.dirname(os.path.realpath(path)) != os.path.realpath(folder):
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
            NotFinite: if a parameter or a moment is not finite; nothing is written then.
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
        self._confirmed = self._iteration  # all updates since then have kept the numbers finite
        self._iteration = iteration
        self._own.append((iteration, path))
        self._remove_old()

    def confirm(self) -> None:
        """Accept the snapshots before the last update, whose loss is finite; remove old ones.

        Raises:
            NotFinite: if that update has made a parameter or a moment not finite.
        """
        trainer = self._trainer
        if trainer is None or not self._confirmed < self._iteration < trainer.updater.iteration:
            return
        bad = not_finite(updater_arrays(trainer))
        if bad:
            raise NotFinite(f"{bad} is not finite after iteration {trainer.updater.iteration}")
        self._confirmed = self._iteration
        self._remove_old()

    def _remove_old(self) -> None:
        """Remove more than are kept, but never the last good one."""
        while self.keep and len(self._own) > self.keep and self._own[1][0] <= self._confirmed:
            here.once(self._remove, self._own.pop(0)[1])

    def _remove(self, path: str) -> None:
        if self._is_own(path):  # another run may have replaced it since
            try:
                os.remove(path)
            except OSError as error:  # one file too many must not end a training
                message = f"warning: {path} cannot be removed: {error.strerror}"
                print(one_line(message), file=sys.stderr)

    @property
    def last(self) -> str | None:
        """Path of the last snapshot that led here."""
        return max({self._resumed, *self._own})[1] or None

    def advice(self, diverged: bool = False) -> str:
        """What to tell a user whose training has failed; empty if there is no snapshot.

        Args:
            diverged (bool): numbers are no longer finite, so the newest snapshot may not be good.
        """
        found = [
            (number, path)
            for number, path in sorted({self._resumed, *self._own})
            if os.path.exists(path)
        ]
        good = [path for number, path in found if number <= self._confirmed or not diverged]
        if good:
            return f"; the last good snapshot is {good[-1]}"
        return f"; the last snapshot is {found[-1][1]}, whose next update fails" if found else ""

    def on_error(
        self, trainer: Trainer, exception: Exception, traceback: TracebackType | None
    ) -> None:
        """Note that the trainer's present state must not be saved."""
        self._failed = True

    def finalize(self) -> None:
        """Save what the last snapshot lacks, unless the training has failed."""
        if self._trainer is not None and not self._failed:
            self(self._trainer)

    def resume(self, path: str, trainer: Trainer) -> None:
        """Resume from a snapshot; print what has changed since.

        Raises:
            BadFile: if the file is not a snapshot, is damaged, or cannot be read.
            OtherOptions: if it was trained with other fixed options.
        """
        found = here.once(self._load, path, trainer)
        if here.rank:
            restore(found[2], trainer)
        self._go_on(found, trainer)

    def _load(self, path: str, trainer: Trainer, number: int | None = None) -> _Found:
        about = read_about(path)
        if number not in (None, about["iteration"]):
            raise BadFile("is of a different update than its name says")
        if about["fixed"] != self.about["fixed"]:
            raise OtherOptions(about["fixed"], self.about["fixed"])
        return path, about, load_snapshot(path, about, trainer)

    def resume_newest(
        self, trainer: Trainer, explain: Explain = lambda was, now: "other options"
    ) -> None:
        """Resume from the newest good snapshot in the trainer's folder, if there is one.

        Snapshots in a folder ``earlier-N`` are older than those beside the folder. Each is tried
        with one update, which is then undone. Those that cannot be used are passed over, and named.

        Raises:
            CommandError: if a snapshot cannot be read: it may be the newest; or if none is good.
            OSError: if a folder cannot be listed.
        """
        others: Counter[tuple[str, str]] = Counter()
        candidates = self._candidates(trainer, others, explain)
        tried = 0
        while found := here.once(next, candidates, None):
            tried += 1
            path, _, arrays = found
            if here.rank:
                restore(arrays, trainer)
            bad = _try_update(trainer)
            restore(arrays, trainer)
            if not here.highest(int(bad)):
                break
            here.once(print, f"Passed over {path}: the next update from it is not finite")
        here.once(_show_others, others)
        if found is None and tried:
            raise CommandError(
                f"from no snapshot in {trainer.out} does the next update keep all numbers finite; "
                "a smaller learning rate may help"
            )
        if found is None:
            here.once(print, f"No snapshot to resume from in {trainer.out}, starting afresh")
            return
        self._confirmed = found[1]["iteration"]
        self._go_on(found, trainer)

    def _candidates(
        self, trainer: Trainer, others: Counter[tuple[str, str]], explain: Explain
    ) -> Iterator[_Found]:
        """What can be loaded, newest first; counts what is of other options, by folder and why."""
        earlier = numbered(trainer.out, _EARLIER).values()
        for folder in (trainer.out, *reversed(earlier)):
            for number, path in reversed(numbered(folder).items()):
                try:
                    yield self._load(path, trainer, number)
                except OtherOptions as error:
                    others[folder, explain(*error.args)] += 1
                except Unreadable as error:
                    raise CommandError(f"{path} {error}") from error
                except BadFile as error:
                    print(f"Passed over {path}: it {error}")

    def _go_on(self, found: _Found, trainer: Trainer) -> None:
        """Go on with what all processes have loaded, and say what has changed since."""
        path, about, _ = found
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


def _try_update(trainer: Trainer) -> bool:
    """Whether an update makes a loss, parameter or moment not finite. The trainer is changed."""
    observation: dict[str, Any] = {}
    with trainer.reporter.scope(observation):
        trainer.updater.update()
    losses = [as_array(value) for name, value in observation.items() if name.endswith("loss")]
    finite = all(bool(get_array_module(loss).isfinite(loss)) for loss in losses)
    return not finite or not_finite(updater_arrays(trainer)) is not None


def _show_others(others: Counter[tuple[str, str]]) -> None:
    for (folder, why), count in others.items():
        snapshots = "a snapshot" if count == 1 else f"{count} snapshots"
        print(f"Passed over {snapshots} in {folder}: trained with {why}")


def _changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What has changed, in words by name."""
    return {
        name: f"{name} is {value}, was {was.get(name)}"
        for name, value in now.items()
        if value != was.get(name)
    }
