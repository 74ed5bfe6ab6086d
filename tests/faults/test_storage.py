"""A disk that fails once, wherever that is: one line, and no good snapshot is lost."""

import hashlib
import os
import pathlib
import random
import shlex
import shutil

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
    for kind in "model", "vocab.json":
        shutil.copy(folder.parent / "text" / f"rnn_simple_sequence.{kind}", folder / f"text.{kind}")
    return folder, snapshots(folder), model(folder.parent / "finished")


def failures(command, started, tmp_path, check, number):
    """What goes wrong at each call that the command makes, or at so many of them."""
    script, *words = command
    folder = started[0]
    storage = Storage()
    place = tmp_path / "place"

    def attempt(storage):
        shutil.copytree(folder, place)
        return run(script, words, place, storage.install)

    attempt(storage).check()
    shutil.rmtree(place)
    calls = storage.calls()
    assert calls
    chance = random.Random(0)
    places = range(1, len(calls) + 1)
    found = []
    for n in chance.sample(places, min(number or len(calls), len(calls))):
        error = chance.choice(ERRORS[calls[n - 1][0]])
        ended = attempt(Storage(n, error))
        try:
            ended.check()
            check(place, ended)
        except AssertionError as failure:
            operation, path = calls[n - 1]
            found.append(f"{error} at call {n}, {operation} {os.path.basename(path)}: {failure}")
        shutil.rmtree(place)
    return found


def nothing_more(place, ended):
    pass


TRAININGS = {
    "resumed": [TRAIN, *FINISHED, "-r", "auto"],
    "afresh": [TRAIN, *STARTED],
    "afresh with another seed": [TRAIN, *STARTED, "--seed", "1"],
    "afresh with another network": [TRAIN, *STARTED, "-a", "lstm"],
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
sizes = pytest.mark.parametrize("number", [6, pytest.param(None, marks=pytest.mark.faults)])


@sizes
@pytest.mark.parametrize("command", TRAININGS.values(), ids=TRAININGS)
def test_every_good_snapshot_is_still_there_and_usable(started, tmp_path, command, number):
    _, good, finished = started

    def check(place, ended):
        left = snapshots(place)
        assert good.keys() <= left.keys(), ended
        newest = left[list(good)[-1]].relative_to(place)
        run(TRAIN, [*FINISHED, "-r", str(newest), "-o", "again"], place).check()
        assert model(place / "again") == finished, ended

    found = failures(command, started, tmp_path, check, number)
    assert not found, "\n".join(found)


@sizes
def test_the_one_that_is_named_is_there_however_few_are_kept(started, tmp_path, number):
    def check(place, ended):
        _, named, path = ended.err.strip().partition("the last good snapshot is ")
        assert not named or state(place / path), ended
        assert snapshots(place), ended

    command = [TRAIN, *FINISHED, "-r", "auto", "--keep", "1"]
    found = failures(command, started, tmp_path, check, number)
    assert not found, "\n".join(found)


@sizes
@pytest.mark.parametrize("command", OTHERS.values(), ids=OTHERS)
def test_is_told_in_one_line(started, tmp_path, command, number):
    found = failures(command, started, tmp_path, nothing_more, number and 2)
    assert not found, "\n".join(found)
