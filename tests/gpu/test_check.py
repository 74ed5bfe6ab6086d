"""What ``make check-gpu`` finds, on a GPU as right as the CPU and on one that is not."""

import numpy as np
import pytest

from models.recurrences import kernels
from tests.gpu import check

ENTRY = {"epoch": 1, "main/loss": 0.5, "free_run": 3, "elapsed_time": 0.1}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0),
        ({"free_run": 90, "elapsed_time": 7.0}, 0),
        ({"main/loss": 0.25}, 0.25),
        ({"main/loss": np.nan}, np.inf),
    ],
)
def test_difference_of_logs(change, expected):
    assert check.difference([ENTRY, {**ENTRY, **change}], [ENTRY, ENTRY]) == expected


def test_a_log_that_is_too_short_differs():
    assert check.difference([ENTRY], [ENTRY, ENTRY]) == np.inf


@pytest.mark.parametrize("is_right", [True, False])
def test_an_architecture_that_differs_fails(is_right, gpu, tmp_path, monkeypatch, capsys):
    # As small as can be, for the stand-in.
    small = ["-u2", "-b2", "-l9", "--n-vocab=4", "--repeat=6"]
    train = check.train_simple_sequence.main
    monkeypatch.setattr(check.train_simple_sequence, "main", lambda argv: train([*argv, *small]))
    if not is_right:
        monkeypatch.setattr(kernels, "elman_backward", lambda g, hs, R, act: g[0].dot(R))
    assert check.agree("rnn", tmp_path) is is_right
    assert ("FAILED" in capsys.readouterr().out) is not is_right
