"""Curves of a text: what is read off them, and that ours are what the command shows."""

import json

import pytest

from benchmarks import text
from benchmarks.run import environment, run_python

POINTS = [(1.0, 3.0), (3.0, 2.0), (4.0, 2.5), (6.0, 1.5)]


@pytest.mark.parametrize(
    "second, loss", [(0.5, None), (1.0, 3.0), (2.0, 2.5), (3.5, 2.25), (5.0, 2.0), (7.0, 1.5)]
)
def test_loss_at_a_second(second, loss):
    assert text.loss_at(POINTS, second) == loss


@pytest.mark.parametrize(
    "loss, second", [(3.5, 1.0), (3.0, 1.0), (2.5, 2.0), (2.0, 3.0), (1.75, 5.5), (1.0, None)]
)
def test_second_of_a_loss(loss, second):
    assert text.second_of(POINTS, loss) == second


def test_no_points():
    assert text.loss_at([], 1.0) is text.second_of([], 1.0) is None


def test_table():
    curves = {
        "gru, ours": {"updates": 1200, "points": [(1.0, 3.0), (4.0, 1.5)]},
        "gru, PyTorch": {"updates": 900, "points": [(2.0, 3.0), (4.0, 2.0)]},
    }
    assert text.format_curves(curves, 4).splitlines()[2:] == [
        "| gru, ours | 1,200 | 3.000 | 2.500 | 2.000 | 1.500 | 3 s |",
        "| gru, PyTorch | 900 |  | 3.000 | 2.500 | 2.000 | 4 s |",
    ]


@pytest.mark.parametrize("arch", text.RECIPES)
def test_curve_is_what_the_command_shows(arch, monkeypatch, tmp_path):
    monkeypatch.setitem(text.RECIPES, arch, text.Recipe(5, 3, 7, 0.01, 1.0, 0.5))
    path, out = tmp_path / "text", tmp_path / "out"
    path.write_text("In the beginning was the word. " * 30)
    command = ["train_simple_sequence.py", *text.options(arch, path)]
    run_python([*command, "-e", "2", "-o", str(out)], environment(1))
    log = json.loads((out / "log").read_text())
    curve = text.evaluate(arch, path, out)
    assert curve["updates"] == log[-1]["iteration"]
    assert len(curve["points"]) == len(log) == 2
    for (second, loss), entry in zip(curve["points"], log, strict=True):
        assert loss == pytest.approx(entry["validation/main/loss"], rel=1e-6)
        assert second >= entry["elapsed_time"]


def test_training_of_ours_leaves_a_point_for_each_signal(monkeypatch, tmp_path):
    monkeypatch.setitem(text.RECIPES, "gru", text.Recipe(5, 3, 7, 0.01, 1.0, 0.5))
    monkeypatch.setattr(text, "POINTS", 3)
    path = tmp_path / "text"
    path.write_text("In the beginning was the word. " * 30)
    curve = text.train_ours("gru", path, 6)
    assert curve["updates"] > 0
    seconds = [second for second, _ in curve["points"]]
    assert len(seconds) in (2, 3)  # the first signal may have come too early
    assert seconds == sorted(seconds)
