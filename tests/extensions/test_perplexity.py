import math

import pytest

from extensions.log import add_perplexity


def test_of_a_uniform_guess_is_the_size_of_the_vocabulary():
    entry = {"main/loss": math.log(50), "validation/main/loss": math.log(8), "epoch": 3}
    add_perplexity(entry)
    assert entry["perplexity"] == pytest.approx(50)
    assert entry["val_perplexity"] == pytest.approx(8)
    assert entry["epoch"] == 3


def test_needs_no_evaluation():
    entry = {"main/loss": 0.0}
    add_perplexity(entry)
    assert entry == {"main/loss": 0.0, "perplexity": 1.0}


@pytest.mark.parametrize("loss", [1000.0, math.inf, math.nan])
def test_beyond_all_numbers_is_left_out(loss):
    entry = {"main/loss": loss, "validation/main/loss": 1.0}
    add_perplexity(entry)
    assert "perplexity" not in entry and "val_perplexity" in entry
