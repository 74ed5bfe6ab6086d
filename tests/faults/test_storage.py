"""A disk that fails once, or a process that is killed, at each of the calls for files.

A disk that fails is told in one line, and no good snapshot is lost. Files are written in many
pieces. Where a test repeats what another has tried piece by piece, only the first and the last of
each file are tried.
"""

import hashlib
import os
import pathlib
import random
import shlex
import shutil
import signal

import numpy as np
import pytest

from tests.faults.forked import run
from tests.faults.injector import ERRORS, Storage

TRAIN = "train_simple_sequence.py"
SMALL = shlex.split("-u 3 -l 5 -b 2 --n-vocab 4 --repeat 3 --snapshot-every 1")
LIMITS = ["count_limits.py", *shlex.split("--archs rnn --vocabularies 2 --budget 9")]
STARTED = [*SMALL, "-e", "1"]
FINISHED = [*SMALL, "-e", "2"]


def state(path):
    """A digest of what the next update depends on."""
    sha = hashlib.sha256()
    with np.load(path, allow_pickle=False) as file:
        for name in sorted(file.files):
            if name.startswith("updater/"):
                sha.update(name.encode() + file[name].tobytes())
    return sha.hexdigest()


def snapshots(folder):
    """Path by state of every snapshot in a folder, and in the folders in it."""
    return {state(path): path for path in sorted(pathlib.Path(folder).rglob("snapshot_iter_*"))}


def model(folder):
    return (folder / "rnn_simple_sequence.model").read_bytes()


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A folder with a training of one epoch, files of data, and what two epochs come to."""
    folder = tmp_path_factory.mktemp("storage") / "started"
    folder.mkdir()
    run(TRAIN, STARTED, folder).check()
    run(TRAIN, [*FINISHED, "-o", "../finished"], folder).check()
    run(*LIMITS[:1], [*LIMITS[1:], "--seeds", "1"], folder).check()
    (folder / "temporary").mkdir()
    np.save(folder / "ids.npy", np.arange(100) % 7)
    (folder / "text").write_text("a few words, of which some are a few words again\n" * 9)
    text = ["--data", "text", "--tokens", "word", "-o", "../text"]
    run(TRAIN, [*STARTED[:6], "-e", "1", *text], folder).check()
    for path in (folder.parent / "text").glob("rnn_simple_sequence.*"):
        shutil.copy(path, folder / path.name.replace("rnn_simple_sequence", "text"))
    return folder, snapshots(folder), model(folder.parent / "finished")


@pytest.fixture
def failures(started, tmp_path, trials):
    """Run a command again and again, with a fault at each call that it makes: what goes wrong.

    ``part`` is that of ``PARTS``; without one only ``some`` calls are tried. ``each`` says whether
    every piece of a file is.
    """
    place = tmp_path / "place"

    def attempt(command, storage):
        shutil.copytree(started[0], place)
        return run(command[0], command[1:], place, storage.install)

    def find(command, check, part, some=6, each=False, kill=False):
        storage = Storage()
        attempt(command, storage).check()
        shutil.rmtree(place)
        calls = storage.calls()
        assert calls
        around = [None, *calls, None]
        numbers = [
            n
            for n in range(1, len(calls) + 1)
            if each or not around[n - 1] == around[n] == around[n + 1]
        ]
        chance = random.Random(part)
        if part is None:
            numbers = chance.sample(numbers, min(some, len(numbers)))
        found = []
        for n in trials(numbers if part is None else numbers[part::PARTS]):
            operation, path = calls[n - 1]
            fault = "SIGKILL" if kill else chance.choice(ERRORS[operation])
            ended = attempt(command, Storage(n, fault))
            try:
                ended.check(*([128 + signal.SIGKILL] if kill else []))
                check(place, ended)
            except AssertionError as failure:
                found.append(
                    f"{fault} at call {n}, {operation} {os.path.basename(path)}: {failure}"
                )
            shutil.rmtree(place)
        assert not found, "\n".join(found)

    return find


def nothing_more(place, ended):
    pass


RESUMED = [TRAIN, *FINISHED, "-r", "auto"]
AFRESH = [TRAIN, *STARTED]
TRAININGS = {
    "resumed": RESUMED,
    "afresh": AFRESH,
    "afresh with another seed": [*AFRESH, "--seed", "1"],
    "afresh with another network": [*AFRESH, "-a", "lstm"],
}
OTHERS = {
    "own numbers": [TRAIN, *shlex.split("-u 3 -l 5 -b 2 -e 1 --data ids.npy -o new")],
    "own text": [TRAIN, *shlex.split("-u 3 -l 5 -b 2 -e 1 --data text --tokens word -o new")],
    "predict": ["predict_simple_sequence.py", "-l", "3"],
    "predict text": ["predict_simple_sequence.py", "-m", "text.model", "--prime", "a few"],
    "plot": ["predict_simple_sequence.py", "--plot", "a.png"],
    "compare": ["compare_architectures.py", "rnn", "lstm", *STARTED],
    "count limits": [*LIMITS, "--seeds", "2"],
}
# In parts, so that each core has its share.
PARTS = 4
parts = pytest.mark.parametrize(
    "part", [None, *(pytest.param(part, marks=pytest.mark.faults) for part in range(PARTS))]
)


@parts
@pytest.mark.parametrize("command", TRAININGS.values(), ids=TRAININGS)
def test_every_good_snapshot_is_still_there_and_usable(started, failures, command, part):
    _, good, finished = started
    usable = set()

    def check(place, ended):
        left = snapshots(place)
        assert good.keys() <= left.keys(), ended
        newest = left[list(good)[-1]].relative_to(place)
        content = newest, (place / newest).read_bytes()
        if content not in usable:  # else the same file has been tried
            run(TRAIN, [*FINISHED, "-r", str(newest), "-o", "again"], place).check()
            assert model(place / "again") == finished, ended
            usable.add(content)

    failures(command, check, part, each=command is RESUMED)


@parts
@pytest.mark.parametrize("command", [RESUMED, AFRESH], ids=["resumed", "afresh"])
def test_killed_and_restarted_ends_as_if_undisturbed(started, failures, command, part):
    _, good, finished = started

    def check(place, ended):
        assert good.keys() <= snapshots(place).keys(), ended
        run(*RESUMED[:1], RESUMED[1:], place).check()
        assert model(place / "result") == finished, ended
        assert not list((place / "result").rglob("*.tmp")), ended

    failures(command, check, part, each=command is RESUMED, kill=True)


@parts
def test_the_one_that_is_named_is_there_however_few_are_kept(failures, part):
    def check(place, ended):
        _, named, path = ended.err.strip().partition("the last good snapshot is ")
        assert not named or state(place / path), ended
        assert snapshots(place), ended

    failures([*RESUMED, "--keep", "1"], check, part)


@parts
@pytest.mark.parametrize("command", OTHERS.values(), ids=OTHERS)
def test_is_told_in_one_line(failures, command, part):
    failures(command, nothing_more, part, some=2)
