"""What is said of a training at its end."""

import pytest

from training.report import overfitting


def log(training, validation):
    pairs = enumerate(zip(training, validation, strict=True), start=1)
    return [{"epoch": e, "main/loss": a, "validation/main/loss": b} for e, (a, b) in pairs]


@pytest.mark.parametrize(
    "training, validation, expected",
    [
        ([9, 8, 7, 6, 5], [5, 4, 5, 6, 7], 3),
        ([9, 8, 7, 6, 5], [4, 5, 6, 7, 8], 2),
        ([9, 8, 7, 6, 5, 4], [5, 4, 5, 6, 7, 8], 3),
        ([9, 8, 7, 6, 5, 4], [4, 5, 5, 6, 7, 8], 4),  # no rise in between
        ([9, 8, 7, 6], [5, 4, 5, 6], None),  # two epochs only
        ([9, 8, 7, 7, 5], [5, 4, 5, 6, 7], None),  # nothing was learnt in one
        ([9, 8, 7, 6, 5], [5, 4, 5, 5, 6], None),
        ([9, 8, 7, 6, 5, 4], [5, 6, 7, 8, 3, 4], None),  # the best came after that
        ([9], [5], None),
        ([], [], None),
    ],
)
def test_overfitting_is_three_epochs_on_end_after_the_best(training, validation, expected):
    assert overfitting(log(training, validation)) == expected
