"""PyTorch's side of the curves, where PyTorch is installed."""

import math

import numpy as np
import pytest

from benchmarks.text import Recipe
from parallel_sequential_iterator import ParallelSequentialIterator

torch = pytest.importorskip("torch")
peer_text = pytest.importorskip("benchmarks.peer_text")
peer_transformer = pytest.importorskip("benchmarks.peer_transformer")
torch.set_num_threads(1)  # two would wait for each other where cores are busy
CONTEXT = peer_transformer.CONTEXT


@pytest.fixture
def ids():
    return np.random.default_rng(0).integers(11, size=200)


def test_windows_are_ours(ids):
    ours = ParallelSequentialIterator(ids, 3)
    theirs = peer_text.windows(ids, 3, 50)
    for _ in range(6):  # round the end
        for mine, other in zip(ours.next_window(50), next(theirs), strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("arch", ["gru", "lstm"])
def test_recurrent_validation_is_that_of_each_stream_alone(arch, ids):
    learner = peer_text.RecurrentTraining(arch, 11, ids, ids, Recipe(5, 4, 6, 0.01, 1.0, 0.5))
    learner.update(0.0)
    total = 0.0
    model = learner.training.model.eval()
    with torch.no_grad():
        for stream in torch.from_numpy(np.append(ids, ids[0])).unfold(0, 51, 50):
            log_p = model(stream[:-1, None], None)[0][:, 0].log_softmax(1)
            total -= sum(float(row[char]) for row, char in zip(log_p, stream[1:], strict=True))
    model.train()
    assert learner.validate() == pytest.approx(total / 200, rel=1e-5)
    assert model.training


def test_transformer_sees_no_later_id(ids):
    model = peer_transformer.Transformer(11)
    x = torch.from_numpy(ids[:CONTEXT])[None]
    other = x.clone()
    other[0, 20] = (x[0, 20] + 1) % 11
    before, after = model(x)[0], model(other)[0]
    torch.testing.assert_close(before[:20], after[:20])
    assert (before[20:] != after[20:]).any(dim=1).all()


def test_transformer_validation_has_half_a_context_at_least(ids):
    learner = peer_transformer.TransformerTraining(11, *map(torch.from_numpy, (ids, ids)))
    losses = []
    for place in range(1, len(ids) - (len(ids) - 1) % (CONTEXT // 2)):
        start = max((place - 1) // (CONTEXT // 2) - 1, 0) * (CONTEXT // 2)
        with torch.no_grad():
            logits = learner.model(torch.from_numpy(ids[start:place])[None])[0, -1]
        losses.append(-float(logits.log_softmax(0)[ids[place]]))
    assert learner.validate() == pytest.approx(np.mean(losses), rel=1e-5)


def test_transformer_learns(ids):
    ids = torch.from_numpy(np.tile(np.arange(11), 20))
    learner = peer_transformer.TransformerTraining(11, ids, ids)
    before = learner.validate()
    for _ in range(60):
        learner.update(0.0)
    assert before == pytest.approx(math.log(11), abs=0.3)  # it prefers to repeat
    assert learner.validate() < 0.5


def test_learning_rate():
    rate = peer_transformer.learning_rate
    assert rate(50, 0.0) == pytest.approx(5e-4)
    assert rate(1000, 0.5) == pytest.approx(5.5e-4)
    assert rate(1000, 1.0) == rate(1000, 1.1) == pytest.approx(1e-4)
