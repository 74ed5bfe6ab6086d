"""The best model of a training by the command: where it lies, what it survives, what makes way."""

import os
import pathlib

import pytest

from models.model_file import load_model
from tests.trainings import numbers, read_log, succeed

BEST = "rnn_simple_sequence.best.model"
WORDS = "it was the best of times it was the worst of times "
# Of so little text a network soon knows too much.
TEXT = ["--data", "book.txt", "--tokens", "char", "--valid-fraction", "0.2", "-u", "40", "-b", "4"]
TEXT += ["-l", "8", "--lr", "0.01", "-e", "8"]
RULES = ["--lr-decay", "0.5", "--dropout", "0.2"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "book.txt").write_text(WORDS * 4 + "a tale of two cities")
    return tmp_path


def files(folder):
    return {path.name for path in pathlib.Path(folder).iterdir()}


def test_is_that_of_the_epoch_with_the_lowest_validation_loss(folder):
    lines = succeed(folder, *TEXT, *RULES)
    log = read_log(folder / "result")
    best = min(log, key=lambda entry: entry["validation/main/loss"])
    assert best is not log[-1]  # else the test would tell nothing
    (line,) = [line for line in lines if line.startswith("Best: ")]
    loss = f"{best['validation/main/loss']:.4f}"
    path = os.path.join("result", BEST)
    assert line == f"Best: {path}, of epoch {best['epoch']}, validation loss {loss}"
    load_model(str(folder / path))
    assert any(line.startswith("Let it run free: ") and path in line for line in lines)
    assert lines[6].split()[-2:] == ["lr", "elapsed_time"]


def test_a_training_that_goes_on_elsewhere_ends_with_the_same(folder):
    succeed(folder, *TEXT, *RULES, "-o", "whole")
    succeed(folder, *TEXT, *RULES, "-o", "part", "-e", "5")
    (snapshot,) = [
        path for path in (folder / "part").iterdir() if path.name.endswith(f"_{5 * 190 // 32}")
    ] or [max((folder / "part").glob("snapshot_iter_*"), key=lambda path: path.stat().st_mtime)]
    succeed(folder, *TEXT, *RULES, "-o", "rest", "-r", snapshot)
    assert numbers(folder / "rest") == numbers(folder / "whole")
    assert (folder / "rest" / BEST).read_bytes() == (folder / "whole" / BEST).read_bytes()


@pytest.mark.parametrize("later", [["-e", "1"], TEXT], ids=["the sequence", "the text again"])
def test_that_of_an_earlier_training_makes_way_together_with_its_snapshots(folder, later):
    succeed(folder, *TEXT)
    content = (folder / "result" / BEST).read_bytes()
    succeed(folder, *later, "--seed", "1")
    earlier = folder / "result" / "earlier-1"
    assert (earlier / BEST).read_bytes() == content
    assert (BEST in files(folder / "result")) == (later is TEXT)


def test_without_held_out_data_there_is_none(folder):
    lines = succeed(folder, *TEXT[:4], "-e", "1")
    assert BEST not in files(folder / "result")
    assert not [line for line in lines if line.startswith("Best")]
